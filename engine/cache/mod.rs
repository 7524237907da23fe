//! The content-addressed cache: blobs, trees and records in a folder that many processes share.
//!
//! ```text
//! CACHEDIR.TAG           tells backup programs to pass by
//! format                 the version of this layout
//! blobs/ab/cdef…         one file's bytes, named by their digest; read-only
//! trees/ab/cdef….json    an artifact's manifest, named by its content digest
//! records/ab/cdef….json  the outputs under a fingerprint, and how they came to be
//! leases/…               who is computing which fingerprint now
//! runs/WORKSPACE/…       what each run did, and which runs are pinned
//! tmp/…                  files being written, a folder a writer
//! quarantine/…           what was found broken
//! ```
//!
//! Whatever is published is complete: it was written under `tmp`, synced, and renamed into place, blobs and trees
//! before the record that names them.

mod blob;
mod lease;
mod pending;
mod publisher;
mod record;
mod run;
mod staging;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use thiserror::Error;

#[cfg(test)]
pub(crate) use self::publisher::publish;
pub use self::{
    blob::Flaw,
    lease::{Lease, LeaseError},
    record::{Part, Provenance, Publication, Recipe, Record},
    run::{RunEntry, RunFailure, RunFile, Runs, StageRun},
};
use self::{pending::Pending, staging::Writer};
pub(crate) use self::{
    publisher::{Bundle, Publisher},
    staging::{Staged, StagedWriter, Staging, hash_file},
};
use crate::digest::Digest;

/// The version of the cache's layout that this program reads and writes.
pub const FORMAT: u32 = 1;

/// What goes wrong with a cache.
#[derive(Debug, Error)]
pub enum CacheError {
    /// The operating system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The folder holds something else than a cache.
    #[error("`{}` is not a cache: it has files but no readable `format`", .0.display())]
    NotACache(PathBuf),
    /// The cache was written by a newer version.
    #[error("the cache `{}` has format {found}, and this version of pipe reads format {FORMAT}", path.display())]
    Newer {
        /// The cache.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Two computations of one fingerprint differ, though the stage is exact.
    #[error(transparent)]
    Conflict(Box<Conflict>),
    /// The file of a run can't be understood.
    #[error("`{}` does not tell what a run did: {why}", path.display())]
    Run {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// A reproducibility conflict: two computations of one fingerprint differ, though the stage is exact.
#[derive(Debug, Error)]
#[error(
    "reproducibility conflict: output `{output}` of fingerprint {fingerprint} was {there} when `{stage}` was executed \
     on {host}, and is {now} now"
)]
pub struct Conflict {
    /// The fingerprint that both share.
    pub fingerprint: String,
    /// The output that differs.
    pub output: String,
    /// Its content digest in the record that is there.
    pub there: Digest,
    /// The content digest just computed.
    pub now: Digest,
    /// The stage that made the record.
    pub stage: String,
    /// The machine that made the record.
    pub host: String,
}

impl CacheError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// A cache in a folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    /// Where this process stages what it writes, once it writes.
    writer: Arc<Mutex<Option<Arc<Writer>>>>,
    /// What this process has made and not yet published.
    pending: Arc<Pending>,
}

impl Cache {
    /// Opens the cache in the folder `root`, which is made if it isn't there.
    ///
    /// # Errors
    /// When the folder can't be made or read, holds something else, or was written by a newer version.
    pub fn open(root: &Path) -> Result<Self, CacheError> {
        let cache = Self { root: root.to_owned(), writer: Arc::default(), pending: Arc::default() };
        let format = root.join("format");
        match fs::read_to_string(&format) {
            Ok(text) => match text.trim().parse() {
                Ok(FORMAT) => Ok(cache),
                Ok(found) => Err(CacheError::Newer { path: root.to_owned(), found }),
                Err(_) => Err(CacheError::NotACache(root.to_owned())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                cache.found()?;
                Ok(cache)
            }
            Err(error) => Err(CacheError::io("read", &format)(error)),
        }
    }

    /// Opens the cache in the folder `root` if there is one, and never writes.
    ///
    /// # Errors
    /// When it can't be read, or was written by a newer version.
    pub fn open_existing(root: &Path) -> Result<Option<Self>, CacheError> {
        if root.join("format").exists() { Self::open(root).map(Some) } else { Ok(None) }
    }

    /// The cache's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Lays out a new cache. The format is written last: only then is it one.
    fn found(&self) -> Result<(), CacheError> {
        create_folder(&self.root)?;
        let ours = [
            "CACHEDIR.TAG",
            "blobs",
            "trees",
            "records",
            "leases",
            "runs",
            "tmp",
            "quarantine",
            ".gitignore",
        ];
        let entries = fs::read_dir(&self.root).map_err(CacheError::io("list", &self.root))?;
        for entry in entries {
            let entry = entry.map_err(CacheError::io("list", &self.root))?;
            if !ours.iter().any(|name| entry.file_name() == *name) && entry.file_name() != "format"
            {
                return Err(CacheError::NotACache(self.root.clone()));
            }
        }
        for folder in ["blobs", "trees", "records", "leases", "runs", "tmp", "quarantine"] {
            create_folder(&self.root.join(folder))?;
        }
        let tag = "Signature: 8a477f597d28d172789f06886806bc55\n\
                   # This folder is a cache of pipe. See https://bford.info/cachedir/\n";
        let staging = Staging::new(self)?;
        for (name, text) in [("CACHEDIR.TAG", tag.to_owned()), ("format", format!("{FORMAT}\n"))] {
            staging.replace(&self.root.join(name), text.as_bytes())?;
        }
        Ok(())
    }

    /// The path at which `kind` keeps the thing called `hex`.
    fn bucket(&self, kind: &str, hex: &str, suffix: &str) -> PathBuf {
        self.root.join(kind).join(&hex[..2]).join(format!("{}{suffix}", &hex[2..]))
    }

    /// Removes a file that may be gone already.
    fn remove(path: &Path) -> Result<(), CacheError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(CacheError::io("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Moves what was found broken out of the way, so that it is looked at but never used.
    fn quarantine(&self, path: &Path) -> Result<(), CacheError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let folder = self.root.join("quarantine");
        create_folder(&folder)?;
        let stamp = jiff::Timestamp::now().as_nanosecond();
        let target = folder.join(format!("{name}.{stamp}"));
        match fs::rename(path, &target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(CacheError::io("quarantine", path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn create_folder(path: &Path) -> Result<(), CacheError> {
    fs::create_dir_all(path).map_err(CacheError::io("make the folder", path))
}

/// Makes the entries of a folder durable.
fn sync_folder(path: &Path) -> Result<(), CacheError> {
    let folder = File::open(path).map_err(CacheError::io("open", path))?;
    match folder.sync_all() {
        // Some network file systems can't sync a folder, and do without.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other.map_err(CacheError::io("sync", path)),
    }
}

/// Writes `bytes` to the new file `path`, and syncs it.
fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
    let mut file = File::create_new(path).map_err(CacheError::io("create", path))?;
    file.write_all(bytes).map_err(CacheError::io("write", path))?;
    file.sync_all().map_err(CacheError::io("sync", path))
}
