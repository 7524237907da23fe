//! Where a command works: a folder of its own that nobody else may enter, with its declared files and nothing else, and
//! beside it places for its inputs, its outputs and what it prints.
//!
//! Inputs are handed out so that a command can't harm what others rely on. Of a file of the user's, and of a small file of the
//! cache, it gets a clone or a copy; of a large file of the cache a read-only link, which is checked afterwards; of a very large file of the
//! user's, where the file system has no clones, a symbolic link, which is checked as well.
//!
//! A run may execute very many commands, and some file systems take the longer to make a folder the more were removed
//! just before. So a sandbox that a command left as it had found it is cleared and moved to another path, where the next
//! command works, if nothing of the former one is left.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{command_error::CommandError, item::PlacedItem, printed::Printed};
use crate::{
    artifact::{
        artifact::Artifact,
        input_file::InputFile,
        materialize::{Method, SMALL, materialize},
    },
    base::{disk, tree::Entry},
    cache::{
        Cache, Signature, Staging,
        own_folder::{Own, Spare, remove_all},
    },
    graph::Command,
};

/// Files of the user's that are larger are handed out by a symbolic link, where they can't be cloned.
const LARGEST_COPY: u64 = 256 << 20;
/// What an input's file was when it was handed out.
#[derive(Debug)]
struct Handed {
    /// The name of the input.
    input: String,
    /// Where the command finds it.
    path: PathBuf,
    /// What is there; of a symbolic link, what it leads to.
    seen: Signature,
}

/// Where one command works.
pub(crate) struct Sandbox {
    /// All of it.
    folder: PathBuf,
    own: Own,
    /// Where it is started.
    pub(crate) work: PathBuf,
    /// Where its inputs are, by name.
    pub(crate) inputs: BTreeMap<String, PathBuf>,
    /// Where it is to write its outputs, by name.
    pub(crate) outputs: BTreeMap<String, PathBuf>,
    /// What it prints.
    pub(crate) printed: Printed,
    handed: Vec<Handed>,
    /// The folders for outputs that stand there from the beginning.
    shape: Vec<String>,
    staging: Arc<Staging>,
    made: SystemTime,
    /// Whether something of the command may still be at work here.
    pub(crate) haunted: bool,
}

/// What a sandbox is made for.
pub(crate) struct Furniture<'a> {
    pub(crate) command: &'a Command,
    /// The item of an input for which the command runs, if it does.
    pub(crate) item: Option<&'a PlacedItem<'a>>,
    pub(crate) inputs: &'a BTreeMap<String, Artifact>,
    pub(crate) files: &'a BTreeMap<String, Arc<InputFile>>,
    /// The user's files among the inputs and the declared files, as they were when they were hashed.
    pub(crate) sources: &'a [&'a InputFile],
    pub(crate) cache: &'a Cache,
}

impl Sandbox {
    /// A sandbox called `name`, furnished.
    ///
    /// # Errors
    /// When a file can't be put there, or isn't what it was when it was hashed.
    pub(crate) fn new(
        name: &str,
        furniture: &Furniture<'_>,
        staging: &Arc<Staging>,
    ) -> Result<Self, CommandError> {
        // What is made of an item stands in a folder of its output's own.
        let outputs = &furniture.command.outputs;
        let shape = if furniture.item.is_some() { outputs.clone() } else { Vec::new() };
        // A command may change its folder, so every path that it is told is absolute.
        let (folder, own) = staging.sandbox(name, &shape)?;
        let prepare = |path: &Path| {
            let path = path.to_owned();
            |source| CommandError::Prepare { path, source }
        };
        let log = folder.join("log");
        let printed = Printed::create(&log).map_err(prepare(&log))?;
        let mut sandbox = Self {
            work: folder.join("work"),
            printed,
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            handed: Vec::new(),
            folder,
            own,
            shape,
            staging: Arc::clone(staging),
            made: SystemTime::now(),
            haunted: false,
        };
        sandbox.furnish(furniture)?;
        Ok(sandbox)
    }

    /// The folder that all of it is in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the folder is still the one that was made.
    pub(crate) fn is_own(&self) -> bool {
        Own::at(&self.folder).is_ok_and(|own| own == self.own)
    }

