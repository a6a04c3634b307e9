//! Has two hostile domUs do what arbitrary bytes say; see `hypervisor::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hypervisor::fuzz::run(bytes));
