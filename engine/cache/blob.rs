//! Blobs and trees as they lie in the cache.

use std::{fs, io, path::PathBuf};

use super::{Cache, CacheError, staging::hash_file};
use crate::{artifact::Tree, digest::Digest};

/// What is wrong with something that the cache should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// A blob isn't there.
    BlobMissing(Digest),
    /// A blob's bytes are not what its name says.
    BlobCorrupt(Digest),
    /// A tree isn't there.
    TreeMissing(Digest),
    /// A tree's content is not what its name says.
    TreeCorrupt(Digest),
    /// A record can't be read.
    RecordCorrupt(String),
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BlobMissing(digest) => write!(f, "blob {} is missing", digest.short()),
            Self::BlobCorrupt(digest) => write!(f, "blob {} is corrupt", digest.short()),
            Self::TreeMissing(digest) => write!(f, "tree {} is missing", digest.short()),
            Self::TreeCorrupt(digest) => write!(f, "tree {} is corrupt", digest.short()),
            Self::RecordCorrupt(why) => write!(f, "the record is corrupt: {why}"),
        }
    }
}

impl Cache {
    /// Where the bytes of `blob` lie.
    pub fn blob_path(&self, blob: Digest) -> PathBuf {
        self.pending.blob(blob).unwrap_or_else(|| self.published_path(blob))
    }

    /// Where the bytes of `blob` lie once they are published.
    pub(super) fn published_path(&self, blob: Digest) -> PathBuf {
        self.bucket("blobs", &blob.hex(), "")
    }

    /// Quarantines `blob`, which is broken.
    fn quarantine_blob(&self, blob: Digest) -> Result<(), CacheError> {
        self.pending.settle(blob);
        self.quarantine(&self.published_path(blob))
    }

    /// Whether `blob` is there with `size` bytes.
    fn has_blob(&self, blob: Digest, size: u64) -> Result<(), Flaw> {
        match fs::metadata(self.blob_path(blob)) {
            Ok(meta) if meta.is_file() && meta.len() == size => Ok(()),
            Ok(_) => Err(Flaw::BlobCorrupt(blob)),
            Err(_) => Err(Flaw::BlobMissing(blob)),
        }
    }

    /// Hashes the bytes of `blob`, and quarantines it when they aren't what its name says.
    ///
    /// # Errors
    /// When the bytes can't be read.
    pub fn verify_blob(&self, blob: Digest) -> Result<Result<(), Flaw>, CacheError> {
        let path = self.blob_path(blob);
        match hash_file(&path) {
            Ok((found, _)) if found == blob => Ok(Ok(())),
            Ok(_) => {
                self.quarantine_blob(blob)?;
                Ok(Err(Flaw::BlobCorrupt(blob)))
            }
            Err(CacheError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Err(Flaw::BlobMissing(blob)))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn tree_path(&self, tree: Digest) -> PathBuf {
        self.bucket("trees", &tree.hex(), ".json")
    }

    /// The tree whose content digest is `digest`, checked against that digest; its blobs are not looked at.
    ///
    /// # Errors
    /// When the file is there but can't be read.
    pub fn tree(&self, digest: Digest) -> Result<Result<Tree, Flaw>, CacheError> {
        if let Some(tree) = self.pending.tree(digest) {
            return Ok(Ok(Tree::clone(&tree)));
        }
        let path = self.tree_path(digest);
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Err(Flaw::TreeMissing(digest)));
            }
            Err(error) => return Err(CacheError::io("read", &path)(error)),
        };
        match Tree::from_json(&json) {
            Ok(tree) if tree.digest() == digest => Ok(Ok(tree)),
            _ => {
                self.quarantine(&path)?;
                Ok(Err(Flaw::TreeCorrupt(digest)))
            }
        }
    }

    /// The tree whose content digest is `digest`, if all its blobs are there with the right sizes. Broken blobs are
    /// quarantined.
    ///
    /// # Errors
    /// When the cache can't be read.
    pub fn complete_tree(&self, digest: Digest) -> Result<Result<Tree, Flaw>, CacheError> {
        let tree = match self.tree(digest)? {
            Ok(tree) => tree,
            Err(flaw) => return Ok(Err(flaw)),
        };
        for entry in tree.files() {
            if let Err(flaw) = self.has_blob(entry.blob, entry.size) {
                if matches!(flaw, Flaw::BlobCorrupt(_)) {
                    self.quarantine_blob(entry.blob)?;
                }
                return Ok(Err(flaw));
            }
        }
        Ok(Ok(tree))
    }

    pub(super) fn remove_blob(&self, blob: Digest) -> Result<(), CacheError> {
        Self::remove(&self.published_path(blob))
    }

    pub(super) fn remove_tree(&self, tree: Digest) -> Result<(), CacheError> {
        Self::remove(&self.tree_path(tree))
    }
}
