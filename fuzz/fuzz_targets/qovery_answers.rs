#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qovery_irsa_fuzz::qovery_answers(data));
