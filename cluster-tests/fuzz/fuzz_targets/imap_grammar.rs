//! See `imap_grammar` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_fuzz::imap_grammar::run(bytes));
