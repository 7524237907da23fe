//! What this machine remembers of a workspace, so that what didn't change isn't read again: the digests of the user's
//! files, and which results were found whole.
//!
//! It is never needed, and never trusted further than it can be checked: a file's digest is remembered under
//! everything that the file system tells of the file, and a result counts only while its record and trees are the very
//! files that were read, and its blobs have their sizes. It lies in a [folder of the user's own](super::memory). One that
//! is damaged, or can't be read or written, is passed over. All numbers are little-endian; the last 32 bytes are the BLAKE3 hash of those before, in a domain of its own.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, FileType, Mode, OFlags, statat},
};

use super::{
    cache::Cache, error::CacheError, record::Record, signature::Signature, staging::Staging,
};
use crate::base::{
    digest::{Digest, Fingerprint},
    disk,
    tree::Tree,
};

const MAGIC: &[u8; 16] = b"pipe memo 1\n\0\0\0\0";
const CONTEXT: &str = "pipe 2026-11 memo v1";
/// More than this, in bytes, is none.
const LARGEST: u64 = 1 << 30;
/// How many files, and how many results, are remembered at most.
const MOST: usize = 200_000;
/// A result that was found whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Whole {
    record: Signature,
    outputs: Vec<WholeOutput>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct WholeOutput {
    name: String,
    digest: Digest,
    tree: Signature,
    blobs: Vec<(Digest, u64)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Content {
    files: HashMap<Signature, Digest>,
    results: HashMap<Fingerprint, Whole>,
}

/// What was learned since it was read.
#[derive(Debug, Default)]
struct Learned {
    /// With when each file was hashed, by our own clock.
    files: HashMap<Signature, (Digest, SystemTime)>,
    results: HashMap<Fingerprint, Whole>,
}

/// What is remembered, and what was learned since it was read.
#[derive(Debug)]
pub(crate) struct StatCache {
    /// The name of its file.
    name: String,
    /// The cache's folder: what many files are looked for in is opened once.
    folder: Option<OwnedFd>,
    known: Content,
    learned: Mutex<Learned>,
}

impl Cache {
    /// What this machine remembers of the pipeline in `file`.
    pub(crate) fn memo(&self, file: &Path) -> StatCache {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(file.as_os_str().as_encoded_bytes());
        let name = format!("memo-{}", &hasher.finalize().to_hex()[..16]);
        let known = self.shared.memory.read(&name, LARGEST);
        let known = known.and_then(|bytes| Content::decode(&bytes));
        let folder = rustix::fs::open(
            &self.root,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let known = known.unwrap_or_default();
        StatCache { name, folder: folder.ok(), known, learned: Mutex::default() }
    }
}

impl StatCache {
    /// Remembers nothing: for who has no cache.
    pub(crate) fn none() -> Self {
        Self {
            name: String::new(),
            folder: None,
            known: Content::default(),
            learned: Mutex::default(),
        }
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of the file that has this signature.
    pub(crate) fn digest(&self, signature: &Signature) -> Option<Digest> {
        let known = self.known.files.get(signature).copied();
        known.or_else(|| self.learned().files.get(signature).map(|(digest, _)| *digest))
    }

    /// Remembers the digest of a file that had `signature` before and after it was hashed, beginning at `moment`.
    pub(crate) fn learn(&self, signature: Signature, digest: Digest, moment: SystemTime) {
        if !signature.is_racy(moment) {
            self.learned().files.insert(signature, (digest, moment));
        }
    }

    /// The outputs under `fingerprint`, if the result was found whole before and nothing tells that it isn't now. It
    /// counts as looked up, so that it isn't collected as something old.
    pub(crate) fn result(
        &self,
        cache: &Cache,
        fingerprint: Fingerprint,
    ) -> Option<BTreeMap<String, Digest>> {
        let whole = self.known.results.get(&fingerprint)?;
        let folder = self.folder.as_ref()?;
        let look = |name: &str| statat(folder, name, AtFlags::empty()).ok();
        if look(&Cache::record_name(fingerprint)).map(|stat| Signature::of_stat(&stat))
            != Some(whole.record)
        {
            return None;
        }
        let has = |(blob, size): &(Digest, u64)| {
            look(&Cache::blob_name(*blob)).is_some_and(|stat| {
                FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_size as u64 == *size
            })
        };
        for output in &whole.outputs {
            let tree = look(&Cache::tree_name(output.digest))?;
            if Signature::of_stat(&tree) != output.tree || !output.blobs.iter().all(has) {
                return None;
            }
        }
        if !disk::is_new(whole.record.modified()) {
            let record = cache.record_path(fingerprint);
            disk::touch(&record);
            let record = fs::metadata(&record).map(|meta| Signature::of(&meta)).ok()?;
            if record != whole.record {
                // No record is ever written over: the change is the one that we made ourselves.
                let whole = Whole { record, outputs: whole.outputs.clone() };
                self.learned().results.insert(fingerprint, whole);
            }
        }
        let outputs = whole.outputs.iter();
        Some(outputs.map(|output| (output.name.clone(), output.digest)).collect())
    }

    /// Remembers a result whose record and trees were just read, and whose blobs were found.
    pub(crate) fn learn_result(
        &self,
        cache: &Cache,
        fingerprint: Fingerprint,
        record: &Record,
        trees: &[Tree],
    ) {
        // What isn't published yet has no signature yet.
        let signature = |path: PathBuf| fs::metadata(path).ok().map(|meta| Signature::of(&meta));
        let output = |((name, digest), tree): ((&String, &Digest), &Tree)| {
            let blobs = tree.files().iter().map(|entry| (entry.blob, entry.size)).collect();
            let tree = signature(cache.tree_path(*digest))?;
            Some(WholeOutput { name: name.clone(), digest: *digest, tree, blobs })
        };
        let outputs = record.outputs.iter().zip(trees).map(output).collect();
        let whole = signature(cache.record_path(fingerprint))
            .zip(outputs)
            .map(|(record, outputs)| Whole { record, outputs });
        if let Some(whole) = whole {
            self.learned().results.insert(fingerprint, whole);
        }
    }

    /// Writes it if anything was learned.
    ///
    /// # Errors
    /// When it can't be written, which does no harm.
    pub(crate) fn save(self, cache: &Cache) -> Result<(), CacheError> {
        let Self { name, known, learned, .. } = self;
        let learned = learned.into_inner().unwrap_or_else(PoisonError::into_inner);
        if learned.files.is_empty() && learned.results.is_empty() {
            return Ok(());
        }
        let staging = Staging::new(cache)?;
        // Times of change are a file server's, and ours is the clock that was looked at: if it is ahead, what it took for
        // old may be recent.
        let ahead = SystemTime::now().duration_since(staging.clock()?).unwrap_or_default();
        let is_racy = |signature: &Signature, moment: SystemTime| {
            moment.checked_sub(ahead).is_none_or(|moment| signature.is_racy(moment))
        };
        let files = learned.files.into_iter();
        let files = files.filter(|(signature, (_, moment))| !is_racy(signature, *moment));
        let mut content = Content {
            files: files.map(|(signature, (digest, _))| (signature, digest)).collect(),
            results: learned.results,
        };
        let place = |signature: &Signature| (signature.device, signature.inode);
        let places: HashSet<_> = content.files.keys().map(place).collect();
        let room = MOST.saturating_sub(content.files.len());
        let older = known.files.into_iter().filter(|(file, _)| !places.contains(&place(file)));
        content.files.extend(older.take(room));
        let room = MOST.saturating_sub(content.results.len());
        for (fingerprint, whole) in known.results.into_iter().take(room) {
            content.results.entry(fingerprint).or_insert(whole);
        }
        let written = cache.shared.memory.replace(&name, &content.encode());
        written.map_err(CacheError::io("write", Path::new(&name)))
    }
}

impl Content {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.files.len() * 96 + self.results.len() * 256 + 64);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&(self.files.len() as u64).to_le_bytes());
        out.extend_from_slice(&(self.results.len() as u64).to_le_bytes());
        for (signature, digest) in &self.files {
            put_signature(&mut out, signature);
            out.extend_from_slice(digest.as_bytes());
        }
        for (fingerprint, whole) in &self.results {
            out.extend_from_slice(fingerprint.as_bytes());
            put_signature(&mut out, &whole.record);
            out.extend_from_slice(&(whole.outputs.len() as u64).to_le_bytes());
            for output in &whole.outputs {
                out.extend_from_slice(&(output.name.len() as u64).to_le_bytes());
                out.extend_from_slice(output.name.as_bytes());
                out.extend_from_slice(output.digest.as_bytes());
                put_signature(&mut out, &output.tree);
                out.extend_from_slice(&(output.blobs.len() as u64).to_le_bytes());
                for (blob, size) in &output.blobs {
                    out.extend_from_slice(blob.as_bytes());
                    out.extend_from_slice(&size.to_le_bytes());
                }
            }
        }
        let checksum = checksum(&out);
        out.extend_from_slice(&checksum);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, sum) = bytes.split_last_chunk::<32>()?;
        if checksum(bytes) != *sum {
            return None;
        }
        let mut reader = Reader(bytes.strip_prefix(MAGIC)?);
        let (files, results) = (reader.number()?, reader.number()?);
        let mut content = Self::default();
        // No count is believed before its items were read.
        content.files.reserve((files as usize).min(MOST));
        content.results.reserve((results as usize).min(MOST));
        for _ in 0..files {
            let signature = reader.signature()?;
            content.files.insert(signature, Digest::from_bytes(reader.take()?));
        }
        for _ in 0..results {
            let fingerprint = Fingerprint::from_bytes(reader.take()?);
            let record = reader.signature()?;
            let mut outputs = Vec::new();
            for _ in 0..reader.number()? {
                let name = reader.text()?;
                let digest = Digest::from_bytes(reader.take()?);
                let tree = reader.signature()?;
                let mut blobs = Vec::new();
                for _ in 0..reader.number()? {
                    blobs.push((Digest::from_bytes(reader.take()?), reader.number()?));
                }
                outputs.push(WholeOutput { name, digest, tree, blobs });
            }
            content.results.insert(fingerprint, Whole { record, outputs });
        }
        reader.0.is_empty().then_some(content)
    }
}

