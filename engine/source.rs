//! Files and folders of the user's, hashed by content.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rayon::prelude::*;
use thiserror::Error;
use walkdir::WalkDir;

use crate::{
    cache::{CacheError, FEW, Memo, Signature, hash_file},
    digest::Digest,
    tree::{ArtifactPath, BadPath, Entry, Tree, TreeError},
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
    #[error("`{}` changed while it was read; run again when it is complete", .0.display())]
    Changed(PathBuf),
    /// It would have to be read.
    #[error("`{}` has not been hashed", .0.display())]
    Unknown(PathBuf),
    /// It can't be hashed.
    #[error(transparent)]
    Hash(#[from] CacheError),
}

/// Whether files that the memo doesn't know may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// They are read and hashed.
    Yes,
    /// They are told as [`SourceError::Unknown`].
    No,
}

/// A file or folder of the user's as it was when it was hashed.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) tree: Tree,
    seen: Vec<(PathBuf, Signature)>,
}

impl Source {
    /// Hashes what `memo` doesn't know of the file or folder at `path`. Links are followed.
    pub(crate) fn read(path: &Path, memo: &Memo, reading: Reading) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Read { path: path.to_owned(), source };
        let meta = fs::metadata(path).map_err(failed)?;
        let (files, folder) = if meta.is_file() {
            (vec![(path.to_owned(), ArtifactPath::ITSELF.to_owned())], false)
        } else if meta.is_dir() {
            (list(path)?, true)
        } else {
            return Err(SourceError::Special(path.to_owned()));
        };
        let entry = |(file, name): &(PathBuf, String)| {
            let path = ArtifactPath::new(name.clone())
                .map_err(|source| SourceError::Name { path: file.clone(), source })?;
            let (blob, seen) = digest(file, memo, reading)?;
            Ok((Entry::plain(path, blob, seen.size()), seen))
        };
        let hashed: Vec<(Entry, Signature)> = if reading == Reading::Yes && files.len() > FEW {
            files.par_iter().map(entry).collect::<Result<_, SourceError>>()?
        } else {
            files.iter().map(entry).collect::<Result<_, SourceError>>()?
        };
        let seen =
            files.into_iter().zip(&hashed).map(|((file, _), (_, seen))| (file, *seen)).collect();
        let entries: Vec<Entry> = hashed.into_iter().map(|(entry, _)| entry).collect();
        let tree = match (&entries[..], folder) {
            ([only], false) => Tree::single(only.blob, only.size),
            _ => Tree::new(entries)?,
        };
        Ok(Self { path: path.to_owned(), tree, seen })
    }

    /// What each of the files was when it was hashed, by where it is.
    pub(crate) fn seen(&self) -> HashMap<&Path, Signature> {
        self.seen.iter().map(|(path, signature)| (path.as_path(), *signature)).collect()
    }

    /// Each of the files by itself.
    pub(crate) fn split(&self) -> BTreeMap<ArtifactPath, Self> {
        let seen = self.seen();
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

/// The digest of a file, and what the file was when it had it.
fn digest(file: &Path, memo: &Memo, reading: Reading) -> Result<(Digest, Signature), SourceError> {
    let look = || {
        let meta = fs::metadata(file);
        meta.map_err(|source| SourceError::Read { path: file.to_owned(), source })
    };
    let seen = Signature::of(&look()?);
    if let Some(digest) = memo.digest(&seen) {
        return Ok((digest, seen));
    }
    if reading == Reading::No {
        return Err(SourceError::Unknown(file.to_owned()));
    }
    let moment = SystemTime::now();
    let (digest, size) = hash_file(file)?;
    if size != seen.size() || Signature::of(&look()?) != seen {
        return Err(SourceError::Changed(file.to_owned()));
    }
    memo.learn(seen, digest, moment);
    Ok((digest, seen))
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

    fn read(path: &Path) -> Result<Source, SourceError> {
        Source::read(path, &Memo::none(), Reading::Yes)
    }

    #[test]
    fn a_folder_is_named_by_what_it_holds_not_by_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            let base = folder.path().join(name);
            fs::create_dir_all(base.join("sub")).unwrap();
            fs::write(base.join("sub/a"), "1").unwrap();
            fs::write(base.join("b"), "2").unwrap();
        }
        let digest = |name: &str| read(&folder.path().join(name)).unwrap().tree.digest();
        assert_eq!(digest("one"), digest("two"));
        fs::write(folder.path().join("two/b"), "3").unwrap();
        assert_ne!(digest("one"), digest("two"));
    }

    #[test]
    fn a_write_after_hashing_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "1").unwrap();
        let source = read(&file).unwrap();
        assert!(source.check_unchanged().is_ok());
        fs::write(&file, "22").unwrap();
        assert!(matches!(source.check_unchanged(), Err(SourceError::Changed(_))));
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
        assert!(matches!(read(folder.path()), Err(SourceError::Read { .. })));
    }

    /// Makes what was written look old enough to be remembered.
    fn grow_old(path: &Path) {
        let old = SystemTime::now() - std::time::Duration::from_mins(1);
        fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
        // The time of change can't be set.
        std::thread::sleep(std::time::Duration::from_millis(2100));
    }

    #[test]
    fn an_edit_of_the_same_size_with_its_time_put_back_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "one").unwrap();
        grow_old(&file);
        let memo = Memo::none();
        let look = |reading| Source::read(&file, &memo, reading).map(|source| source.tree.digest());
        assert!(matches!(look(Reading::No), Err(SourceError::Unknown(_))));
        let before = look(Reading::Yes).unwrap();
        // It is remembered: nothing is read any more.
        assert_eq!(look(Reading::No).unwrap(), before);
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "two").unwrap();
        fs::File::options().append(true).open(&file).unwrap().set_modified(modified).unwrap();
        assert!(matches!(look(Reading::No), Err(SourceError::Unknown(_))));
        assert_ne!(look(Reading::Yes).unwrap(), before);
        // The same bytes in another file have another inode.
        let other = folder.path().join("b");
        fs::copy(&file, &other).unwrap();
        fs::rename(&other, &file).unwrap();
        assert!(matches!(look(Reading::No), Err(SourceError::Unknown(_))));
    }

    #[test]
    fn what_was_just_written_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "one").unwrap();
        let memo = Memo::none();
        Source::read(&file, &memo, Reading::Yes).unwrap();
        let again = Source::read(&file, &memo, Reading::No);
        assert!(matches!(again, Err(SourceError::Unknown(_))));
    }
}
