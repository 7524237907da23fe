//! Files and folders of the user's, hashed by content.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, Metadata},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rayon::prelude::*;
use rustix::fs::OFlags;
use walkdir::{DirEntry, DirEntryExt as _, WalkDir};

use super::{
    ignored::Ignored,
    input_error::{InputFileError, MOST_LINKS},
    workspace::{Scope, Workspace},
};
use crate::{
    base::{
        digest::Digest,
        hash::hash,
        interrupt::{Interrupt, Interrupted},
        shown_path::{escaped, special},
        tree::{ArtifactPath, Entry, Listing, Tree},
    },
    cache::{FEW, Signature, StatCache},
};

/// Whether files that the memo doesn't know may be read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reading<'a> {
    /// They are read and hashed, until someone asks to stop. What was seen before is looked at again: time may have passed.
    Yes(&'a Interrupt),
    /// The same, for who looks at everything at one time: what was seen before is as it was.
    Once(&'a Interrupt),
    /// They are told as [`InputFileError::Unknown`], and nothing is looked at twice.
    No,
}

/// How much of the user's files counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Detail {
    /// Their names and their bytes: it is nothing to a reader of data whether a file system lets them be run.
    Content,
    /// Also which of them may be run, and which folders are empty: what a command may ask for.
    All,
}

/// A file or folder of the user's as it was when it was hashed.
#[derive(Debug, Clone)]
pub(crate) struct InputFile {
    pub(crate) path: PathBuf,
    pub(crate) tree: Tree,
    seen: Vec<(PathBuf, Signature)>,
}

impl InputFile {
    /// Hashes what `memo` doesn't know of the file at `path`, or of what is in `scope` of the folder there. Links are
    /// followed.
    pub(super) fn look_at(
        path: &Path,
        scope: &Scope,
        detail: Detail,
        memo: &StatCache,
        reading: Reading<'_>,
    ) -> Result<Self, InputFileError> {
        let meta = look(path)?;
        let mut itself = None;
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        if meta.is_file() && scope.pattern.is_none() {
            files.push((path.to_owned(), ArtifactPath::ITSELF.to_owned()));
            itself = Some(meta);
        } else if meta.is_dir() {
            (files, folders) = list(path, scope)?;
        } else {
            return Err(InputFileError::Special {
                path: path.to_owned(),
                what: special(meta.file_type()),
            });
        }
        let entry = |(file, name): &(PathBuf, String)| {
            let path = named(name, file)?;
            let meta = itself.clone().map_or_else(|| look(file), Ok)?;
            let (blob, seen, runs) = digest(file, &meta, memo, reading)?;
            let executable = runs && detail == Detail::All;
            Ok((Entry { path, blob, size: seen.size(), executable }, seen))
        };
        let reads = !matches!(reading, Reading::No);
        let hashed: Vec<(Entry, Signature)> = if reads && files.len() > FEW {
            files.par_iter().map(entry).collect::<Result<_, InputFileError>>()?
        } else {
            files.iter().map(entry).collect::<Result<_, InputFileError>>()?
        };
        let seen =
            files.into_iter().zip(&hashed).map(|((file, _), (_, seen))| (file, *seen)).collect();
        let mut listing = Listing::default();
        listing.files.extend(hashed.into_iter().map(|(entry, _)| entry));
        if detail == Detail::All && scope.pattern.is_none() {
            for (folder, name) in &folders {
                listing.folders.push(named(name, folder)?);
            }
        }
        Ok(Self { path: path.to_owned(), tree: Tree::of(listing)?, seen })
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
            let tree = Tree::only(entry);
            (entry.path.clone(), Self { path, tree, seen: seen.into_iter().collect() })
        };
        self.tree.files().iter().map(one).collect()
    }

    /// Checks that nothing was written to since it was hashed.
    pub(crate) fn check_unchanged(&self) -> Result<(), InputFileError> {
        for (file, signature) in &self.seen {
            if fs::metadata(file).map_or(true, |meta| Signature::of(&meta) != *signature) {
                return Err(InputFileError::Changed(file.clone()));
            }
        }
        Ok(())
    }
}

