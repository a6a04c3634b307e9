//! Reads arbitrary bytes, and right checksums around arbitrary content, as a snapshot; see `testsuites::fuzz::files`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    testsuites::fuzz::files::snapshot(bytes);
});
