//! Blobs and trees as they lie in the cache.

use std::{
    fs::{self, Metadata},
    io,
    path::PathBuf,
};

use super::{Cache, CacheError, staging::hash_file};
use crate::{
    digest::Digest,
    disk,
    tree::{Entry, Tree},
};

/// What is wrong with something that the cache should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// A blob isn't there.
    BlobMissing(Digest),
    /// A blob's bytes are not what its name says.
    BlobCorrupt(Digest),
    /// A blob may not be read.
    BlobForbidden(Digest),
    /// A tree isn't there.
    TreeMissing(Digest),
    /// A tree's content is not what its name says.
    TreeCorrupt(Digest),
    /// A tree may not be read.
    TreeForbidden(Digest),
    /// A record can't be used.
    RecordCorrupt(String),
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BlobMissing(digest) => write!(f, "blob {} is missing", digest.short()),
            Self::BlobCorrupt(digest) => write!(f, "blob {} is corrupt", digest.short()),
            Self::BlobForbidden(digest) => write!(f, "blob {} may not be read", digest.short()),
            Self::TreeMissing(digest) => write!(f, "tree {} is missing", digest.short()),
            Self::TreeCorrupt(digest) => write!(f, "tree {} is corrupt", digest.short()),
            Self::TreeForbidden(digest) => write!(f, "tree {} may not be read", digest.short()),
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
        self.root.join(Self::blob_name(blob))
    }

    pub(super) fn blob_name(blob: Digest) -> String {
        Self::bucket("blobs", blob.as_bytes(), "")
    }

    /// Quarantines `blob`, which is broken. In a cache that takes no writes it stays, and isn't used either.
    fn quarantine_blob(&self, blob: Digest) {
        self.pending.settle(blob);
        let _ = self.quarantine(&self.published_path(blob));
    }

    /// Whether `blob` is there with `size` bytes.
    pub(super) fn has_blob(&self, blob: Digest, size: u64) -> Result<Metadata, Flaw> {
        match fs::metadata(self.blob_path(blob)) {
            Ok(meta) if meta.is_file() && meta.len() == size => Ok(meta),
            Ok(_) => Err(Flaw::BlobCorrupt(blob)),
            Err(_) => Err(Flaw::BlobMissing(blob)),
        }
    }

    /// Hashes the bytes of `blob`, and quarantines it when they aren't what its name says.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn verify_blob(&self, blob: Digest) -> Result<Result<(), Flaw>, CacheError> {
        let found = self.hash_blob(blob)?;
        if matches!(found, Err(Flaw::BlobCorrupt(_) | Flaw::BlobForbidden(_))) {
            self.quarantine_blob(blob);
        }
        Ok(found)
    }

    /// Hashes the bytes of `blob`, and changes nothing but the memory of what was verified.
    pub(super) fn hash_blob(&self, blob: Digest) -> Result<Result<(), Flaw>, CacheError> {
        let path = self.blob_path(blob);
        let meta = match fs::metadata(&path) {
            Ok(meta) if meta.is_file() => meta,
            Ok(_) => return Ok(Err(Flaw::BlobCorrupt(blob))),
            Err(_) => return Ok(Err(Flaw::BlobMissing(blob))),
        };
        match hash_file(&path) {
            Ok((found, _)) if found == blob => {
                self.shared.verified.note(blob, &meta);
                Ok(Ok(()))
            }
            Ok(_) => Ok(Err(Flaw::BlobCorrupt(blob))),
            Err(CacheError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Err(Flaw::BlobMissing(blob)))
            }
            Err(CacheError::Io { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Ok(Err(Flaw::BlobForbidden(blob)))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes sure that `blob` is there and holds what it should: by its file's state, when this machine has written or
    /// hashed it before, else by hashing it. A broken one is quarantined.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] when it is missing or broken; else when the disk fails.
    pub(crate) fn check_blob(&self, blob: Digest, size: u64) -> Result<(), CacheError> {
        let checked = match self.has_blob(blob, size) {
            // What this process has just staged it needn't look at.
            Ok(_) if self.pending.blob(blob).is_some() => Ok(()),
            Ok(meta) if self.shared.verified.knows(blob, &meta) => Ok(()),
            Ok(_) => self.verify_blob(blob)?,
            Err(flaw) => {
                if flaw == Flaw::BlobCorrupt(blob) {
                    self.quarantine_blob(blob);
                }
                Err(flaw)
            }
        };
        checked.map_err(|flaw| {
            self.shared.verified.note_bad(blob);
            CacheError::Damaged(flaw)
        })
    }

    /// The bytes of a file of an artifact, which are what they should be.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] when they are missing or broken; else when the disk fails.
    pub fn read_blob(&self, entry: &Entry) -> Result<Vec<u8>, CacheError> {
        if let Some(bytes) = self.read_sound(entry) {
            return Ok(bytes);
        }
        // Whatever was wrong, this names it, and takes a broken blob out of the way.
        self.check_blob(entry.blob, entry.size)?;
        // It was made again meanwhile. What is read now needn't be the file that was found sound.
        self.read_sound(entry).ok_or_else(|| {
            self.shared.verified.note_bad(entry.blob);
            CacheError::Damaged(Flaw::BlobCorrupt(entry.blob))
        })
    }

    /// The bytes of a file of an artifact, if they are there and what they should be.
    fn read_sound(&self, entry: &Entry) -> Option<Vec<u8>> {
        let path = self.blob_path(entry.blob);
        // Before it is read: what is done to it meanwhile must not be noted as verified.
        let meta = fs::metadata(&path).ok()?;
        let bytes = fs::read(&path).ok()?;
        if bytes.len() as u64 != entry.size {
            return None;
        }
        if !self.shared.verified.knows(entry.blob, &meta) {
            if Digest::of(&bytes) != entry.blob {
                return None;
            }
            self.shared.verified.note(entry.blob, &meta);
        }
        Some(bytes)
    }

    /// Whether the file of `blob` is as it was when this machine wrote or hashed it.
    pub(crate) fn is_as_verified(&self, blob: Digest, meta: &Metadata) -> bool {
        self.shared.verified.knows(blob, meta)
    }

    /// Whether `blob` is published already, sound, and safe from being collected.
    pub(crate) fn holds_blob(&self, blob: Digest, size: u64) -> bool {
        let path = self.published_path(blob);
        let sound = fs::metadata(&path).is_ok_and(|meta| {
            meta.len() == size
                && (self.shared.verified.knows(blob, &meta)
                    || hash_file(&path).is_ok_and(|(found, _)| found == blob))
        });
        let holds = sound && disk::touch(&path);
        if holds {
            self.note_published(blob);
        }
        holds
    }

    /// Notes that the published file of `blob`, just written or verified, holds what it should.
    pub(super) fn note_published(&self, blob: Digest) {
        if let Ok(meta) = fs::metadata(self.published_path(blob)) {
            self.shared.verified.note(blob, &meta);
        }
    }

    /// Whether the published file of `blob` is as it was when this machine wrote or hashed it.
    pub(super) fn is_published_as_verified(&self, blob: Digest) -> bool {
        let meta = fs::metadata(self.published_path(blob));
        meta.is_ok_and(|meta| self.shared.verified.knows(blob, &meta))
    }

    /// Notes that `tree`, just published, isn't damaged any more.
    pub(super) fn note_tree(&self, tree: Digest) {
        self.shared.verified.forget_bad(tree);
    }

    /// Notes that the file of `blob`, just written or verified, holds what it should.
    pub(crate) fn note_verified(&self, blob: Digest) {
        if let Ok(meta) = fs::metadata(self.blob_path(blob)) {
            self.shared.verified.note(blob, &meta);
        }
    }

    /// Whether somebody wanted to read the artifact `digest`, or a file of it, and found it missing or broken.
    pub(crate) fn is_damaged(&self, digest: Digest) -> bool {
        let bad = |digest| self.shared.verified.is_bad(digest);
        bad(digest)
            || match self.look_at_tree(digest) {
                Ok(Ok(tree)) => tree.files().iter().any(|entry| bad(entry.blob)),
                _ => true,
            }
    }

    /// Forgets that the artifact `digest` was found damaged: it was made again.
    pub(crate) fn forget_damage(&self, digest: Digest) {
        self.shared.verified.forget_bad(digest);
        if let Ok(Ok(tree)) = self.look_at_tree(digest) {
            for entry in tree.files() {
                self.shared.verified.forget_bad(entry.blob);
            }
        }
    }

    /// How often somebody wanted to read something and found it missing or broken.
    pub(crate) fn times_damaged(&self) -> u64 {
        self.shared.verified.times_bad()
    }

    pub(super) fn tree_path(&self, tree: Digest) -> PathBuf {
        self.root.join(Self::tree_name(tree))
    }

    pub(super) fn tree_name(tree: Digest) -> String {
        Self::bucket("trees", tree.as_bytes(), ".json")
    }

    /// The tree whose content digest is `digest`, checked against that digest; its blobs are not looked at.
    ///
    /// # Errors
    /// When the file is there but can't be read.
    pub fn tree(&self, digest: Digest) -> Result<Result<Tree, Flaw>, CacheError> {
        if let Some(tree) = self.pending.tree(digest) {
            return Ok(Ok(Tree::clone(&tree)));
        }
        let found = self.look_at_tree(digest)?;
        if let Err(flaw) = &found {
            self.shared.verified.note_bad(digest);
            if matches!(flaw, Flaw::TreeCorrupt(_)) {
                let _ = self.quarantine(&self.tree_path(digest));
            }
        }
        Ok(found)
    }

    /// The same of one that is published, changing nothing.
    pub(super) fn look_at_tree(&self, digest: Digest) -> Result<Result<Tree, Flaw>, CacheError> {
        let path = self.tree_path(digest);
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound => Ok(Err(Flaw::TreeMissing(digest))),
                    io::ErrorKind::PermissionDenied => Ok(Err(Flaw::TreeForbidden(digest))),
                    io::ErrorKind::IsADirectory => Ok(Err(Flaw::TreeCorrupt(digest))),
                    _ => Err(CacheError::io("read", &path)(error)),
                };
            }
        };
        match Tree::from_json(&json) {
            Ok(tree) if tree.digest() == digest => Ok(Ok(tree)),
            _ => Ok(Err(Flaw::TreeCorrupt(digest))),
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
                    self.quarantine_blob(entry.blob);
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

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

    use super::*;
    use crate::{
        cache::{Staging, publish},
        digest::Fingerprint,
    };

    fn published(bytes: &[u8]) -> (tempfile::TempDir, Cache, Entry) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let entry = again(&cache, bytes);
        (folder, cache, entry)
    }

    /// Publishes `bytes` as an artifact that is one file, as any number of stages may.
    fn again(cache: &Cache, bytes: &[u8]) -> Entry {
        let staging = Arc::new(Staging::new(cache).unwrap());
        let staged = staging.write(bytes).unwrap();
        let entry = Entry { path: ".".parse().unwrap(), blob: staged.blob, size: staged.size };
        publish(cache, staging, vec![staged], Tree::single(entry.blob, entry.size));
        entry
    }

    fn flip(path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        bytes[0] ^= 1;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_broken_blob_is_never_read_and_ours_takes_its_place() {
        let (_folder, cache, entry) = published(b"some bytes");
        assert_eq!(cache.read_blob(&entry).unwrap(), b"some bytes");
        let path = cache.blob_path(entry.blob);
        std::thread::sleep(std::time::Duration::from_millis(20));
        flip(&path);
        // Whoever publishes the same bytes doesn't take the broken ones for them.
        again(&cache, b"some bytes");
        assert_eq!(fs::read(&path).unwrap(), b"some bytes");
        std::thread::sleep(std::time::Duration::from_millis(20));
        flip(&path);
        let read = cache.read_blob(&entry);
        assert!(matches!(read, Err(CacheError::Damaged(Flaw::BlobCorrupt(_)))), "{read:?}");
        assert!(!path.exists(), "it is quarantined");
        assert_eq!(fs::read_dir(cache.root.join("quarantine")).unwrap().count(), 1);
        let read = cache.read_blob(&entry);
        assert!(matches!(read, Err(CacheError::Damaged(Flaw::BlobMissing(_)))), "{read:?}");
    }

    /// While the same bytes are on their way to the place where broken ones stand, nobody takes one file for the other.
    #[test]
    fn a_broken_blob_is_never_read_while_it_is_made_again() {
        let (folder, cache, entry) = published(b"some bytes");
        let (path, staged) = (cache.published_path(entry.blob), folder.path().join("staged"));
        fs::write(&staged, b"some bytes").unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        let tree = Tree::single(entry.blob, entry.size).digest();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..2000 {
                    let broken = folder.path().join(format!("broken-{round}"));
                    fs::write(&broken, b"some bytfs").unwrap();
                    fs::rename(&broken, &path).unwrap();
                    cache.pending.begin();
                    cache.pending.hold_blob(entry.blob, staged.clone());
                    std::thread::yield_now();
                    cache.pending.end(
                        [entry.blob].into_iter(),
                        [tree].into_iter(),
                        Fingerprint::from_bytes([1; 32]),
                    );
                }
                done.store(true, std::sync::atomic::Ordering::Release);
            });
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                if let Ok(bytes) = cache.read_blob(&entry) {
                    assert_eq!(bytes, b"some bytes");
                }
            }
        });
    }

    #[test]
    fn a_broken_tree_gives_way() {
        let (_folder, cache, entry) = published(b"some bytes");
        let tree = Tree::single(entry.blob, entry.size);
        flip(&cache.tree_path(tree.digest()));
        again(&cache, b"some bytes");
        assert_eq!(cache.tree(tree.digest()).unwrap().unwrap(), tree);
    }

    #[test]
    fn what_was_published_is_known_without_hashing() {
        let (_folder, cache, entry) = published(b"some bytes");
        assert!(cache.is_published_as_verified(entry.blob));
    }
}
