//! `tests/fuzz/run expression`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vestibule_tests::fuzzed::expression(data));