    fn furnish(&mut self, furniture: &Furniture<'_>) -> Result<(), CommandError> {
        let Furniture { command, item, inputs, files, sources, cache } = *furniture;
        let make = |path: &Path| {
            fs::create_dir_all(path)
                .map_err(|source| CommandError::Prepare { path: path.to_owned(), source })
        };
        // A file that stands above the pipeline's folder stands above the command's as well.
        let climbs = |name: &String| name.split('/').take_while(|part| *part == "..").count();
        for _ in 0..files.keys().map(climbs).max().unwrap_or(0) {
            self.work.push("work");
            make(&self.work)?;
        }
        for (name, source) in files {
            let target = self.work.join(name);
            for entry in source.tree.files() {
                let (from, to) = (entry.path.under(&source.path), entry.path.under(&target));
                to.parent().map_or(Ok(()), &make)?;
                fs::copy(&from, &to)
                    .map_err(|source| CommandError::Prepare { path: from, source })?;
            }
            for folder in source.tree.folders() {
                make(&folder.under(&target))?;
            }
            if source.tree.is_empty() {
                make(&target)?;
            }
        }
        for (name, artifact) in inputs {
            let folder = self.folder.join("inputs").join(name);
            // A single file keeps its name, since many programs go by its ending.
            let path = folder.join(artifact.label());
            if let Some(outside) = artifact.outside_path() {
                self.lend(name, artifact, outside, &path)?;
            } else {
                materialize(cache, artifact.tree(), &path, Method::Lend)?;
                for entry in artifact.tree().files() {
                    let path = entry.path.under(&path);
                    let seen = fs::symlink_metadata(&path).map(|meta| Signature::of(&meta));
                    let seen = seen
                        .map_err(|source| CommandError::Prepare { path: path.clone(), source })?;
                    self.handed.push(Handed { input: name.clone(), path, seen });
                }
            }
            self.inputs.insert(name.clone(), path);
        }
        // What was copied is what was hashed: what is done to the user's files from here on is not the command's affair.
        for source in sources {
            source.check_unchanged()?;
        }
        for name in &command.outputs {
            // The name within the output, too: many programs go by its ending.
            let mut path = self.folder.join("outputs").join(name);
            if let Some(item) = item.and_then(|item| item.paths.get(name.as_str())) {
                path.push(item);
                // Most stand in the folder that is there.
                if item.contains('/') {
                    path.parent().map_or(Ok(()), make)?;
                }
            }
            self.outputs.insert(name.clone(), path);
        }
        Ok(())
    }

    /// Hands out the file or folder `outside` of the user's at `path`.
    fn lend(
        &mut self,
        name: &str,
        artifact: &Artifact,
        outside: &Path,
        path: &Path,
    ) -> Result<(), CommandError> {
        let make = |folder: &Path| {
            fs::create_dir_all(folder)
                .map_err(|source| CommandError::Prepare { path: folder.to_owned(), source })
        };
        let base = if artifact.tree().is_file() { path.parent().unwrap_or(path) } else { path };
        make(base)?;
        let mut last = base.to_owned();
        for entry in artifact.tree().files() {
            let (from, to) = (entry.path.under(outside), entry.path.under(path));
            if let Some(folder) = to.parent().filter(|folder| **folder != last) {
                make(folder)?;
                folder.clone_into(&mut last);
            }
            let seen = lend_file(&from, &to, entry.size)
                .map_err(|source| CommandError::Prepare { path: from, source })?;
            self.handed.push(Handed { input: name.to_owned(), path: to, seen });
        }
        for folder in artifact.tree().folders() {
            make(&folder.under(path))?;
        }
        Ok(())
    }

    /// Checks that the command left its inputs as they were. It may have removed its own names for them.
    ///
    /// # Errors
    /// When something was done to one, whether it was put back or not.
    pub(crate) fn check_inputs(
        &self,
        inputs: &BTreeMap<String, Artifact>,
        cache: &Cache,
    ) -> Result<(), CommandError> {
        // Some file systems keep times to two seconds only.
        let since = self.made - Duration::from_secs(2);
        let changed = |input: &str| CommandError::Input(input.to_owned());
        for Handed { input, path, seen } in &self.handed {
            match fs::metadata(path) {
                Ok(meta) if Signature::of(&meta) == *seen => {}
                // Who else links to a blob changes the time of change of its file.
                Ok(meta) if meta.nlink() > 1 && Signature::of(&meta).has_content_of(seen) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ => return Err(changed(input)),
            }
        }
        for (name, artifact) in inputs.iter().filter(|(_, input)| input.outside_path().is_none()) {
            for entry in artifact.tree().files().iter().filter(|entry| entry.size > SMALL) {
                cache.check_lent(entry.blob, entry.size, since).map_err(|error| match error {
                    Some(error) => error.into(),
                    None => changed(name),
                })?;
                self.take_back(name, entry, cache);
            }
        }
        Ok(())
    }

