//! From what a command wrote to an artifact.
//!
//! What is moved into the cache was looked at without following a link, and only what is the command's own is changed: its
//! folders and files are made readable for us. A link that stays within the output is kept as a link; one that leads to an
//! input is that input's content, and one to a file that the command made elsewhere is that file's.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File, Metadata, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{
    lead::{Lead, Surroundings, real, relative},
    take_error::TakeError,
};
use crate::{
    artifact::artifact::Artifact,
    base::{
        digest::Digest,
        disk,
        hash::hash,
        interrupt::{Interrupt, Interrupted},
        link::Link,
        shown_path::special,
        tree::{ArtifactPath, Entry, Listing, Tree},
    },
    cache::{CacheError, FEW, Staged, Staging},
};
use rayon::prelude::*;
use rustix::fs::OFlags;

/// Takes what a command wrote.
pub(crate) struct Taking<'a> {
    /// The folder in which the command worked; there are no links in its path.
    pub(crate) sandbox: &'a Path,
    /// The command's inputs, by name.
    pub(crate) inputs: &'a BTreeMap<String, Artifact>,
    /// Where the command found each of them.
    pub(crate) places: &'a BTreeMap<String, PathBuf>,
    /// Whether nothing of the command is at work any more, so that its files may be moved.
    pub(crate) alone: bool,
    pub(crate) staging: &'a Staging,
    pub(crate) interrupt: &'a Interrupt,
}

/// A file that was found.
struct Found {
    path: ArtifactPath,
    from: PathBuf,
    executable: bool,
    /// Whether nothing else names it, and it may be moved.
    movable: bool,
    /// What it must be, if it is an input.
    input: Option<Digest>,
}

/// What was found of an output so far.
struct Search<'t, 'a> {
    taking: &'t Taking<'a>,
    output: &'t str,
    /// Where it stands, without links.
    base: PathBuf,
    /// Whether what stands there may be moved and made readable.
    own: bool,
    listing: Listing,
    files: Vec<Found>,
}

impl Taking<'_> {
    /// Stages what stands at `path`, where the output called `output` was to be made and `meta` tells what is: a file, a
    /// folder, or a link to something that may be kept. `inside` tells whether no link leads to the folder that it is in.
    pub(crate) fn take(
        &self,
        output: &str,
        path: &Path,
        meta: &Metadata,
        inside: bool,
    ) -> Result<(Tree, Vec<Staged>), TakeError> {
        let named = || PathBuf::from(output);
        if !inside {
            return Err(TakeError::Leaves { path: named(), target: real(path) });
        }
        let mut search = Search {
            taking: self,
            output,
            base: path.to_owned(),
            own: self.alone,
            listing: Listing::default(),
            files: Vec::new(),
        };
        if meta.is_symlink() {
            let target = fs::read_link(path)
                .map_err(|source| TakeError::Unreadable { path: named(), source })?;
            // Nothing is within a link.
            match self.lead(path, None) {
                Lead::Sandbox(made) | Lead::Within(made) => {
                    let meta = fs::symlink_metadata(&made)
                        .map_err(|source| TakeError::Unreadable { path: named(), source })?;
                    search.base = made;
                    search.own = false;
                    search.at(ArtifactPath::ITSELF, &meta)?;
                }
                Lead::Input(name, within) => {
                    search.input(&name, &within, ArtifactPath::ITSELF, &target)?;
                }
                Lead::User(entry, file) => search.user(ArtifactPath::itself(), &entry, file),
                Lead::Out => return Err(TakeError::Leaves { path: named(), target }),
                Lead::Nothing => return Err(TakeError::Dangling { path: named(), target }),
            }
        } else {
            search.at(ArtifactPath::ITSELF, meta)?;
        }
        search.finish()
    }

    fn lead(&self, link: &Path, base: Option<&Path>) -> Lead {
        let Self { sandbox, inputs, places, .. } = *self;
        Surroundings { sandbox, inputs, places }.lead(link, base)
    }
}

impl Search<'_, '_> {
    /// Where something stands, for messages.
    fn told(&self, name: &str) -> PathBuf {
        if name == ArtifactPath::ITSELF {
            PathBuf::from(self.output)
        } else {
            Path::new(self.output).join(name)
        }
    }

    fn path(&self, name: &str) -> Result<ArtifactPath, TakeError> {
        ArtifactPath::new(name).map_err(|source| TakeError::Name { path: self.told(name), source })
    }

