//! Where a command works: a folder with its declared files and nothing else, and beside it places for its inputs, its
//! outputs and what it prints.
//!
//! A run may execute very many commands, and some file systems take the longer to make a folder the more were removed
//! just before. So a desk that a command left as it had found it is cleared and moved to another path, where the next
//! command works.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    artifact::Artifact,
    cache::{Cache, Staging},
    command::{CommandError, Item},
    disk,
    pipeline::Command,
    place::{Method, place},
    source::Source,
};

/// Where one command works.
pub(crate) struct Desk {
    /// All of it.
    folder: PathBuf,
    /// Where it is started.
    pub(crate) work: PathBuf,
    /// Where its inputs are, by name.
    pub(crate) inputs: BTreeMap<String, PathBuf>,
    /// Where it is to write its outputs, by name.
    pub(crate) outputs: BTreeMap<String, PathBuf>,
    /// What it prints.
    pub(crate) log: PathBuf,
    /// The folders for outputs that stand there from the beginning.
    shape: Vec<String>,
    staging: Arc<Staging>,
}

impl Desk {
    /// A desk for `command`, for `item` if it runs for each entry of an input.
    ///
    /// # Errors
    /// When a file can't be put there.
    pub(crate) fn new(
        command: &Command,
        item: Option<&Item<'_>>,
        inputs: &BTreeMap<String, Artifact>,
        files: &BTreeMap<String, Source>,
        cache: &Cache,
        staging: &Arc<Staging>,
    ) -> Result<Self, CommandError> {
        // What is made of an entry stands in a folder of its output's own.
        let shape = if item.is_some() { command.outputs.clone() } else { Vec::new() };
        // A command may change its folder, so every path that it is told is absolute.
        let desk = match staging.take_spare(&shape) {
            Some(folder) => Self::at(folder, shape, staging),
            None => Self::make(shape, staging)?,
        };
        desk.fill(command, item, inputs, files, cache)
    }

    fn at(folder: PathBuf, shape: Vec<String>, staging: &Arc<Staging>) -> Self {
        Self {
            work: folder.join("work"),
            log: folder.join("log"),
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            folder,
            shape,
            staging: Arc::clone(staging),
        }
    }

    fn make(shape: Vec<String>, staging: &Arc<Staging>) -> Result<Self, CommandError> {
        let desk = Self::at(staging.lasting(), shape, staging);
        let outputs = desk.folder.join("outputs");
        let made = fs::create_dir(&desk.folder)
            .and_then(|()| fs::create_dir(&desk.work))
            .and_then(|()| fs::create_dir(&outputs))
            .and_then(|()| {
                desk.shape.iter().try_for_each(|name| fs::create_dir(outputs.join(name)))
            });
        made.map_err(|source| CommandError::Prepare { path: desk.folder.clone(), source })?;
        Ok(desk)
    }

    fn fill(
        mut self,
        command: &Command,
        item: Option<&Item<'_>>,
        inputs: &BTreeMap<String, Artifact>,
        files: &BTreeMap<String, Source>,
        cache: &Cache,
    ) -> Result<Self, CommandError> {
        let make = |path: &Path| {
            fs::create_dir_all(path)
                .map_err(|source| CommandError::Prepare { path: path.to_owned(), source })
        };
        for (name, source) in files {
            let target = self.work.join(name);
            for entry in source.tree.files() {
                let (from, to) = (entry.path.under(&source.path), entry.path.under(&target));
                to.parent().map_or(Ok(()), &make)?;
                fs::copy(&from, &to)
                    .map_err(|source| CommandError::Prepare { path: from, source })?;
            }
        }
        for (name, artifact) in inputs {
            let path = if let Some(path) = artifact.outside_path() {
                fs::canonicalize(path)
                    .map_err(|source| CommandError::Prepare { path: path.to_owned(), source })?
            } else {
                // A single file keeps its name, since many programs go by its ending.
                let path = self.folder.join("inputs").join(name).join(artifact.label());
                place(cache, artifact.tree(), &path, Method::Link)?;
                path
            };
            self.inputs.insert(name.clone(), path);
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
        Ok(self)
    }

    /// Whether no link leads to the folder in which the output at `path` stands, so that it truly is on the desk.
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

    /// Makes the desk ready for another command. What can't be removed goes with the writer's folder.
    pub(crate) fn clear(self) {
        if self.tidy().is_ok_and(|tidy| tidy) {
            self.staging.keep_spare(self.folder, self.shape);
        } else {
            self.remove();
        }
    }

    /// Removes the desk, which something may still be using.
    pub(crate) fn remove(self) {
        let _ = fs::remove_dir_all(self.folder);
    }

    /// Takes away what was added; whether all is as it was.
    fn tidy(&self) -> io::Result<bool> {
        let outputs = self.folder.join("outputs");
        let inputs = self.folder.join("inputs");
        if !self.inputs.is_empty() && inputs.exists() {
            fs::remove_dir_all(inputs)?;
        }
        match fs::symlink_metadata(&self.log) {
            Ok(meta) if meta.is_file() && meta.len() == 0 && meta.nlink() == 1 => {}
            Ok(_) => fs::remove_file(&self.log)?,
            Err(_) => {}
        }
        let mode = fs::symlink_metadata(&self.folder)?.mode();
        let within = self.shape.iter().map(|name| outputs.join(name));
        for folder in [self.work.clone(), outputs.clone()].into_iter().chain(within) {
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
