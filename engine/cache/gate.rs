//! The gate between those who use a cache and those who collect in it.
//!
//! Who relies on what it has found holds the gate open; who collects shuts it. A run that lasts lets collectors pass: it
//! first writes down what it relies on, which is kept then, and lets go. So a collector waits for a heartbeat at most, and
//! whatever isn't written down yet is never collected, however short the period of grace.
//!
//! The gate is a lock on the cache's `format`, and nothing is written to it. Collectors queue by a lock on `CACHEDIR.TAG`,
//! so that runs which come one after the other can't keep them waiting. Where the file system has no locks, youth and the
//! files of live runs are all that protects, as for a collector that has waited too long.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::fs::OFlags;

use super::{cache::Cache, heartbeat, lease_file::MISSED};
use crate::base::disk::{self, Lock};

const GATE: &str = "format";
const TURN: &str = "CACHEDIR.TAG";
/// How long a user waits for a collector. One that takes longer hangs, or tidies up a very large cache: what is missed then
/// is made again.
const PATIENCE: Duration = Duration::from_mins(2);

/// Holds the gate open.
#[derive(Debug)]
#[must_use]
pub struct Hold {
    _gate: File,
}

/// Keeps the gate shut.
#[derive(Debug)]
#[must_use]
pub(super) struct Shut {
    _gate: File,
    _turn: Option<File>,
}

impl Cache {
    /// Keeps collectors waiting until what this gives is dropped. None where there are no locks.
    pub fn hold(&self) -> Option<Hold> {
        let until = Instant::now() + PATIENCE;
        // Who queues comes first.
        let turn = open(&self.root.join(TURN), false).ok();
        if let Some(turn) = &turn {
            wait(until, || disk::try_lock_shared(turn, &self.root.join(TURN)))?;
        }
        let gate = open(&self.root.join(GATE), false).ok()?;
        wait(until, || disk::try_lock_shared(&gate, &self.root.join(GATE)))?;
        Some(Hold { _gate: gate })
    }

    /// Whether a collector waits at the gate.
    pub(super) fn is_awaited(&self) -> bool {
        let path = self.root.join(TURN);
        let turn = open(&path, false);
        turn.is_ok_and(|turn| matches!(disk::try_lock_shared(&turn, &path), Ok(Lock::Held)))
    }

    /// Waits until nobody holds the gate open, and shuts it. None where there are no locks, or somebody holds it for longer
    /// than one may who lives.
    pub(super) fn shut(&self) -> Option<Shut> {
        let turn = open(&self.root.join(TURN), true).ok();
        if let Some(turn) = &turn {
            wait(Instant::now() + PATIENCE, || disk::try_lock(turn, &self.root.join(TURN)))?;
        }
        let gate = open(&self.root.join(GATE), true).ok()?;
        let until = Instant::now() + heartbeat::interval() * MISSED;
        wait(until, || disk::try_lock(&gate, &self.root.join(GATE)))?;
        Some(Shut { _gate: gate, _turn: turn })
    }
}

/// Waits for a lock; none if it doesn't come in time, or can't be had.
fn wait(until: Instant, lock: impl Fn() -> io::Result<Lock>) -> Option<()> {
    loop {
        match lock() {
            Ok(Lock::Taken) => return Some(()),
            Ok(Lock::Held) if Instant::now() < until => thread::sleep(Duration::from_millis(3)),
            _ => return None,
        }
    }
}

/// Opens a file to be locked. To have it `alone`, some network file systems ask for leave to write.
fn open(path: &Path, alone: bool) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let open = |write| {
        let mut options = OpenOptions::new();
        options.read(true).write(write).custom_flags(flags.bits() as i32).open(path)
    };
    if alone { open(true).or_else(|_| open(false)) } else { open(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_may_hold_the_gate_and_who_queues_comes_before_who_comes_later() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let holds = [cache.hold().unwrap(), cache.hold().unwrap()];
        assert!(!cache.is_awaited());
        thread::scope(|scope| {
            let collector = scope.spawn(|| cache.shut().unwrap());
            while !cache.is_awaited() {
                thread::yield_now();
            }
            let late = scope.spawn(|| cache.hold().unwrap());
            assert!(!collector.is_finished(), "the gate is held");
            drop(holds);
            let shut = collector.join().unwrap();
            assert!(!late.is_finished(), "the gate is shut");
            drop(shut);
            let _ = late.join().unwrap();
        });
    }
}
