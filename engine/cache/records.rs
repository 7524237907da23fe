//! Records as they lie in the cache.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    cache::Cache,
    contents::{Listing, named_by},
    error::{CacheError, Conflict},
    flaw::Flaw,
    record::{LARGEST, Record},
};
use crate::base::{
    digest::{Digest, Fingerprint},
    disk,
    exactness::Exactness,
    regular,
    tree::Entry,
};

/// How the publication of a record ended.
#[derive(Debug)]
pub enum Publication {
    /// The record is now there.
    First,
    /// A record was there already, and it stands.
    Stands(Box<Record>),
}

impl Cache {
    pub(super) fn record_path(&self, fingerprint: Fingerprint) -> PathBuf {
        self.root.join(Self::record_name(fingerprint))
    }

    pub(super) fn record_name(fingerprint: Fingerprint) -> String {
        Self::bucket("records", fingerprint.as_bytes(), ".json")
    }

    /// The record under `fingerprint`, if there is one that can be read.
    ///
    /// # Errors
    /// When the cache can't be read.
    pub fn record(
        &self,
        fingerprint: Fingerprint,
    ) -> Result<Option<Result<Record, Flaw>>, CacheError> {
        match self.overlay.record(fingerprint) {
            Some(record) => Ok(Some(Ok(Record::clone(&record)))),
            None => self.published_record(fingerprint),
        }
    }

    fn published_record(
        &self,
        fingerprint: Fingerprint,
    ) -> Result<Option<Result<Record, Flaw>>, CacheError> {
        let path = self.record_path(fingerprint);
        let json = match regular::read(&path, LARGEST) {
            Ok(json) => json,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // A record that one may not read, or what isn't a file in its place, is one that can't be used.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidData
                ) =>
            {
                return Ok(Some(Err(Flaw::RecordCorrupt(error.to_string()))));
            }
            Err(error) => return Err(CacheError::io("read", &path)(error)),
        };
        // What is looked up is in use again: it must not be collected as something old.
        disk::touch(&path);
        let flaw = match Record::from_bytes(&json) {
            Ok(record) if record.recipe.fingerprint() != fingerprint => {
                "its recipe has another fingerprint".to_owned()
            }
            Ok(record) => return Ok(Some(Ok(record))),
            Err(flaw) => flaw,
        };
        Ok(Some(Err(Flaw::RecordCorrupt(flaw))))
    }

    /// Takes a record that can't be kept out of the way.
    ///
    /// # Errors
    /// When it can't be moved.
    pub fn quarantine_record(&self, fingerprint: Fingerprint) -> Result<(), CacheError> {
        self.quarantine(&self.record_path(fingerprint))
    }

    /// Removes the records of parts that are no more needed, and of their outputs what no other record and no other tree
    /// names. Every record and tree is read for that: better for many parts at once.
    ///
    /// # Errors
    /// When something can't be read, or is there and can't be removed.
    pub(crate) fn remove_parts(&self, parts: &[Fingerprint]) -> Result<(), CacheError> {
        let mut trees = HashSet::new();
        for &part in parts {
            if let Some(Ok(record)) = self.record(part)? {
                self.remove(&self.record_path(part))?;
                trees.extend(record.outputs.into_values());
            }
        }
        if trees.is_empty() {
            return Ok(());
        }
        let Listing { records, trees: others, .. } = self.list_kinds(&["records", "trees"])?;
        let named = named_by(&records);
        let mut blobs = HashSet::new();
        for digest in trees.into_iter().filter(|digest| !named.contains(digest.as_bytes())) {
            if let Ok(tree) = self.tree(digest)? {
                blobs.extend(tree.files().iter().map(|entry| entry.blob));
            }
            self.remove_tree(digest)?;
        }
        if blobs.is_empty() {
            return Ok(());
        }
        let named = [named, named_by(&others)];
        let free = |blob: &&Digest| !named.iter().any(|named| named.contains(blob.as_bytes()));
        blobs.iter().filter(free).try_for_each(|blob| self.remove_blob(*blob))
    }

    /// Whether all that a record names as outputs is published.
    fn is_whole(&self, record: &Record) -> Result<bool, CacheError> {
        for digest in record.outputs.values() {
            let Ok(tree) = self.look_at_tree(*digest)? else { return Ok(false) };
            let is_there = |entry: &Entry| {
                let meta = fs::metadata(self.published_path(entry.blob));
                meta.is_ok_and(|meta| meta.len() == entry.size)
            };
            if !tree.files().iter().all(is_there) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives a record, staged at `file`, its place, which is the last act of a computation. A record that is there
    /// already stands.
    ///
    /// # Errors
    /// When it can't be written, or the one that is there differs though the stage is exact.
    pub(super) fn place_record(
        &self,
        file: &Path,
        record: &Record,
        exactness: Exactness,
    ) -> Result<Publication, CacheError> {
        let fingerprint = record.recipe.fingerprint();
        let path = self.record_path(fingerprint);
        if self.link_once(file, &path)? {
            return Ok(Publication::First);
        }
        let there = match self.published_record(fingerprint)? {
            Some(Ok(there)) if there.outputs == record.outputs => there,
            Some(Ok(there))
                if there.outputs.keys().eq(record.outputs.keys()) && self.is_whole(&there)? =>
            {
                there
            }
            _ => {
                // It broke or went since, or what it names did: ours takes its place.
                self.quarantine(&path)?;
                self.link_once(file, &path)?;
                return Ok(Publication::First);
            }
        };
        if exactness == Exactness::Exact {
            for (output, digest) in &record.outputs {
                if let Some(other) = there.outputs.get(output).filter(|other| *other != digest) {
                    return Err(CacheError::Conflict(Box::new(Conflict {
                        fingerprint: fingerprint.short(),
                        output: output.clone(),
                        there: *other,
                        now: *digest,
                        stage: there.provenance.stage,
                        host: there.provenance.host,
                    })));
                }
            }
        }
        Ok(Publication::Stands(Box::new(there)))
    }
}
