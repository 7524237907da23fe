//! Records: what is read is written in one form, which is read as the same, names the same result, and of which
//! whoever collects sees all that it names.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pipe_engine::cache::fuzzing::record(bytes));
