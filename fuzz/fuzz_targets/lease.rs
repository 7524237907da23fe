//! Leases: any bytes in place of an owner's line.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pipe_engine::cache::fuzzing::lease(bytes));
