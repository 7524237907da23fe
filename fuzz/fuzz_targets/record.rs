//! Records: what is read is written in one form, which is read as the same, names the same result, and of which
//! whoever collects sees all that it names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pipe_engine::cache::Record;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = serde_json::from_slice::<Record>(bytes) else { return };
    let written = serde_json::to_vec_pretty(&record).expect("a record is JSON");
    let again: Record = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, record);
    assert_eq!(again.recipe.fingerprint(), record.recipe.fingerprint());
    assert_eq!(serde_json::to_vec_pretty(&again).expect("a record is JSON"), written);
    pipe_engine::cache::fuzzing::record_is_collected_whole(&record, bytes);
});
