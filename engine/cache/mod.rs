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
//! `docs/cache-format.md` describes every file.
//!
//! Whatever is published is complete: it was written under `tmp`, synced, and renamed into place, blobs and trees
//! before the record that names them.

mod advice;
mod anchor;
mod blob;
#[cfg(test)]
mod format_tests;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gate;
pub mod gc;
mod heart;
mod lease;
mod live;
mod losses;
mod memo;
mod memory;
pub(crate) mod own_folder;
mod owner;
mod pending;
mod placement;
mod prepared;
mod publisher;
mod reach;
mod record;
mod roots;
mod run;
mod sight;
pub mod size;
mod staging;
mod under_way;
mod verified;
pub mod verify;
pub(crate) mod wait;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, Weak},
};

use rustix::fd::OwnedFd;
use thiserror::Error;

#[cfg(test)]
pub(crate) use self::publisher::publish;
pub use self::{
    advice::advice,
    blob::Flaw,
    gate::Hold,
    lease::{Lease, LeaseError},
    record::{Part, Provenance, Publication, Recipe, Record},
    run::{RunEntry, RunFailure, RunFile, Runs, StageRun},
    under_way::{StageUnderWay, UnderWay},
};
pub(crate) use self::{
    advice::{is_broken_disk, is_of_the_system},
    live::LiveRun,
    memo::{Memo, Signature},
    prepared::{Bundle, FEW},
    publisher::Publisher,
    record::fingerprint,
    staging::{Staged, StagedPlaces, StagedWriter, Staging, hash_file},
};
use self::{
    lease::Watch, live::LiveRunInner, memory::Memory, pending::Pending, staging::Writer,
    verified::Verified,
};
use crate::base::{digest::Digest, disk, regular};

/// The version of the cache's layout that this program reads and writes.
pub const FORMAT: u32 = 1;
/// More than this, in bytes, is no format.
const LARGEST_FORMAT: u64 = 64;

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
    /// A link, or something else, stands in the place of a folder.
    #[error("`{}` is not a folder of the cache but a link or a file: nothing is done there", .0.display())]
    NotAFolder(PathBuf),
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
    /// What should be there is broken or gone; it is not used.
    #[error("the cache is damaged: {0}")]
    Damaged(Flaw),
}

/// A reproducibility conflict: two computations of one fingerprint differ, though the stage is exact.
#[derive(Debug, Clone, Error)]
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
    /// Whether what others compute is computed here, too.
    ignores_leases: bool,
    /// Where this process stages what it writes, once it writes.
    writer: Arc<Mutex<Option<Arc<Writer>>>>,
    /// What this process has made and not yet published.
    pending: Arc<Pending>,
    shared: Arc<Shared>,
}

/// What all handles of one opened cache share.
#[derive(Debug)]
struct Shared {
    memory: Arc<Memory>,
    verified: Verified,
    /// The leases of other machines that are waited for.
    watches: Mutex<BTreeMap<PathBuf, Watch>>,
    /// Who may do what with the folder of blobs.
    mode: OnceLock<u32>,
    /// The cache's folder, opened when it is first needed.
    root: OnceLock<OwnedFd>,
    /// Whether the file system shows at once what other machines make.
    shows_at_once: OnceLock<bool>,
    /// The run under way.
    live: Mutex<Weak<LiveRunInner>>,
}

impl Cache {
    /// Opens the cache in the folder `root`, which is made if it isn't there. Nothing is remembered of it when it is closed.
    ///
    /// # Errors
    /// When the folder can't be made or read, holds something else, or was written by a newer version.
    pub fn open(root: &Path) -> Result<Self, CacheError> {
        Self::open_remembered(root, None)
    }

    /// Opens the cache in the folder `root`, which is made if it isn't there. What was hashed and found is remembered in
    /// the folder `memory`, which is made when there is something to remember. What stands there is believed: a folder
    /// into which others may write isn't used.
    ///
    /// # Errors
    /// When the folder can't be made or read, holds something else, or was written by a newer version.
    pub fn open_remembered(root: &Path, memory: Option<&Path>) -> Result<Self, CacheError> {
        let memory = Arc::new(Memory::new(memory, root));
        let shared = Shared {
            verified: Verified::new(Arc::clone(&memory)),
            memory,
            watches: Mutex::default(),
            mode: OnceLock::new(),
            root: OnceLock::new(),
            shows_at_once: OnceLock::new(),
            live: Mutex::default(),
        };
        let cache = Self {
            root: root.to_owned(),
            ignores_leases: false,
            writer: Arc::default(),
            pending: Arc::default(),
            shared: Arc::new(shared),
        };
        let format = root.join("format");
        let read = regular::read(&format, LARGEST_FORMAT);
        match read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) {
            Ok(text) => match text.trim().parse() {
                Ok(FORMAT) => cache.check_folders().map(|()| cache),
                Ok(found) => Err(CacheError::Newer { path: root.to_owned(), found }),
                Err(_) => Err(CacheError::NotACache(root.to_owned())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                cache.found()?;
                Ok(cache)
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(CacheError::NotACache(root.to_owned()))
            }
            Err(error) => Err(CacheError::io("read", &format)(error)),
        }
    }