fn checksum(bytes: &[u8]) -> [u8; 32] {
    blake3::derive_key(CONTEXT, bytes)
}

/// `bytes` as what a stat cache holds, with a checksum that is right, so that what comes after it is tried too.
#[cfg(any(test, fuzzing))]
pub(super) fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = [&MAGIC[..], bytes].concat();
    bytes.extend(checksum(&bytes));
    bytes
}

fn put_signature(out: &mut Vec<u8>, signature: &Signature) {
    let Signature { device, inode, size, modified, changed } = signature;
    for number in [*device, *inode, *size] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for number in [modified.0, modified.1, changed.0, changed.1] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

/// Takes values from the front of bytes, as long as they last.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn signature(&mut self) -> Option<Signature> {
        let (device, inode, size) = (self.number()?, self.number()?, self.number()?);
        let mut time = || Some((self.number()? as i64, self.number()? as i64));
        Some(Signature { device, inode, size, modified: time()?, changed: time()? })
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signature() -> impl Strategy<Value = Signature> {
        let time = (any::<i64>(), 0..1_000_000_000_i64);
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), time.clone(), time);
        numbers.prop_map(|(device, inode, size, modified, changed)| Signature {
            device,
            inode,
            size,
            modified,
            changed,
        })
    }

    fn digest() -> impl Strategy<Value = Digest> {
        any::<[u8; 32]>().prop_map(Digest::from_bytes)
    }

    fn content() -> impl Strategy<Value = Content> {
        let blobs = prop::collection::vec((digest(), any::<u64>()), 0..4);
        let output = ("\\PC{0,12}", digest(), signature(), blobs);
        let output = output.prop_map(|(name, digest, tree, blobs)| WholeOutput {
            name,
            digest,
            tree,
            blobs,
        });
        let whole = (signature(), prop::collection::vec(output, 0..3))
            .prop_map(|(record, outputs)| Whole { record, outputs });
        let fingerprint = any::<[u8; 32]>().prop_map(Fingerprint::from_bytes);
        let files = prop::collection::hash_map(signature(), digest(), 0..8);
        let results = prop::collection::hash_map(fingerprint, whole, 0..4);
        (files, results).prop_map(|(files, results)| Content { files, results })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(content in content()) {
            prop_assert_eq!(Content::decode(&content.encode()), Some(content));
        }

        #[test]
        fn no_damage_goes_unseen(content in content(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut bytes = content.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            prop_assert_eq!(Content::decode(&bytes), None);
            prop_assert_eq!(Content::decode(&bytes[..at]), None);
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Content::decode(&sealed(&bytes));
        }
    }

    #[test]
    fn every_part_of_a_signature_counts() {
        let base = Signature { device: 1, inode: 2, size: 3, modified: (4, 5), changed: (6, 7) };
        let memo = StatCache::none();
        memo.learn(base, Digest::of(b"x"), SystemTime::now());
        let others = [
            // Another machine has another device under the same number of file.
            Signature { device: 9, ..base },
            Signature { inode: 9, ..base },
            Signature { size: 9, ..base },
            Signature { modified: (4, 9), ..base },
            Signature { modified: (9, 5), ..base },
            Signature { changed: (6, 9), ..base },
            Signature { changed: (9, 7), ..base },
        ];
        assert!(memo.digest(&base).is_some());
        for other in others {
            assert_eq!(memo.digest(&other), None, "{other:?}");
        }
    }
}
