#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qovery_irsa_fuzz::interpolation(data));
