//! Decodes and executes arbitrary bytes in arbitrary states; see `testsuites::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| testsuites::fuzz::run(bytes));
