//! See `notices` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_fuzz::notices::run(bytes));