    /// Removes the link to a file of the cache, which changes its times, so that it counts as verified all the same.
    fn take_back(&self, input: &str, entry: &Entry, cache: &Cache) {
        let Some(path) = self.inputs.get(input).map(|base| entry.path.under(base)) else { return };
        let Ok(sound) = fs::metadata(cache.blob_path(entry.blob)) else { return };
        // What a command removed itself, or protected from us, goes with its folder.
        if cache.is_as_verified(entry.blob, &sound) && fs::remove_file(path).is_ok() {
            cache.note_verified(entry.blob, &sound);
        }
    }

    /// Whether no link leads to the folder in which the output at `path` stands, so that it truly is in the sandbox.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        path.ancestors()
            .skip(1)
            .take_while(|above| *above != self.folder)
            .all(|above| fs::symlink_metadata(above).is_ok_and(|meta| meta.is_dir()))
    }

    /// Sees whether a few KiB can be written here.
    ///
    /// # Errors
    /// When there is no room for them, or the disk takes none for another reason.
    pub(crate) fn try_room(&self) -> io::Result<()> {
        // A program that fills a disk may leave a block or two free that no longer were enough for it.
        const ROOM: [u8; 1 << 14] = [1; 1 << 14];
        let path = self.folder.join(".room");
        let file = disk::create(&path)?;
        let written = disk::write_all(&file, &path, &ROOM).and_then(|()| disk::sync(&file, &path));
        fs::remove_file(&path).and(written)
    }

    /// Makes the sandbox ready for another command, unless something of this one may still be at work in it. What can't be
    /// removed goes with the writer's folder.
    pub(crate) fn clear(self) {
        if !self.haunted && self.is_own() && self.tidy().is_ok_and(|tidy| tidy) {
            let spare = Spare { folder: self.folder, own: self.own };
            self.staging.keep_spare(spare, self.shape);
        } else {
            let _ = remove_all(&self.folder);
        }
    }

    /// Takes away what was added; whether all is as it was.
    fn tidy(&self) -> io::Result<bool> {
        let outputs = self.folder.join("outputs");
        let inputs = self.folder.join("inputs");
        if !self.inputs.is_empty() && inputs.exists() {
            fs::remove_dir_all(inputs)?;
        }
        fs::remove_file(self.folder.join("log"))?;
        let mode = fs::symlink_metadata(&self.folder)?.mode();
        if !self.folder.join("lock").exists() {
            return Ok(false);
        }
        let within = self.shape.iter().map(|name| outputs.join(name));
        for folder in [self.folder.join("work"), outputs.clone()].into_iter().chain(within) {
            if fs::symlink_metadata(&folder)?.mode() != mode {
                return Ok(false);
            }
            let keeps = folder == outputs;
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if keeps && self.shape.iter().any(|name| entry.file_name() == name.as_str()) {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(true)
    }
}

/// Hands out the file `from` of the user's, of `size` bytes, at `to`; gives what is there then.
fn lend_file(from: &Path, to: &Path, size: u64) -> io::Result<Signature> {
    disk::step(to)?;
    let source = File::open(from)?;
    if size > LARGEST_COPY {
        let target = File::options().write(true).create_new(true).open(to)?;
        if clone(&target, &source) {
            return Ok(Signature::of(&target.metadata()?));
        }
        fs::remove_file(to)?;
        std::os::unix::fs::symlink(fs::canonicalize(from)?, to)?;
        return Ok(Signature::of(&source.metadata()?));
    }
    // This clones where the file system can, and takes over the permissions, among them that of being run.
    fs::copy(from, to)?;
    Ok(Signature::of(&fs::symlink_metadata(to)?))
}

#[cfg(target_os = "linux")]
fn clone(to: &File, from: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn clone(_: &File, _: &File) -> bool {
    false
}
