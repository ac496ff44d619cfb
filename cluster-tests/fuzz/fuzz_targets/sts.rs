//! See `sts` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_fuzz::sts::run(bytes));
