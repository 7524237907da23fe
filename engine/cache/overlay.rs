//! What this process has made and is about to publish, readable here as if it were published.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::record::Record;
use crate::base::{
    digest::{Digest, Fingerprint},
    tree::Tree,
};

/// Results that are staged and not yet durable. A stage that needs one doesn't wait for the disk.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// How many results there are, so that nobody takes the lock when there are none.
    results: AtomicUsize,
    held: Mutex<Held>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    /// Where the bytes of a blob are staged.
    blobs: HashMap<Digest, PathBuf>,
    trees: HashMap<Digest, Arc<Tree>>,
    records: HashMap<Fingerprint, Arc<Record>>,
}

impl Overlay {
    fn lock(&self) -> Option<MutexGuard<'_, Held>> {
        let any = self.results.load(Ordering::Acquire) > 0;
        any.then(|| self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Announces a result, whose blobs and trees may now be held.
    pub(super) fn begin(&self) {
        self.results.fetch_add(1, Ordering::AcqRel);
    }

    /// Holds `blob`, staged at `file`, unless it is held already.
    pub(super) fn hold_blob(&self, blob: Digest, file: PathBuf) {
        if let Some(mut held) = self.lock() {
            held.blobs.entry(blob).or_insert(file);
        }
    }

    pub(super) fn hold_tree(&self, digest: Digest, tree: Arc<Tree>) {
        if let Some(mut held) = self.lock() {
            held.trees.insert(digest, tree);
        }
    }

    pub(super) fn hold_record(&self, fingerprint: Fingerprint, record: Arc<Record>) {
        if let Some(mut held) = self.lock() {
            held.records.insert(fingerprint, record);
        }
    }

    /// Lets go of a result: it is published, or failed.
    pub(super) fn end(
        &self,
        blobs: impl Iterator<Item = Digest>,
        trees: impl Iterator<Item = Digest>,
        record: Fingerprint,
    ) {
        if let Some(mut held) = self.lock() {
            for blob in blobs {
                held.blobs.remove(&blob);
            }
            for tree in trees {
                held.trees.remove(&tree);
            }
            held.records.remove(&record);
        }
        self.results.fetch_sub(1, Ordering::AcqRel);
        self.left.notify_all();
    }

    pub(super) fn blob(&self, blob: Digest) -> Option<PathBuf> {
        self.lock()?.blobs.get(&blob).cloned()
    }

    pub(super) fn tree(&self, digest: Digest) -> Option<Arc<Tree>> {
        self.lock()?.trees.get(&digest).cloned()
    }

    pub(super) fn record(&self, fingerprint: Fingerprint) -> Option<Arc<Record>> {
        self.lock()?.records.get(&fingerprint).cloned()
    }

    /// Waits until `blob` isn't pending.
    pub(super) fn settle(&self, blob: Digest) {
        let Some(mut held) = self.lock() else { return };
        while held.blobs.contains_key(&blob) {
            held = self.left.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
