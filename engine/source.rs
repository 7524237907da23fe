//! Files and folders of the user's, hashed by content.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rayon::prelude::*;
use thiserror::Error;
use walkdir::WalkDir;

use crate::{
    artifact::{ArtifactPath, BadPath, Entry, Tree, TreeError},
    cache::{CacheError, hash_file},
};

/// What goes wrong with a file or folder of the user's.
#[derive(Debug, Error)]
pub(crate) enum SourceError {
    /// It isn't there, or can't be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is neither a file nor a folder.
    #[error("`{}` is neither a file nor a folder", .0.display())]
    Special(PathBuf),
    /// It has a name that an artifact can't have.
    #[error("`{}` has a name that an artifact can't have", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// What is wrong with the name.
        source: BadPath,
    },
    /// Its name isn't Unicode.
    #[error("`{}` has a name that is not Unicode", .0.display())]
    NotUnicode(PathBuf),
    /// Its files can't stand together.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// It was written to while a stage read it.
    #[error("`{}` changed while the stage was reading it; run again when it is complete", .0.display())]
    Changed(PathBuf),
    /// It can't be hashed.
    #[error(transparent)]
    Hash(#[from] CacheError),
}

/// A file or folder of the user's as it was when it was hashed.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) tree: Tree,
    seen: Vec<(PathBuf, Signature)>,
}

/// What tells, without reading it, that a file was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Signature {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl Source {
    /// Hashes the file or folder at `path`. Links are followed.
    pub(crate) fn read(path: &Path) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Read { path: path.to_owned(), source };
        let meta = fs::metadata(path).map_err(failed)?;
        let (files, folder) = if meta.is_file() {
            (vec![(path.to_owned(), ArtifactPath::ITSELF.to_owned())], false)
        } else if meta.is_dir() {
            (list(path)?, true)
        } else {
            return Err(SourceError::Special(path.to_owned()));
        };
        let hashed: Vec<(Entry, Signature)> = files
            .par_iter()
            .map(|(file, name)| {
                let failed = |source| SourceError::Read { path: file.clone(), source };
                let meta = fs::metadata(file).map_err(failed)?;
                let path = ArtifactPath::new(name.clone())
                    .map_err(|source| SourceError::Name { path: file.clone(), source })?;
                let (blob, size) = hash_file(file)?;
                Ok((Entry { path, blob, size }, Signature::of(&meta)))
            })
            .collect::<Result<_, SourceError>>()?;
        let seen =
            files.into_iter().zip(&hashed).map(|((file, _), (_, seen))| (file, *seen)).collect();
        let entries: Vec<Entry> = hashed.into_iter().map(|(entry, _)| entry).collect();
        let tree = match (&entries[..], folder) {
            ([only], false) => Tree::single(only.blob, only.size),
            _ => Tree::new(entries)?,
        };
        Ok(Self { path: path.to_owned(), tree, seen })
    }

    /// Each of the files by itself.
    pub(crate) fn split(&self) -> BTreeMap<ArtifactPath, Self> {
        let seen: HashMap<&Path, Signature> =
            self.seen.iter().map(|(path, signature)| (path.as_path(), *signature)).collect();
        let one = |entry: &Entry| {
            let path = entry.path.under(&self.path);
            let seen = seen.get(path.as_path()).map(|signature| (path.clone(), *signature));
            let tree = Tree::single(entry.blob, entry.size);
            (entry.path.clone(), Self { path, tree, seen: seen.into_iter().collect() })
        };
        self.tree.files().iter().map(one).collect()
    }

    /// Checks that nothing was written to since it was hashed.
    pub(crate) fn check_unchanged(&self) -> Result<(), SourceError> {
        for (file, signature) in &self.seen {
            if fs::metadata(file).map_or(true, |meta| Signature::of(&meta) != *signature) {
                return Err(SourceError::Changed(file.clone()));
            }
        }
        Ok(())
    }
}

/// The files of a folder: where each is, and its path within the folder.
fn list(folder: &Path) -> Result<Vec<(PathBuf, String)>, SourceError> {
    let mut files = Vec::new();
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        let entry = entry.map_err(|error| SourceError::Read {
            path: error.path().unwrap_or(folder).to_owned(),
            source: error.into(),
        })?;
        if entry.file_type().is_dir() {
            continue;
        }
        let path = entry.path();
        if !entry.file_type().is_file() {
            return Err(SourceError::Special(path.to_owned()));
        }
        let name = path.strip_prefix(folder).ok().and_then(Path::to_str);
        let name = name.ok_or_else(|| SourceError::NotUnicode(path.to_owned()))?;
        files.push((path.to_owned(), name.to_owned()));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_by_what_it_holds_not_by_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            let base = folder.path().join(name);
            fs::create_dir_all(base.join("sub")).unwrap();
            fs::write(base.join("sub/a"), "1").unwrap();
            fs::write(base.join("b"), "2").unwrap();
        }
        let digest = |name: &str| Source::read(&folder.path().join(name)).unwrap().tree.digest();
        assert_eq!(digest("one"), digest("two"));
        fs::write(folder.path().join("two/b"), "3").unwrap();
        assert_ne!(digest("one"), digest("two"));
    }

    #[test]
    fn a_write_after_hashing_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "1").unwrap();
        let source = Source::read(&file).unwrap();
        assert!(source.check_unchanged().is_ok());
        fs::write(&file, "22").unwrap();
        assert!(matches!(source.check_unchanged(), Err(SourceError::Changed(_))));
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
        assert!(matches!(Source::read(folder.path()), Err(SourceError::Read { .. })));
    }
}