fn named(name: &str, path: &Path) -> Result<ArtifactPath, InputFileError> {
    ArtifactPath::new(name).map_err(|source| InputFileError::Name { path: path.to_owned(), source })
}

/// What is at `path`, links followed.
fn look(path: &Path) -> Result<Metadata, InputFileError> {
    fs::metadata(path).map_err(|source| match fs::read_link(path) {
        Ok(target) if source.kind() == io::ErrorKind::NotFound => {
            InputFileError::Dangling { path: path.to_owned(), target }
        }
        _ => InputFileError::Read { path: path.to_owned(), source },
    })
}

/// The digest of a file, what the file was when it had it, and whether its owner may run it.
fn digest(
    path: &Path,
    meta: &Metadata,
    memo: &StatCache,
    reading: Reading<'_>,
) -> Result<(Digest, Signature, bool), InputFileError> {
    const RUN: u32 = 0o100;
    let failed = |source| InputFileError::Read { path: path.to_owned(), source };
    let changed = || InputFileError::Changed(path.to_owned());
    let (seen, runs) = (Signature::of(meta), meta.mode() & RUN != 0);
    if let Some(digest) = memo.digest(&seen) {
        return Ok((digest, seen, runs));
    }
    let (Reading::Yes(interrupt) | Reading::Once(interrupt)) = reading else {
        return Err(InputFileError::Unknown(path.to_owned()));
    };
    interrupt.check()?;
    let moment = SystemTime::now();
    // Whatever has taken the file's place since it was looked at, opening and reading it doesn't wait.
    let nonblocking = OFlags::NONBLOCK.bits() as i32;
    let file = fs::File::options().read(true).custom_flags(nonblocking).open(path);
    let file = file.map_err(failed)?;
    let opened = file.metadata().map_err(failed)?;
    if !opened.is_file() {
        let what = special(opened.file_type());
        return Err(InputFileError::Special { path: path.to_owned(), what });
    }
    if Signature::of(&opened) != seen {
        return Err(changed());
    }
    let made_up = || InputFileError::MadeUp { path: path.to_owned(), size: seen.size() };
    let stop = || interrupt.is_requested();
    let hashed = hash(&file, seen.size(), &stop).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => made_up(),
        _ => failed(error),
    })?;
    let (digest, size) = hashed.ok_or(Interrupted)?;
    if Signature::of(&look(path)?) != seen {
        return Err(changed());
    }
    if size != seen.size() {
        return Err(made_up());
    }
    memo.learn(seen, digest, moment);
    Ok((digest, seen, runs))
}

/// Where something is, and its path within a folder.
type Listed = (PathBuf, String);

/// The files of the folder `base` that are in `scope`, and the folders in it.
pub(crate) fn list(
    base: &Path,
    scope: &Scope,
) -> Result<(Vec<Listed>, Vec<Listed>), InputFileError> {
    let (workspace, pattern) = (scope.workspace.as_deref(), scope.pattern.as_deref());
    let own = workspace.map(Workspace::own).unwrap_or_default();
    let is_own = |entry: &DirEntry| {
        // The number of its device costs a look, and most have another inode.
        own.iter().any(|(_, inode)| *inode == entry.ino())
            && entry.metadata().is_ok_and(|meta| own.contains(&(meta.dev(), meta.ino())))
    };
    let mut ignored = Ignored::at(base, workspace.map(|workspace| workspace.root.as_path()))?;
    let (mut files, mut folders, mut links) = (Vec::new(), Vec::new(), 0);
    let depth = pattern.and_then(|pattern| pattern.depth).unwrap_or(usize::MAX);
    let walk = WalkDir::new(base).min_depth(1).max_depth(depth).follow_links(true);
    let mut walk = walk.sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            // What is left out may be a link to nothing, as an editor's lock is.
            Err(error) if error.path().is_some_and(|path| ignored.leaves_out(path, false)) => {
                continue;
            }
            Err(error) => return Err(unlisted(base, error)),
        };
        let (path, kind) = (entry.path(), entry.file_type());
        if ignored.leaves_out(path, kind.is_dir()) || kind.is_dir() && is_own(&entry) {
            if kind.is_dir() {
                walk.skip_current_dir();
            }
            continue;
        }
        let within = path.strip_prefix(base).unwrap_or(path);
        if !kind.is_dir() && pattern.is_some_and(|pattern| !pattern.fits(within)) {
            continue;
        }
        if !kind.is_dir() && !kind.is_file() {
            return Err(InputFileError::Special { path: path.to_owned(), what: special(kind) });
        }
        let name = within.to_str().ok_or_else(|| InputFileError::NotUnicode(path.to_owned()))?;
        let listed = (path.to_owned(), name.to_owned());
        if kind.is_file() {
            files.push(listed);
            continue;
        }
        if entry.path_is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(InputFileError::Links(base.to_owned()));
            }
        }
        ignored.enter(path)?;
        folders.push(listed);
    }
    match pattern {
        Some(pattern) if files.is_empty() => Err(InputFileError::NoMatch {
            written: pattern.written.clone(),
            folder: base.to_owned(),
            holds: holds(base),
        }),
        _ => Ok((files, folders)),
    }
}

