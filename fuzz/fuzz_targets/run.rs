//! Files of runs: what is read is written in one form, which is read as the same, and whoever explains or collects sees
//! all that it names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pipe_engine::cache::RunFile;

fuzz_target!(|bytes: &[u8]| {
    pipe_engine::cache::fuzzing::any_text_is_a_run_or_none(bytes);
    let Ok(run) = serde_json::from_slice::<RunFile>(bytes) else { return };
    let written = serde_json::to_vec(&run).expect("a run is JSON");
    let again: RunFile = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, run);
    assert_eq!(serde_json::to_vec(&again).expect("a run is JSON"), written);
    pipe_engine::cache::fuzzing::run_is_seen_whole(&run, bytes);
    let _ = pipe_engine::trace("0", &run);
});
