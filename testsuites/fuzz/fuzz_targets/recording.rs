//! Reads arbitrary bytes, and right checksums around arbitrary frames, as a recording; see `testsuites::fuzz::files`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    testsuites::fuzz::files::recording(bytes);
});
