#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    regsweep_fuzz::policy(data);
});