    /// Finds what stands at `name`, and is as `meta` tells.
    fn at(&mut self, name: &str, meta: &Metadata) -> Result<(), TakeError> {
        let mut folders = Vec::new();
        self.one(name, meta, &mut folders)?;
        while let Some(folder) = folders.pop() {
            let at = self.path(&folder)?.under(&self.base);
            let unreadable = |source| TakeError::Unreadable { path: self.told(&folder), source };
            let mut found = Vec::new();
            for entry in fs::read_dir(&at).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    return Err(TakeError::NotUnicode(self.told(&folder).join(name)));
                };
                let name = if folder == ArtifactPath::ITSELF {
                    name.to_owned()
                } else {
                    format!("{folder}/{name}")
                };
                found.push((name, entry.metadata().map_err(unreadable)?));
            }
            if found.is_empty() && folder != ArtifactPath::ITSELF {
                self.listing.folders.push(self.path(&folder)?);
            }
            for (name, meta) in &found {
                self.one(name, meta, &mut folders)?;
            }
        }
        Ok(())
    }

    /// Takes note of one thing; a folder is added to `folders`.
    fn one(
        &mut self,
        name: &str,
        meta: &Metadata,
        folders: &mut Vec<String>,
    ) -> Result<(), TakeError> {
        const ENTER: u32 = 0o700;
        const READ: u32 = 0o400;
        const RUN: u32 = 0o100;
        let path = self.path(name)?;
        let from = path.under(&self.base);
        if meta.is_symlink() {
            return self.link(path, &from);
        }
        // What is ours alone may be made readable; a file with another name may be anybody's.
        let allow = |mode: u32| {
            if !self.own || meta.mode() & mode == mode || meta.is_file() && meta.nlink() > 1 {
                return Ok(());
            }
            fs::set_permissions(&from, Permissions::from_mode(meta.mode() & 0o777 | mode))
                .map_err(|source| TakeError::Unreadable { path: self.told(name), source })
        };
        if meta.is_dir() {
            allow(ENTER)?;
            folders.push(name.to_owned());
        } else if meta.is_file() {
            allow(READ)?;
            let (executable, movable) = (meta.mode() & RUN != 0, self.own && meta.nlink() == 1);
            self.files.push(Found { path, from, executable, movable, input: None });
        } else {
            let what = special(meta.file_type());
            return Err(TakeError::Special { path: self.told(name), what });
        }
        Ok(())
    }

    /// Takes note of the link at `from`.
    fn link(&mut self, path: ArtifactPath, from: &Path) -> Result<(), TakeError> {
        let name = path.to_string();
        let told = self.told(&name);
        let target = fs::read_link(from)
            .map_err(|source| TakeError::Unreadable { path: told.clone(), source })?;
        match self.taking.lead(from, Some(&self.base)) {
            Lead::Within(at) => {
                let kept = target
                    .to_str()
                    .map(|target| Link { path: path.clone(), target: target.to_owned() });
                let link = match kept {
                    Some(link) if link.check().is_ok() => link,
                    // The same, said in the way that links of artifacts have.
                    _ => {
                        let within = at.strip_prefix(&self.base).unwrap_or(Path::new(""));
                        let folder = Path::new(path.as_str()).parent().unwrap_or(Path::new(""));
                        let target = relative(folder, within)
                            .ok_or_else(|| TakeError::NotUnicode(told.join(within)))?;
                        Link { path, target }
                    }
                };
                self.listing.links.push(link);
            }
            Lead::Input(input, within) => self.input(&input, &within, &name, &target)?,
            Lead::User(entry, file) => self.user(path, &entry, file),
            Lead::Sandbox(made) if made.is_file() => {
                let executable = made.metadata().is_ok_and(|meta| meta.mode() & 0o100 != 0);
                let found = Found { path, from: made, executable, movable: false, input: None };
                self.files.push(found);
            }
            Lead::Sandbox(_) | Lead::Out => return Err(TakeError::Leaves { path: told, target }),
            Lead::Nothing => return Err(TakeError::Dangling { path: told, target }),
        }
        Ok(())
    }

    /// Takes note of what is at `within` of an input, as what stands at `name`.
    fn input(
        &mut self,
        input: &str,
        within: &Path,
        name: &str,
        target: &Path,
    ) -> Result<(), TakeError> {
        let artifact = &self.taking.inputs[input];
        let tree = artifact.tree();
        let nothing = || TakeError::Dangling { path: self.told(name), target: target.to_owned() };
        let within = within.to_str().ok_or_else(nothing)?;
        let whole = within.is_empty();
        let mut part = Listing::default();
        if let Some(entry) = tree.find(if whole { ArtifactPath::ITSELF } else { within }) {
            part.files.push(Entry { path: ArtifactPath::itself(), ..entry.clone() });
            return self.add(artifact, vec![(entry.path.clone(), part)], name);
        }
        if !tree.has_folder(within) {
            return Err(nothing());
        }
        let inner = |path: &ArtifactPath| {
            let path = path.as_str();
            let rest =
                if whole { Some(path) } else { path.strip_prefix(within)?.strip_prefix('/') };
            ArtifactPath::new(rest?).ok()
        };
        let mut parts = Vec::new();
        for entry in tree.files() {
            if let Some(path) = inner(&entry.path) {
                let files = vec![Entry { path, ..entry.clone() }];
                parts.push((entry.path.clone(), Listing { files, ..Listing::default() }));
            }
        }
        part.folders.extend(tree.folders().iter().filter_map(inner));
        let link = |link: &Link| Some(Link { path: inner(&link.path)?, ..link.clone() });
        part.links.extend(tree.links().iter().filter_map(link));
        let empty = parts.is_empty() && part == Listing::default();
        if empty && name != ArtifactPath::ITSELF {
            self.listing.folders.push(self.path(name)?);
        }
        parts.push((ArtifactPath::itself(), part));
        self.add(artifact, parts, name)
    }

    /// Adds `parts` of the input `artifact`, each with the path in it of its file, as what stands at `name`.
    fn add(
        &mut self,
        artifact: &Artifact,
        parts: Vec<(ArtifactPath, Listing)>,
        name: &str,
    ) -> Result<(), TakeError> {
        let moved = |path: &ArtifactPath| {
            let moved =
                if name == ArtifactPath::ITSELF { Ok(path.clone()) } else { path.moved(name) };
            moved.map_err(|source| TakeError::Name { path: self.told(name), source })
        };
        let (mut listing, mut files) = (Listing::default(), Vec::new());
        for (of, part) in parts {
            for entry in part.files {
                let path = moved(&entry.path)?;
                match artifact.outside_path() {
                    // Its blob is in the cache already.
                    None => listing.files.push(Entry { path, ..entry }),
                    Some(base) => files.push(Found {
                        path,
                        from: of.under(base),
                        executable: entry.executable,
                        movable: false,
                        input: Some(entry.blob),
                    }),
                }
            }
            for folder in &part.folders {
                listing.folders.push(moved(folder)?);
            }
            for link in part.links {
                listing.links.push(Link { path: moved(&link.path)?, ..link });
            }
        }
        self.listing.append(listing);
        self.files.append(&mut files);
        Ok(())
    }

    /// Takes note of the user's `file`, which is `entry` of an input, as what stands at `path`.
    fn user(&mut self, path: ArtifactPath, entry: &Entry, file: PathBuf) {
        let (executable, input) = (entry.executable, Some(entry.blob));
        self.files.push(Found { path, from: file, executable, movable: false, input });
    }

    /// Stages the files that were found, and makes a tree of all.
    fn finish(self) -> Result<(Tree, Vec<Staged>), TakeError> {
        let held: HashSet<(Digest, u64)> = self
            .taking
            .inputs
            .values()
            .filter(|artifact| artifact.outside_path().is_none())
            .flat_map(|artifact| artifact.tree().files())
            .map(|entry| (entry.blob, entry.size))
            .collect();
        let stage = |found: &Found| self.stage(found, &held);
        let staged: Vec<(Entry, Option<Staged>)> = if self.files.len() > FEW {
            self.files.par_iter().map(stage).collect::<Result<_, TakeError>>()?
        } else {
            self.files.iter().map(stage).collect::<Result<_, TakeError>>()?
        };
        let Self { mut listing, output, .. } = self;
        let (entries, staged): (Vec<_>, Vec<_>) = staged.into_iter().unzip();
        listing.files.extend(entries);
        let tree = Tree::of(listing)
            .map_err(|source| TakeError::Tree { output: output.to_owned(), source })?;
        Ok((tree, staged.into_iter().flatten().collect()))
    }

    /// Stages a file, unless its content is among the blobs of inputs, which are `held`.
    fn stage(
        &self,
        found: &Found,
        held: &HashSet<(Digest, u64)>,
    ) -> Result<(Entry, Option<Staged>), TakeError> {
        let Taking { staging, interrupt, .. } = self.taking;
        let stop = || interrupt.is_requested();
        let told = || self.told(found.path.as_str());
        let unreadable = |source| TakeError::Unreadable { path: told(), source };
        let entry = |blob, size| Entry {
            path: found.path.clone(),
            blob,
            size,
            executable: found.executable,
        };
        let file = staging.fresh();
        if found.movable {
            disk::rename(&found.from, &file).map_err(|error| match error.kind() {
                // It was protected in a way that can't be undone.
                io::ErrorKind::PermissionDenied => unreadable(error),
                _ => CacheError::io("take over", &found.from)(error).into(),
            })?;
        } else {
            // Of an input the user's own path may have links, and of what the command made none is followed.
            let mut flags = OFlags::NONBLOCK;
            flags.set(OFlags::NOFOLLOW, found.input.is_none());
            let from = File::options()
                .read(true)
                .custom_flags(flags.bits() as i32)
                .open(&found.from)
                .map_err(unreadable)?;
            let meta = from.metadata().map_err(unreadable)?;
            if !meta.is_file() {
                return Err(TakeError::Special { path: told(), what: special(meta.file_type()) });
            }
            if !held.is_empty() && held.iter().any(|(_, size)| *size == meta.len()) {
                let hashed = hash(&from, meta.len(), &stop).map_err(unreadable)?;
                let hashed = hashed.ok_or(Interrupted)?;
                if held.contains(&hashed) {
                    return Ok((entry(hashed.0, hashed.1), None));
                }
            }
            copy(&from, &file)?;
        }
        let staged = Staged::adopt_until(file, &stop)?.ok_or(Interrupted)?;
        if found.input.is_some_and(|blob| blob != staged.blob) {
            return Err(TakeError::Changed(told()));
        }
        Ok((entry(staged.blob, staged.size), Some(staged)))
    }
}

