//! Blobs and trees as they lie in the cache.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _, Seek as _},
    path::PathBuf,
    time::SystemTime,
};

use super::{
    cache::Cache, error::CacheError, flaw::Flaw, signature::Signature, staging::hash_open,
};
use crate::base::{
    digest::Digest,
    disk, regular,
    tree::{Entry, Tree},
};

/// More than this, in bytes, is no tree: it has room for ten million files.
const LARGEST_TREE: u64 = 2 << 30;

/// The file of a blob, opened.
struct Opened {
    file: File,
    /// What it was when it was opened.
    meta: Metadata,
    path: PathBuf,
    /// Whether it is this process's own, not published yet.
    staged: bool,
}

impl Cache {
    /// Where the bytes of `blob` lie.
    pub fn blob_path(&self, blob: Digest) -> PathBuf {
        self.overlay.blob(blob).unwrap_or_else(|| self.published_path(blob))
    }

    /// Opens what a command printed, to be shown to people: none if it is gone, or isn't of its `size`. Its bytes aren't checked.
    ///
    /// # Errors
    /// When it is there and can't be opened.
    pub fn open_log(&self, blob: Digest, size: u64) -> io::Result<Option<File>> {
        match regular::open(&self.blob_path(blob)) {
            Ok((file, meta)) => Ok((meta.len() == size).then_some(file)),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::InvalidData => Ok(None),
                _ => Err(error),
            },
        }
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
        self.overlay.settle(blob);
        let _ = self.quarantine(&self.published_path(blob));
    }

    /// Whether `blob` is there with `size` bytes.
    pub(super) fn has_blob(&self, blob: Digest, size: u64) -> Result<(), Flaw> {
        match fs::symlink_metadata(self.blob_path(blob)) {
            Ok(meta) if meta.is_file() && meta.len() == size => Ok(()),
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
        let opened = match self.open_any(blob)? {
            Ok(opened) => opened,
            Err(flaw) => return Ok(Err(flaw)),
        };
        Ok(self.hash_opened(blob, &opened)?.map(|_| ()))
    }

    /// Opens the file of `blob`, whatever its bytes are. One that is staged here is opened there.
    fn open_any(&self, blob: Digest) -> Result<Result<Opened, Flaw>, CacheError> {
        loop {
            let staged = self.overlay.blob(blob);
            let path = staged.clone().unwrap_or_else(|| self.published_path(blob));
            return match regular::open(&path) {
                Ok((file, meta)) => Ok(Ok(Opened { file, meta, path, staged: staged.is_some() })),
                // It was published since, and its staged file is gone.
                Err(_) if staged.is_some() && self.overlay.blob(blob) != staged => continue,
                Err(error) => match error.kind() {
                    io::ErrorKind::NotFound => Ok(Err(Flaw::BlobMissing(blob))),
                    io::ErrorKind::InvalidData => Ok(Err(Flaw::BlobCorrupt(blob))),
                    io::ErrorKind::PermissionDenied => Ok(Err(Flaw::BlobForbidden(blob))),
                    _ => Err(CacheError::io("open", &path)(error)),
                },
            };
        }
    }

    /// Hashes the very file that is open. It is noted as verified if nothing was done to it meanwhile; gives what is known of
    /// it then.
    fn hash_opened(
        &self,
        blob: Digest,
        opened: &Opened,
    ) -> Result<Result<Metadata, Flaw>, CacheError> {
        let (found, _) = hash_open(&opened.file, &opened.path)?;
        if found != blob {
            return Ok(Err(Flaw::BlobCorrupt(blob)));
        }
        let meta = opened.file.metadata().map_err(CacheError::io("inspect", &opened.path))?;
        if Signature::of(&meta) == Signature::of(&opened.meta) {
            self.shared.verified.note(blob, &meta);
        }
        Ok(Ok(meta))
    }

    /// Opens the file of `blob`, which holds what it should: by its state, when this machine has written or hashed it before,
    /// else by hashing it. A broken one is quarantined. What is read from the very file that this gives is sound; what its
    /// path names later needn't be.
    ///
    /// # Errors
    /// [`CacheError::Damaged`] when it is missing or broken; else when the disk fails.
    pub(crate) fn open_blob(
        &self,
        blob: Digest,
        size: u64,
    ) -> Result<(File, Metadata), CacheError> {
        let checked = match self.open_any(blob)? {
            Ok(opened) if opened.meta.len() != size => Err(Flaw::BlobCorrupt(blob)),
            // What this process has just staged it needn't look at.
            Ok(Opened { file, meta, staged: true, .. }) => Ok((file, meta)),
            Ok(opened) if self.shared.verified.knows(blob, &opened.meta) => {
                Ok((opened.file, opened.meta))
            }
            Ok(mut opened) => match self.hash_opened(blob, &opened)? {
                Ok(meta) => opened
                    .file
                    .rewind()
                    .map(|()| Ok((opened.file, meta)))
                    .map_err(CacheError::io("read", &opened.path))?,
                Err(flaw) => Err(flaw),
            },
            Err(flaw) => Err(flaw),
        };
        checked.map_err(|flaw| {
            if matches!(flaw, Flaw::BlobCorrupt(_) | Flaw::BlobForbidden(_)) {
                self.quarantine_blob(blob);
            }
            self.shared.verified.note_bad(blob);
            CacheError::Damaged(flaw)
        })
    }

    /// Makes sure that `blob` is there and holds what it should. See [`open_blob`](Self::open_blob).
    ///
    /// # Errors
    /// [`CacheError::Damaged`] when it is missing or broken; else when the disk fails.
    pub(crate) fn check_blob(&self, blob: Digest, size: u64) -> Result<(), CacheError> {
        self.open_blob(blob, size).map(drop)
    }

    /// Waits until `blob`, if this process has just staged it, is published.
    pub(crate) fn await_published(&self, blob: Digest) {
        self.overlay.settle(blob);
    }

    /// Checks that whoever was lent the file of `blob` since `since` left it as it was. Without an error of the cache, it was
    /// changed, and isn't used any more.
    ///
    /// # Errors
    /// When it was changed, is missing, or can't be read.
    pub(crate) fn check_lent(
        &self,
        blob: Digest,
        size: u64,
        since: SystemTime,
    ) -> Result<(), Option<CacheError>> {
        let untouched = fs::metadata(self.blob_path(blob)).is_ok_and(|meta| {
            self.shared.verified.knows(blob, &meta)
                && meta.modified().is_ok_and(|time| time < since)
        });
        if untouched {
            return Ok(());
        }
        match self.verify_blob(blob)? {
            Ok(()) => Ok(()),
            // Nothing that the borrower did: it went from the cache, or never came there.
            Err(Flaw::BlobMissing(_)) => Ok(self.check_blob(blob, size)?),
            Err(_) => Err(None),
        }
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

    /// The bytes of a file of an artifact, if they are there and what they should be. The very bytes that are given are
    /// hashed: whatever is done to the file before, meanwhile or after, they are the right ones.
    fn read_sound(&self, entry: &Entry) -> Option<Vec<u8>> {
        let Opened { file, meta, .. } = self.open_any(entry.blob).ok()?.ok()?;
        if meta.len() != entry.size {
            return None;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(entry.size).ok()?);
        // A file that grows meanwhile is read no further than it matters.
        file.take(entry.size + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 == entry.size && Digest::of(&bytes) == entry.blob).then_some(bytes)
    }

    /// Whether the file of `blob` is as it was when this machine wrote or hashed it.
    pub(crate) fn is_as_verified(&self, blob: Digest, meta: &Metadata) -> bool {
        self.shared.verified.knows(blob, meta)
    }

    /// Whether `blob` is published already, sound, and safe from being collected.
    pub(crate) fn holds_blob(&self, blob: Digest, size: u64) -> bool {
        let path = self.published_path(blob);
        let sound = || {
            let (file, before) =
                regular::open(&path).ok().filter(|(_, meta)| meta.len() == size)?;
            if !self.shared.verified.knows(blob, &before) {
                let (found, _) = hash_open(&file, &path).ok()?;
                (found == blob).then_some(())?;
            }
            let after = Signature::of(&file.metadata().ok()?);
            (after == Signature::of(&before)).then_some(after)
        };
        // That it is touched changes its times, not its bytes.
        let same = |touched: &Signature, sound: &Signature| touched.is_of_file(sound);
        let Some(sound) = sound().filter(|_| disk::touch(&path)) else { return false };
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_file() && same(&Signature::of(&meta), &sound) => {
                self.shared.verified.note(blob, &meta);
                true
            }
            _ => false,
        }
    }

    /// Notes that the published file of `blob` holds what it should, if it is the file that was `hashed`, and nothing was
    /// written to it since; whether it is.
    pub(super) fn note_published(&self, blob: Digest, hashed: &Signature) -> bool {
        let meta = fs::symlink_metadata(self.published_path(blob));
        let same = |meta: &Metadata| meta.is_file() && Signature::of(meta).has_content_of(hashed);
        match meta.ok().filter(same) {
            Some(meta) => {
                self.shared.verified.note(blob, &meta);
                true
            }
            None => false,
        }
    }

    /// Makes sure that what was just published as `blob` is it: it isn't the file that was hashed, or was written to since. What
    /// is broken is quarantined.
    pub(super) fn verify_published(&self, blob: Digest) -> Result<(), CacheError> {
        let path = self.published_path(blob);
        let (file, meta) = regular::open(&path).map_err(CacheError::io("open", &path))?;
        let opened = Opened { file, meta, path, staged: false };
        self.hash_opened(blob, &opened)?.map(drop).map_err(|flaw| {
            let _ = self.quarantine(&opened.path);
            self.shared.verified.note_bad(blob);
            CacheError::Damaged(flaw)
        })
    }

    /// What is known of the published file of `blob`, if it is as it was when this machine wrote or hashed it.
    pub(super) fn published_as_verified(&self, blob: Digest) -> Option<Signature> {
        let meta = fs::symlink_metadata(self.published_path(blob)).ok()?;
        self.shared.verified.knows(blob, &meta).then(|| Signature::of(&meta))
    }

    /// Notes that `tree`, just published, isn't damaged any more.
    pub(super) fn note_tree(&self, tree: Digest) {
        self.shared.verified.forget_bad(tree);
    }

    /// Notes that the file of `blob` holds what it should, though its time of change is another: we gave it a name or took one
    /// away. `sound` is what it was when it was last known to be; after any write it is no more.
    pub(crate) fn note_verified(&self, blob: Digest, sound: &Metadata) {
        if let Ok(meta) = fs::symlink_metadata(self.blob_path(blob))
            && Signature::of(&meta).has_content_of(&Signature::of(sound))
        {
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
        if let Some(tree) = self.overlay.tree(digest) {
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
        let json = match regular::read(&path, LARGEST_TREE) {
            Ok(json) => json,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::NotFound => Ok(Err(Flaw::TreeMissing(digest))),
                    io::ErrorKind::InvalidData => Ok(Err(Flaw::TreeCorrupt(digest))),
                    io::ErrorKind::PermissionDenied => Ok(Err(Flaw::TreeForbidden(digest))),
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
        self.remove(&self.published_path(blob))
    }

    pub(super) fn remove_tree(&self, tree: Digest) -> Result<(), CacheError> {
        self.remove(&self.tree_path(tree))
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

    use super::*;
    use crate::{
        base::digest::Fingerprint,
        cache::{Staged, Staging, publish, publisher::try_publish},
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
        let entry = Entry::plain(".".parse().unwrap(), staged.blob, staged.size);
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
                    cache.overlay.begin();
                    cache.overlay.hold_blob(entry.blob, staged.clone());
                    std::thread::yield_now();
                    cache.overlay.end(
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
    fn a_file_that_is_written_to_after_it_was_hashed_is_not_published() {
        use std::os::unix::fs::FileExt as _;
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let staging = Arc::new(Staging::new(&cache).unwrap());
        let path = staging.fresh();
        fs::write(&path, b"some bytes").unwrap();
        // As a process does that a command left behind.
        let lingering = File::options().write(true).open(&path).unwrap();
        let staged = Staged::adopt(path).unwrap();
        let (blob, size) = (staged.blob, staged.size);
        std::thread::sleep(std::time::Duration::from_millis(20));
        lingering.write_all_at(b"other", 0).unwrap();
        let tree = Tree::single(blob, size);
        let published = try_publish(&cache, staging, vec![staged], &tree);
        assert!(
            matches!(published, Err(CacheError::Damaged(Flaw::BlobCorrupt(_)))),
            "{published:?}"
        );
        assert!(!cache.published_path(blob).exists());
        assert_eq!(fs::read_dir(cache.root.join("records")).unwrap().count(), 0);
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
        assert!(cache.published_as_verified(entry.blob).is_some());
    }
}
