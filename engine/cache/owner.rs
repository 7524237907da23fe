//! The line by which the owner of a lease shows who it is, and that it lives.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::heart;
use crate::host;

/// The length of the line, with its newline.
pub(super) const LINE: usize = 512;
/// How many beats an owner on another machine may miss.
pub(super) const MISSED: u32 = 10;

/// The first line of a lease.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Line {
    /// The version of this format.
    pub(super) format: u32,
    /// Who, for people.
    pub(super) owner: String,
    /// The identity of the running system.
    pub(super) machine: String,
    /// Unlike that of any other lease.
    pub(super) id: String,
    /// The time between two beats.
    pub(super) interval_ms: u64,
    /// How many beats there were.
    pub(super) beat: u64,
}

impl Line {
    pub(super) fn new() -> Self {
        Self {
            format: super::FORMAT,
            owner: format!("process {} on {}", std::process::id(), host::name()),
            machine: host::identity().to_owned(),
            id: unique(),
            interval_ms: heart::interval().as_millis() as u64,
            beat: 0,
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        serde_json::from_slice(&bytes[..end]).ok()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self)
            .unwrap_or_else(|_| unreachable!("text and numbers are always JSON"));
        bytes.resize(bytes.len().max(LINE - 1), b' ');
        bytes.push(b'\n');
        bytes
    }

    pub(super) fn is_of_this_machine(&self) -> bool {
        self.machine == host::identity()
    }

    /// How long its owner may be silent.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.interval_ms.clamp(10, 60_000)) * MISSED
    }
}

/// A text that no other process has, nor this one before.
pub(super) fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut bytes = [0; 8];
    // Without random numbers the process and the moment are unique enough.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = (jiff::Timestamp::now().as_nanosecond() as u64).to_le_bytes();
    }
    let random = u64::from_le_bytes(bytes);
    format!("{}-{}-{random:016x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
