//! Memos: any bytes, with and without a checksum that is right.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pipe_engine::cache::fuzzing::memo(bytes));