/// The first names in a folder.
fn holds(folder: &Path) -> String {
    const MOST: usize = 8;
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        names.map(|entry| escaped(Path::new(&entry.file_name()))).collect();
    names.sort_unstable();
    let more = if names.len() > MOST { ", …" } else { "" };
    names.truncate(MOST);
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    if quoted.is_empty() { "nothing".to_owned() } else { quoted.join(", ") + more }
}

/// Why an entry of the folder `base` can't be listed.
fn unlisted(base: &Path, error: walkdir::Error) -> InputFileError {
    let path = error.path().unwrap_or(base).to_owned();
    if let Some(above) = error.loop_ancestor() {
        return InputFileError::Circle { path, above: above.to_owned() };
    }
    match fs::read_link(&path) {
        Ok(target)
            if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) =>
        {
            InputFileError::Dangling { path, target }
        }
        _ => InputFileError::Read { path, source: error.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Result<InputFile, InputFileError> {
        InputFile::look_at(
            path,
            &Scope::default(),
            Detail::Content,
            &StatCache::none(),
            Reading::Yes(&Interrupt::new()),
        )
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
        assert!(matches!(source.check_unchanged(), Err(InputFileError::Changed(_))));
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
        assert!(matches!(read(folder.path()), Err(InputFileError::Circle { .. })));
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
        let memo = StatCache::none();
        let interrupt = Interrupt::new();
        let look = |reading| {
            InputFile::look_at(&file, &Scope::default(), Detail::Content, &memo, reading)
                .map(|source| source.tree.digest())
        };
        assert!(matches!(look(Reading::No), Err(InputFileError::Unknown(_))));
        let before = look(Reading::Yes(&interrupt)).unwrap();
        // It is remembered: nothing is read any more.
        assert_eq!(look(Reading::No).unwrap(), before);
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "two").unwrap();
        fs::File::options().append(true).open(&file).unwrap().set_modified(modified).unwrap();
        assert!(matches!(look(Reading::No), Err(InputFileError::Unknown(_))));
        assert_ne!(look(Reading::Yes(&interrupt)).unwrap(), before);
        // The same bytes in another file have another inode.
        let other = folder.path().join("b");
        fs::copy(&file, &other).unwrap();
        fs::rename(&other, &file).unwrap();
        assert!(matches!(look(Reading::No), Err(InputFileError::Unknown(_))));
    }

    #[test]
    fn what_was_just_written_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "one").unwrap();
        let memo = StatCache::none();
        InputFile::look_at(
            &file,
            &Scope::default(),
            Detail::Content,
            &memo,
            Reading::Yes(&Interrupt::new()),
        )
        .unwrap();
        let again =
            InputFile::look_at(&file, &Scope::default(), Detail::Content, &memo, Reading::No);
        assert!(matches!(again, Err(InputFileError::Unknown(_))));
    }
}
