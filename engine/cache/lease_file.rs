//! The line by which the owner of a lease shows who it is, and that it lives.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::heartbeat;
use crate::base::{
    disk::{self, Lock},
    host,
};

/// What the files are called: `now-ID`, beside `run-ID`.
pub(super) const NOW: &str = "now-";
/// What the files of live runs are called: `run-…`.
pub(super) const RUN: &str = "run-";
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
    /// The identity of the running system; empty where there are no locks, so that its beats alone tell that it lives.
    pub(super) machine: String,
    /// Unlike that of any other lease.
    pub(super) id: String,
    /// The time between two beats.
    pub(super) interval_ms: u64,
    /// How many beats there were.
    pub(super) beat: u64,
}

/// What this process is called.
pub(super) fn this_process() -> String {
    format!("process {} on {}", std::process::id(), host::name())
}

impl Line {
    /// The line of this process, for a file that was locked as `lock` says.
    pub(super) fn new(lock: Lock) -> Self {
        let locked = lock != Lock::Unsupported;
        Self {
            format: super::FORMAT,
            owner: this_process(),
            machine: if locked { host::identity().to_owned() } else { String::new() },
            id: unique(),
            interval_ms: heartbeat::interval().as_millis() as u64,
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

/// A file, locked by its owner, that shows by its first line that the owner lives.
#[derive(Debug)]
pub(super) struct Owned {
    /// Opened before anything else is written, so that it is told of every failed write-back.
    file: File,
    device: u64,
    inode: u64,
    line: Mutex<Line>,
}

impl Owned {
    /// Writes the first line of `file`, which stands at `path`, is empty, and is locked already where there are locks; and
    /// again at every beat, for as long as what this gives is held.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn begin(file: File, lock: Lock, path: &Path, mode: u32) -> io::Result<Arc<Self>> {
        disk::protect(&file, path, mode)?;
        let line = Line::new(lock);
        disk::write_all(&file, path, &line.bytes())?;
        let meta = file.metadata()?;
        let owned = Self { file, device: meta.dev(), inode: meta.ino(), line: Mutex::new(line) };
        let owned = Arc::new(owned);
        heartbeat::join(&owned);
        Ok(owned)
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Whether the file has the name `path`.
    pub(super) fn stands_at(&self, path: &Path) -> bool {
        let is = |meta: Metadata| (meta.dev(), meta.ino()) == (self.device, self.inode);
        fs::metadata(path).is_ok_and(is)
    }
}

impl heartbeat::Beat for Owned {
    fn beat(&self) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.beat += 1;
        // A beat that can't be written is one that is missed.
        let _ = self.file.write_all_at(&line.bytes(), 0).and_then(|()| self.file.sync_data());
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

/// What stands in the first line of a file.
pub(super) fn first_line(file: &File) -> io::Result<Vec<u8>> {
    let mut seen = Vec::with_capacity(LINE);
    let mut reader = file;
    reader.by_ref().take(LINE as u64).read_to_end(&mut seen)?;
    Ok(seen)
}
