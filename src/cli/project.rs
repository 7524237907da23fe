//! The pipeline that a command is about.

use std::path::{Path, PathBuf};

use pipe_engine::{
    Registry,
    cache::{Cache, CacheError},
    graph::Pipeline,
    load::{self},
};

use super::{arguments::PipelineArguments, error::CommandError, trust};

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

/// The program's folder among the user's of one kind: in that which `variable` names, else in `name` of the home folder. What is
/// relative isn't heeded, says the XDG Base Directory Specification.
pub(crate) fn own_folder(variable: &str, name: &str) -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || folder("HOME").map(|home| home.join(name));
    folder(variable).or_else(home).map(|folder| folder.join("pipe"))
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

/// `path` as seen from the folder `here`, where that is shorter.
pub(crate) fn shown(here: &Path, path: &Path) -> PathBuf {
    for (up, folder) in here.ancestors().enumerate() {
        if folder.parent().is_none() {
            break;
        }
        if let Ok(rest) = path.strip_prefix(folder) {
            let mut seen = std::iter::repeat_n("..", up).collect::<PathBuf>();
            seen.push(rest);
            return if seen.as_os_str().len() < path.as_os_str().len() {
                seen
            } else {
                path.into()
            };
        }
    }
    path.to_owned()
}

/// `path` as seen from the current folder, where that is shorter.
pub(crate) fn from_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    here.map_or_else(|_| path.to_owned(), |here| shown(&here, path))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::shown;

    #[test]
    fn paths_are_seen_from_here() {
        let seen = |path: &str| shown(Path::new("/a/b/c"), Path::new(path));
        assert_eq!(seen("/a/b/c/pipeline.yaml"), PathBuf::from("pipeline.yaml"));
        assert_eq!(seen("/a/b/pipeline.yaml"), PathBuf::from("../pipeline.yaml"));
        assert_eq!(seen("/x/pipeline.yaml"), PathBuf::from("/x/pipeline.yaml"));
    }
}
