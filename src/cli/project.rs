//! The pipeline that a command is about.

use std::path::{Path, PathBuf};

use pipe_engine::{
    Registry,
    cache::{Cache, CacheError},
    graph::Pipeline,
    load,
};

use super::{
    arguments::PipelineArguments,
    error::CommandError,
    folders::{own_folder, shown},
    trust,
};

/// Finds, reads and checks the pipeline.
pub(crate) fn load(
    arguments: &PipelineArguments,
    registry: &Registry,
) -> Result<Pipeline, CommandError> {
    let file = match &arguments.file {
        Some(file) if file.is_dir() => file.join(load::FILE_NAME),
        Some(file) => file.clone(),
        None => find()?,
    };
    let pipeline = load::load(&file, &arguments.set, registry)?;
    if arguments.file.is_none() {
        trust::check(&pipeline.file, &pipeline.cache)?;
    }
    Ok(pipeline)
}

/// Opens the cache in the folder `root`, which is made if it isn't there.
pub(crate) fn cache(root: &Path) -> Result<Cache, CacheError> {
    Cache::open_remembered(root, memory().as_deref())
}

/// Opens the cache in the folder `root` if there is one.
pub(crate) fn existing_cache(root: &Path) -> Result<Option<Cache>, CacheError> {
    Cache::open_existing(root, memory().as_deref())
}

/// Where this user remembers what was found in caches: `$XDG_CACHE_HOME/pipe`, else `~/.cache/pipe`.
fn memory() -> Option<PathBuf> {
    own_folder("XDG_CACHE_HOME", ".cache")
}

/// The nearest pipeline, from the current folder upwards.
fn find() -> Result<PathBuf, CommandError> {
    let here = std::env::current_dir().map_err(CommandError::file("find the folder", "."))?;
    load::find(&here).map(|file| shown(&here, &file)).ok_or_else(|| {
        CommandError::wrong(
            format!(
                "there is no `{}` in {} or in a folder above it",
                load::FILE_NAME,
                here.display()
            ),
            "name one with `-f FILE`, or begin one with `pipe init DIR`",
        )
    })
}
