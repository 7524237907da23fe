//! An artifact as a stage reads it, and what goes wrong when one is read or written.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::{
    base::tree::{ArtifactPath, BadPath, Entry, Tree, TreeError},
    cache::{Cache, CacheError},
};

/// What goes wrong when a stage reads an input or writes an output.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// The stage asks for an input that it wasn't given.
    #[error("there is no input `{0}`")]
    NoInput(String),
    /// The stage asks for an output that it doesn't declare.
    #[error("there is no output `{0}`")]
    NoOutput(String),
    /// An output was declared and not written.
    #[error("output `{0}` was not written")]
    NotWritten(String),
    /// An input lacks a file.
    #[error("input `{input}` has no file `{path}`")]
    NoFile {
        /// The input.
        input: String,
        /// The file.
        path: String,
    },
    /// An input must be one file, and is a folder of files.
    #[error("input `{0}` must be a single file, but is a folder of files")]
    NotAFile(String),
    /// A file can't be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A JSON document can't be read.
    #[error("`{path}` of input `{input}` is not the expected document")]
    Document {
        /// The input.
        input: String,
        /// The file.
        path: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// What was written is no artifact.
    #[error("output `{output}` is no artifact")]
    Output {
        /// The output.
        output: String,
        /// Why not.
        source: TreeError,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A document can't be serialised.
    #[error("failed to serialise `{path}`")]
    Serialise {
        /// The file.
        path: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// A path isn't allowed in an artifact.
    #[error(transparent)]
    Path(#[from] BadPath),
}

/// An input as a stage reads it, straight from where it lies.
#[derive(Debug, Clone)]
pub struct Artifact {
    name: String,
    tree: Arc<Tree>,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Cache {
        cache: Cache,
        label: String,
    },
    Outside(PathBuf),
    /// A part of another artifact: where each of its files is.
    Part(Arc<BTreeMap<ArtifactPath, Held>>),
}

/// A file of an artifact that is a part of another.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    /// It is this file of an artifact.
    Of(Artifact, Entry),
    /// It holds these bytes.
    Bytes(Vec<u8>),
}

impl Artifact {
    /// The artifact that another stage's output `label` is, whose blobs lie in `cache`.
    pub(crate) fn cached(name: &str, label: &str, tree: Arc<Tree>, cache: &Cache) -> Self {
        let place = Place::Cache { cache: cache.clone(), label: label.to_owned() };
        Self { name: name.to_owned(), tree, place }
    }

    /// A file or folder of the user's, at `path`.
    pub(crate) fn outside(name: &str, tree: Arc<Tree>, path: &Path) -> Self {
        Self { name: name.to_owned(), tree, place: Place::Outside(path.to_owned()) }
    }

    /// A part of this artifact, or what is made of it in memory, under the same name.
    pub(crate) fn part(&self, files: Vec<(Entry, Held)>) -> Result<Self, TreeError> {
        let tree = Tree::new(files.iter().map(|(entry, _)| entry.clone()).collect())?;
        let files = files.into_iter().map(|(entry, held)| (entry.path, held)).collect();
        Ok(Self {
            name: self.name.clone(),
            tree: Arc::new(tree),
            place: Place::Part(Arc::new(files)),
        })
    }

    /// The artifact that one of its files is by itself.
    pub(crate) fn only(&self, entry: &Entry) -> Self {
        let name = entry.path.as_str();
        let place = match &self.place {
            Place::Cache { cache, .. } => {
                let label = name.rsplit('/').next().unwrap_or(name).to_owned();
                Place::Cache { cache: cache.clone(), label }
            }
            Place::Outside(base) => Place::Outside(entry.path.under(base)),
            Place::Part(files) => {
                let held = files.get(&entry.path).cloned();
                Place::Part(Arc::new(
                    held.map(|held| (ArtifactPath::itself(), held)).into_iter().collect(),
                ))
            }
        };
        let tree = Arc::new(Tree::only(entry));
        Self { name: self.name.clone(), tree, place }
    }

    /// The name that the stage has for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The manifest.
    pub fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// Where the bytes of the file `path` lie; not to be written to.
    ///
    /// # Errors
    /// When the artifact has no such file.
    pub fn path(&self, path: &str) -> Result<PathBuf, ArtifactError> {
        let missing = || ArtifactError::NoFile { input: self.name.clone(), path: path.to_owned() };
        let entry = self.tree.find(path).ok_or_else(missing)?;
        self.locate(entry)?.ok_or_else(missing)
    }

    /// Where the bytes of the one file lie that this artifact is.
    ///
    /// # Errors
    /// When it is a folder of files.
    pub fn file(&self) -> Result<PathBuf, ArtifactError> {
        let none = || ArtifactError::NotAFile(self.name.clone());
        let entry = self.tree.get(ArtifactPath::ITSELF).ok_or_else(none)?;
        self.locate(entry)?.ok_or_else(none)
    }

    /// The bytes of the file `path`.
    ///
    /// # Errors
    /// When there is no such file, or it can't be read.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, ArtifactError> {
        let missing = || ArtifactError::NoFile { input: self.name.clone(), path: path.to_owned() };
        let entry = self.tree.find(path).ok_or_else(missing)?;
        self.bytes(entry)?.ok_or_else(missing)
    }

    fn bytes(&self, entry: &Entry) -> Result<Option<Vec<u8>>, ArtifactError> {
        match &self.place {
            Place::Cache { cache, .. } => Ok(Some(cache.read_blob(entry)?)),
            Place::Outside(base) => {
                let path = entry.path.under(base);
                let bytes = fs::read(&path);
                bytes.map(Some).map_err(|source| ArtifactError::Read { path, source })
            }
            Place::Part(files) => match files.get(&entry.path) {
                Some(Held::Bytes(bytes)) => Ok(Some(bytes.clone())),
                Some(Held::Of(artifact, entry)) => artifact.bytes(entry),
                None => Ok(None),
            },
        }
    }

    /// The JSON document `path`.
    ///
    /// # Errors
    /// When there is no such file, or it isn't a `T`.
    pub fn document<T: DeserializeOwned>(&self, path: &str) -> Result<T, ArtifactError> {
        serde_json::from_slice(&self.read(path)?).map_err(|source| ArtifactError::Document {
            input: self.name.clone(),
            path: path.to_owned(),
            source,
        })
    }

    /// Where a file of it lies, unharmed; nowhere for what is only in memory.
    fn locate(&self, entry: &Entry) -> Result<Option<PathBuf>, ArtifactError> {
        match &self.place {
            Place::Cache { cache, .. } => {
                cache.check_blob(entry.blob, entry.size)?;
                Ok(Some(cache.blob_path(entry.blob)))
            }
            Place::Outside(base) => Ok(Some(entry.path.under(base))),
            Place::Part(files) => match files.get(&entry.path) {
                Some(Held::Of(artifact, entry)) => artifact.locate(entry),
                _ => Ok(None),
            },
        }
    }

    /// The name under which a command finds it: that of the output that it is, or of the user's
    /// file. A folder of the user's is called as the input is.
    pub(crate) fn label(&self) -> &OsStr {
        match &self.place {
            Place::Cache { label, .. } => OsStr::new(label),
            Place::Outside(path) if self.tree.is_file() => {
                path.file_name().unwrap_or(OsStr::new(&self.name))
            }
            Place::Outside(_) | Place::Part(_) => OsStr::new(&self.name),
        }
    }

    /// The user's own path, when the artifact is a file or folder of the user's.
    pub(crate) fn outside_path(&self) -> Option<&Path> {
        match &self.place {
            Place::Cache { .. } | Place::Part(_) => None,
            Place::Outside(path) => Some(path),
        }
    }
}