    /// As [`open_remembered`](Self::open_remembered) if there is a cache in the folder `root`, which isn't written to.
    ///
    /// # Errors
    /// When it can't be read, or was written by a newer version.
    pub fn open_existing(root: &Path, memory: Option<&Path>) -> Result<Option<Self>, CacheError> {
        let is_there = root.join("format").exists();
        is_there.then(|| Self::open_remembered(root, memory)).transpose()
    }

    /// The same cache for whoever doesn't wait for what other processes compute, but computes it, too. That does no harm: the
    /// first result stands.
    #[must_use]
    pub fn ignoring_leases(self) -> Self {
        Self { ignores_leases: true, ..self }
    }

    /// The cache's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Checks that the folders of the cache are folders, and not links to somebody else's.
    fn check_folders(&self) -> Result<(), CacheError> {
        for folder in FOLDERS {
            let path = self.root.join(folder);
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if !meta.is_dir() {
                return Err(CacheError::NotAFolder(path));
            }
        }
        Ok(())
    }

    /// Lays out a new cache. The format is written last: only then is it one.
    fn found(&self) -> Result<(), CacheError> {
        fs::create_dir_all(&self.root).map_err(CacheError::io("make the folder", &self.root))?;
        let entries = fs::read_dir(&self.root).map_err(CacheError::io("list", &self.root))?;
        for entry in entries {
            let name = entry.map_err(CacheError::io("list", &self.root))?.file_name();
            let ours =
                FOLDERS.iter().chain(&["CACHEDIR.TAG", "format", ".gitignore"]).chain(&FORMER);
            if !ours.into_iter().any(|known| name == *known) {
                return Err(CacheError::NotACache(self.root.clone()));
            }
        }
        self.check_folders()?;
        for folder in FOLDERS {
            let path = self.root.join(folder);
            if !reach::is_folder(&path)
                && let Err(error) = disk::create_new_folder(&path)
                // Another process may lay it out as well.
                && !reach::is_folder(&path)
            {
                return Err(CacheError::io("make the folder", &path)(error));
            }
        }
        let tag = "Signature: 8a477f597d28d172789f06886806bc55\n\
                   # This folder is a cache of pipe. See https://bford.info/cachedir/\n";
        let staging = Staging::new(self)?;
        for (name, text) in [("CACHEDIR.TAG", tag.to_owned()), ("format", format!("{FORMAT}\n"))] {
            staging.replace(&self.root.join(name), text.as_bytes())?;
        }
        Ok(())
    }

    /// The path, seen from the cache's folder, at which `kind` keeps what has the name `bytes`.
    fn bucket(kind: &str, bytes: &[u8; 32], suffix: &str) -> String {
        let hex = blake3::Hash::from_bytes(*bytes).to_hex();
        let (folder, file) = hex.split_at(2);
        let mut path = String::with_capacity(kind.len() + hex.len() + suffix.len() + 2);
        for part in [kind, "/", folder, "/", file, suffix] {
            path.push_str(part);
        }
        path
    }

    /// Removes a file that may be gone already.
    fn remove(&self, path: &Path) -> Result<(), CacheError> {
        let Some(place) = self.anchored(path)? else { return Ok(()) };
        place.remove().map_err(|error| CacheError::io("remove", path)(error.into()))
    }

    /// What of the permissions `mode` a published file has: who may enter the folder of blobs may read what is
    /// published, and who may write there may touch it, whatever the umask of who publishes.
    fn mode(&self, mode: u32) -> u32 {
        let folder = || fs::metadata(self.root.join("blobs")).map_or(0o755, |meta| meta.mode());
        mode & *self.shared.mode.get_or_init(folder) | mode & 0o400
    }

    /// Moves what was found broken out of the way, so that it is looked at but never used.
    fn quarantine(&self, path: &Path) -> Result<(), CacheError> {
        let Some(place) = self.anchored(path)? else { return Ok(()) };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let folder = self.root.join("quarantine");
        create_folder(&folder)?;
        let stamp = jiff::Timestamp::now().as_nanosecond();
        let target = folder.join(format!("{name}.{stamp}"));
        let Some(aside) = self.anchored(&target)? else { return Ok(()) };
        let name = target.file_name().unwrap_or_default();
        disk::step(&target)
            .and_then(|()| place.move_to(&aside, name).map_err(io::Error::from))
            .map_err(CacheError::io("quarantine", path))
    }
}

/// The folders of a cache.
const FOLDERS: [&str; 7] = ["blobs", "trees", "records", "leases", "runs", "tmp", "quarantine"];
/// Folders in which earlier versions kept what is now [remembered](memory) elsewhere. Nothing is read there.
const FORMER: [&str; 2] = ["memos", "verified"];

/// Makes a folder of the cache.
fn create_folder(path: &Path) -> Result<(), CacheError> {
    disk::create_folder(path).map_err(CacheError::io("make the folder", path))
}

/// Makes the entries of a folder durable.
fn sync_folder(path: &Path) -> Result<(), CacheError> {
    disk::sync_path(path).map_err(CacheError::io("sync", path))
}
