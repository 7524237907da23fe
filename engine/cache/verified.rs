//! Which blobs this machine has written or hashed since it was started, so that it hashes none of them twice.
//!
//! It remembers a sequence of 16-byte marks, in a [folder of the user's own](super::memory). A mark is the start of a BLAKE3 hash over a blob's digest and its
//! file's device, inode, size, and times of modification and change in nanoseconds: as soon as anything is done to the
//! file, no mark fits. Marks are only appended; one that is torn or lost costs a hash.

use std::{
    collections::{BTreeSet, HashSet},
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::memory::Memory;
use crate::base::{digest::Digest, host};

type Mark = [u8; 16];
/// More than this, in bytes, isn't read.
const LARGEST: u64 = 1 << 30;

#[derive(Debug)]
pub(super) struct Verified {
    memory: Arc<Memory>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether the file was read.
    loaded: bool,
    marks: HashSet<Mark>,
    /// Marks that aren't in the file yet.
    fresh: Vec<u8>,
    /// Blobs and trees that were found broken or missing by those who wanted to read them.
    bad: BTreeSet<Digest>,
    /// How often something was found so.
    times: u64,
}

fn mark(blob: Digest, meta: &Metadata) -> Mark {
    let mut hasher = blake3::Hasher::new_derive_key("pipe 2026-11 verified v1");
    hasher.update(blob.as_bytes());
    for number in [meta.dev(), meta.ino(), meta.size()] {
        hasher.update(&number.to_le_bytes());
    }
    for number in [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()] {
        hasher.update(&number.to_le_bytes());
    }
    let mut mark = Mark::default();
    mark.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    mark
}

/// The file with the marks of the running system.
fn name() -> String {
    format!("verified-{}", host::identity())
}

impl Verified {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        Self { memory, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the file of `blob`, of which `meta` tells, is as it was when it was written or hashed.
    pub(super) fn knows(&self, blob: Digest, meta: &Metadata) -> bool {
        let mut state = self.state();
        if !state.loaded {
            state.loaded = true;
            let bytes = self.memory.read(&name(), LARGEST).unwrap_or_default();
            state.marks.extend(bytes.as_chunks::<16>().0);
        }
        state.marks.contains(&mark(blob, meta))
    }

    /// Notes that the file of `blob`, of which `meta` tells, holds what it should.
    pub(super) fn note(&self, blob: Digest, meta: &Metadata) {
        let mark = mark(blob, meta);
        let mut state = self.state();
        state.bad.remove(&blob);
        if state.marks.insert(mark) {
            state.fresh.extend(mark);
        }
    }

    /// Notes that `digest` is broken or missing.
    pub(super) fn note_bad(&self, digest: Digest) {
        let mut state = self.state();
        state.bad.insert(digest);
        state.times += 1;
    }

    /// How often something was found broken or missing.
    pub(super) fn times_bad(&self) -> u64 {
        self.state().times
    }

    pub(super) fn is_bad(&self, digest: Digest) -> bool {
        self.state().bad.contains(&digest)
    }

    pub(super) fn forget_bad(&self, digest: Digest) {
        self.state().bad.remove(&digest);
    }
}

impl Drop for Verified {
    fn drop(&mut self) {
        let state = self.state();
        if state.fresh.is_empty() {
            return;
        }
        // Who can't write it hashes again.
        let _ = self.memory.append(&name(), &state.fresh);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn verified(folder: &Path) -> Verified {
        Verified::new(Arc::new(Memory::new(Some(&folder.join("memory")), folder)))
    }

    #[test]
    fn what_was_verified_is_known_until_something_is_done_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("blob");
        fs::write(&file, "bytes").unwrap();
        let (blob, meta) = (Digest::of(b"bytes"), fs::metadata(&file).unwrap());
        let known = verified(folder.path());
        assert!(!known.knows(blob, &meta));
        known.note(blob, &meta);
        assert!(known.knows(blob, &meta));
        assert!(!known.knows(Digest::of(b"other"), &meta));
        drop(known);
        let later = verified(folder.path());
        assert!(later.knows(blob, &meta), "the next process knows it too");
        // An edit of the same size whose time of modification was put back.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&file, "bytez").unwrap();
        fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(meta.modified().unwrap())
            .unwrap();
        let edited = fs::metadata(&file).unwrap();
        assert_eq!(edited.modified().unwrap(), meta.modified().unwrap());
        assert!(!later.knows(blob, &edited));
    }

    #[test]
    fn a_torn_memo_costs_no_more_than_a_hash() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("blob");
        fs::write(&file, "bytes").unwrap();
        let (blob, meta) = (Digest::of(b"bytes"), fs::metadata(&file).unwrap());
        let known = verified(folder.path());
        known.memory.append(&name(), &[7; 23]).unwrap();
        assert!(!known.knows(blob, &meta));
    }
}
