//! `tests/fuzz/run mdm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vestibule_tests::fuzzed::mdm(data));
