//! `tests/fuzz/run document`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vestibule_tests::fuzzed::document(data));
