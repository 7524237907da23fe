//! The user's files and folders, as a pipeline names them.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use crate::artifact::{
    input_file::list,
    workspace::{Pattern, Scope, Workspace, expand_home, plain, within},
};

/// Why a path can't be used, and what to do.
pub(super) struct Refusal {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// A folder of pipe's own, and a path in it.
#[derive(Debug, Clone)]
enum Own {
    Out(PathBuf),
    Cache,
}

/// Looks up the paths of a pipeline.
pub(super) struct UserPaths {
    workspace: Arc<Workspace>,
    /// Whether folders lie in one of pipe's own: many files lie in few folders.
    folders: Mutex<HashMap<PathBuf, Option<Own>>>,
    /// The device and the inode of each of pipe's own folders.
    own: OnceLock<Vec<(u64, u64)>>,
    /// What was found: many stages may read one file, which is looked for once.
    found: Mutex<HashMap<String, (PathBuf, Scope)>>,
}

impl UserPaths {
    pub(super) fn new(root: &Path, cache: &Path) -> Self {
        let workspace = Arc::new(Workspace::new(root, cache));
        Self { workspace, folders: Mutex::default(), own: OnceLock::new(), found: Mutex::default() }
    }

    /// Where the file or folder is that is called `written`, or the folder with those that fit it.
    pub(super) fn look_up(&self, written: &str) -> Result<(PathBuf, Scope), Refusal> {
        let known = |found: &HashMap<String, (PathBuf, Scope)>| found.get(written).cloned();
        if let Some(known) = known(&self.found.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(known);
        }
        let found = self.look_for(written)?;
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(written.to_owned(), found.clone());
        Ok(found)
    }

    fn look_for(&self, written: &str) -> Result<(PathBuf, Scope), Refusal> {
        let expanded = expand_home(written).map_err(|(fault, help)| Refusal {
            message: format!("`{written}` can't be looked up: {fault}"),
            help: Some(help.into()),
        })?;
        let path = self.workspace.root.join(&expanded);
        let scope = Scope { workspace: Some(Arc::clone(&self.workspace)), pattern: None };
        // A file may be called as a pattern is.
        let error = match fs::symlink_metadata(&path) {
            Ok(meta) => {
                self.refuse_own(written, &path, meta.is_symlink())?;
                match if meta.is_symlink() { path.metadata() } else { Ok(meta) } {
                    Ok(meta) => {
                        if meta.is_dir() && self.own().contains(&(meta.dev(), meta.ino())) {
                            return Err(Self::refusal(written, &Own::Out(PathBuf::new())));
                        }
                        return Ok((path, scope));
                    }
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        self.refuse_own(written, &path, false)?;
        if error.kind() == io::ErrorKind::NotFound
            && let Ok(target) = fs::read_link(&path)
        {
            return Err(Refusal {
                message: format!(
                    "`{written}` is a link to `{}`, where there is nothing",
                    target.display()
                ),
                help: None,
            });
        }
        if error.kind() == io::ErrorKind::NotFound
            && let Some(text) = expanded.to_str()
        {
            let parsed = Pattern::parse(text).map_err(|error| Refusal {
                message: format!("`{written}` is no pattern: {}", error.kind()),
                help: Some(
                    "`*` stands for any part of a name, `?` for a letter, `**` for folders".into(),
                ),
            })?;
            if let Some((folder, pattern)) = parsed {
                let base = self.workspace.root.join(folder);
                self.refuse_own(written, &base, true)?;
                let scope = Scope { pattern: Some(Arc::new(pattern)), ..scope };
                // That nothing fits is told where it is written.
                list(&base, &scope)
                    .map_err(|error| Refusal { message: error.to_string(), help: None })?;
                return Ok((base, scope));
            }
        }
        let message = match error.kind() {
            io::ErrorKind::NotFound => format!("there is no file or folder `{written}`"),
            _ => format!("failed to look at `{written}`: {error}"),
        };
        let elsewhere = path.as_os_str() != written;
        let help = elsewhere.then(|| format!("it was looked for at {}", path.display()));
        Err(Refusal { message, help })
    }

    fn own(&self) -> &[(u64, u64)] {
        self.own.get_or_init(|| self.workspace.own())
    }

    /// Refuses what lies in a folder of pipe's own. If `path` itself is a link, what counts is where it leads.
    fn refuse_own(&self, written: &str, path: &Path, linked: bool) -> Result<(), Refusal> {
        match self.lies_in(path, linked) {
            Some(own) => Err(Self::refusal(written, &own)),
            None => Ok(()),
        }
    }

    fn lies_in(&self, path: &Path, linked: bool) -> Option<Own> {
        let text = plain(path);
        if let Ok(rest) = text.strip_prefix(&self.workspace.out) {
            return Some(Own::Out(rest.to_owned()));
        }
        if text.starts_with(&self.workspace.cache) {
            return Some(Own::Cache);
        }
        let (base, name) = match (linked, path.parent(), path.file_name()) {
            (false, Some(parent), Some(name)) => (parent, Path::new(name)),
            _ => (path, Path::new("")),
        };
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let found = folders.entry(base.to_owned()).or_insert_with(|| {
            within(base, &self.workspace.out)
                .map(Own::Out)
                .or_else(|| within(base, &self.workspace.cache).map(|_| Own::Cache))
        });
        match found {
            Some(Own::Out(rest)) => Some(Own::Out(rest.join(name))),
            other => other.clone(),
        }
    }

    fn refusal(written: &str, own: &Own) -> Refusal {
        match own {
            Own::Cache => Refusal {
                message: format!("`{written}` lies in the cache"),
                help: Some("a stage's output is read as `stage.output`".into()),
            },
            Own::Out(rest) => Refusal {
                message: format!("`{written}` lies in `out`, which shows what the last run made"),
                help: Some(match output(rest) {
                    Some(output) => format!("to read what the stage makes, write `{output}`"),
                    None => "to read what a stage makes, write `stage.output`".into(),
                }),
            },
        }
    }
}

/// How an input is written that is the output at `path` in the folder `out`.
fn output(path: &Path) -> Option<String> {
    let parts: Vec<&str> = path
        .components()
        .map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect::<Option<_>>()?;
    match parts.as_slice() {
        [stage, combination, output, ..] if combination.contains('=') => {
            Some(format!("{stage}[{combination}].{output}"))
        }
        [stage, output, ..] => Some(format!("{stage}.{output}")),
        _ => None,
    }
}