/// Copies an open file, from its beginning, to a new one.
fn copy(mut from: &File, to: &Path) -> Result<(), CacheError> {
    use std::io::Seek as _;
    let copied = from.rewind().and_then(|()| {
        let mut to = disk::create(to)?;
        // This clones where the file system can.
        io::copy(&mut from, &mut to)
    });
    copied.map(drop).map_err(CacheError::io("write", to))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::cache::Cache;

    struct World {
        folder: tempfile::TempDir,
        staging: Staging,
        cache: Cache,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let cache = Cache::open(&folder.path().join("cache")).unwrap();
            let staging = Staging::new(&cache).unwrap();
            fs::create_dir_all(folder.path().join("box/o")).unwrap();
            Self { folder, staging, cache }
        }

        fn sandbox(&self) -> PathBuf {
            self.folder.path().canonicalize().unwrap().join("box")
        }

        fn take(
            &self,
            inputs: &BTreeMap<String, Artifact>,
        ) -> Result<(Tree, Vec<Staged>), TakeError> {
            let sandbox = self.sandbox();
            let places = inputs.keys().map(|name| (name.clone(), sandbox.join("in").join(name)));
            let taking = Taking {
                sandbox: &sandbox,
                inputs,
                places: &places.collect(),
                alone: true,
                staging: &self.staging,
                interrupt: &Interrupt::new(),
            };
            let path = sandbox.join("o");
            taking.take("o", &path, &fs::symlink_metadata(&path).unwrap(), true)
        }
    }

    #[test]
    fn all_that_an_artifact_can_hold_is_kept() {
        let world = World::new();
        let out = world.sandbox().join("o");
        fs::create_dir_all(out.join("a/empty")).unwrap();
        fs::write(out.join("a/run"), "1").unwrap();
        fs::set_permissions(out.join("a/run"), Permissions::from_mode(0o700)).unwrap();
        fs::write(out.join("b\\c"), "2").unwrap();
        symlink("a/run", out.join("l")).unwrap();
        // Said in other ways: absolutely, by a detour, by another link.
        symlink(out.join("a/run"), out.join("absolute")).unwrap();
        symlink("../a/../a/./run", out.join("a/detour")).unwrap();
        symlink("l", out.join("a2")).unwrap();
        symlink(".", out.join("a/self")).unwrap();
        let (tree, staged) = world.take(&BTreeMap::new()).unwrap();
        let files: Vec<_> = tree.files().iter().map(|e| (e.path.as_str(), e.executable)).collect();
        assert_eq!(files, [("a/run", true), ("b\\c", false)]);
        assert_eq!(staged.len(), 2);
        let folders: Vec<_> = tree.folders().iter().map(ArtifactPath::as_str).collect();
        assert_eq!(folders, ["a/empty"]);
        let links = tree.links().iter().map(|link| (link.path.as_str(), link.target.as_str()));
        let wanted = [
            ("a/detour", "run"),
            ("a/self", "."),
            ("a2", "l"),
            ("absolute", "a/run"),
            ("l", "a/run"),
        ];
        assert_eq!(links.collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn a_link_that_leaves_or_dangles_is_refused_and_nothing_outside_is_touched() {
        for (target, leaves) in [
            ("/etc/passwd", true),
            ("../../outside", true),
            ("../../box/../outside", true),
            ("nothing", false),
            ("../nothing", false),
            ("l", false),
        ] {
            let world = World::new();
            let outside = world.folder.path().join("outside");
            fs::write(&outside, "mine").unwrap();
            symlink(target, world.sandbox().join("o/l")).unwrap();
            match world.take(&BTreeMap::new()) {
                Err(TakeError::Leaves { path, .. }) if leaves => assert_eq!(path, Path::new("o/l")),
                Err(TakeError::Dangling { path, .. }) if !leaves => {
                    assert_eq!(path, Path::new("o/l"));
                }
                Err(TakeError::Tree { .. }) if target == "l" => {}
                other => panic!("{target}: {:?}", other.map(|(tree, _)| tree)),
            }
            assert_eq!(fs::read(&outside).unwrap(), b"mine");
        }
    }

    #[test]
    fn what_is_protected_is_made_readable() {
        let world = World::new();
        let out = world.sandbox().join("o");
        fs::create_dir_all(out.join("d/e")).unwrap();
        fs::write(out.join("d/e/f"), "1").unwrap();
        for (name, mode) in [("d/e/f", 0), ("d/e", 0o555), ("d", 0), ("", 0)] {
            fs::set_permissions(out.join(name), Permissions::from_mode(mode)).unwrap();
        }
        let (tree, _staged) = world.take(&BTreeMap::new()).unwrap();
        assert_eq!(tree.get("d/e/f").unwrap().blob, Digest::of(b"1"));
    }

    #[test]
    fn a_link_to_an_input_is_its_content() {
        let world = World::new();
        let (sandbox, blob) = (world.sandbox(), Digest::of(b"x"));
        let tree = Tree::new(vec![Entry::plain("d/x".parse().unwrap(), blob, 1)]).unwrap();
        let of = |tree: &Tree| {
            Artifact::cached("i", "i", std::sync::Arc::new(tree.clone()), &world.cache)
        };
        let inputs = [("i".to_owned(), of(&tree))].into();
        fs::create_dir_all(sandbox.join("in/i/d")).unwrap();
        fs::write(sandbox.join("in/i/d/x"), "x").unwrap();
        symlink(sandbox.join("in/i"), sandbox.join("o/all")).unwrap();
        symlink("../in/i/d", sandbox.join("o/d")).unwrap();
        symlink("../in/i/d/x", sandbox.join("o/x")).unwrap();
        fs::hard_link(sandbox.join("in/i/d/x"), sandbox.join("o/hard")).unwrap();
        let (taken, staged) = world.take(&inputs).unwrap();
        // Its blobs are used, none is made.
        assert!(staged.is_empty() && taken.links().is_empty());
        let paths: Vec<_> = taken.files().iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["all/d/x", "d/x", "hard", "x"]);
        assert!(taken.files().iter().all(|entry| entry.blob == blob));
        // The whole output may be such a link.
        fs::remove_dir_all(sandbox.join("o")).unwrap();
        symlink(sandbox.join("in/i"), sandbox.join("o")).unwrap();
        assert_eq!(world.take(&inputs).unwrap().0, tree);
    }

    #[test]
    fn what_is_no_file_is_refused_by_name() {
        use std::os::unix::ffi::OsStrExt as _;
        let world = World::new();
        let out = world.sandbox().join("o");
        let socket = std::os::unix::net::UnixListener::bind(out.join("s")).unwrap();
        let error = world.take(&BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("`o/s` a socket"), "{error}");
        drop(socket);
        fs::remove_file(out.join("s")).unwrap();
        fs::write(out.join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "").unwrap();
        let error = world.take(&BTreeMap::new()).unwrap_err().to_string();
        assert!(error.contains("`o/caf\\xe9`"), "{error}");
    }
}
