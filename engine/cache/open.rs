//! How a cache is opened, and laid out where there is none.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};

use super::{
    cache::{Cache, Shared},
    contents,
    error::CacheError,
    format::{FOLDERS, FORMAT, FORMER, LARGEST_FORMAT},
    memory::Memory,
    staging::Staging,
    verified::Verified,
};
use crate::base::{disk, regular};

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
            overlay: Arc::default(),
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
            if !contents::is_folder(&path)
                && let Err(error) = disk::create_new_folder(&path)
                // Another process may lay it out as well.
                && !contents::is_folder(&path)
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
}
