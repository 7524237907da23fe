//! What a stage sees while it runs: its inputs, its outputs, and how to report and stop.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::{
    artifact::{ArtifactPath, Entry, Tree, TreeError},
    cache::{Cache, CacheError, Staged, StagedWriter, Staging},
    digest::Digest,
    states::StateStore,
    zarr::{GroupReader, GroupWriter, ZarrError},
};

/// An error that fails a stage: any error, boxed, or a sentence.
///
/// It is deliberately no [`std::error::Error`] itself, so that `?` takes every error.
#[derive(Debug)]
pub struct StageError(Box<dyn std::error::Error + Send + Sync>);

impl StageError {
    /// Wraps an error.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// Whether the stage stopped because it was told to.
    pub fn is_interrupted(&self) -> bool {
        self.0.is::<Interrupted>()
    }

    /// Whether the cache or the machine failed rather than the stage: the error or a cause of it says so.
    pub(crate) fn is_of_the_system(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*self.0);
        while let Some(error) = cause {
            let cache = error.is::<CacheError>()
                || matches!(error.downcast_ref(), Some(ArtifactError::Cache(_)))
                || matches!(error.downcast_ref(), Some(ZarrError::Cache(_)));
            if cache {
                return true;
            }
            // A transparent error stands for its cause, and then only the operating system's error is left to see.
            if let Some(error) = error.downcast_ref::<io::Error>() {
                use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
                return matches!(error.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
                    || crate::cache::is_broken_disk(error);
            }
            cause = error.source();
        }
        false
    }

    /// What to do about it, when the cache or the machine failed.
    pub(crate) fn advice(&self) -> Option<&'static str> {
        if self.is_of_the_system() { crate::cache::advice(&*self.0) } else { None }
    }

    /// The error that was wrapped, when it is an `E`.
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for StageError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for StageError {
    /// The error and its causes, from the outermost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut said = self.0.to_string();
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            // A transparent error repeats its source.
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            source = error.source();
        }
        Ok(())
    }
}

/// The run was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A request to stop, shared by all who have to notice it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everyone to stop at the next safe point.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether someone has asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// # Errors
    /// When someone has asked to stop.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.is_requested() { Err(Interrupted) } else { Ok(()) }
    }
}

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
    Path(#[from] crate::artifact::BadPath),
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
        let tree = Arc::new(Tree::single(entry.blob, entry.size));
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
        let entry = self.tree.get(path).ok_or_else(missing)?;
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
        let entry = self.tree.get(path).ok_or_else(missing)?;
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

    /// The Zarr group that this artifact is.
    ///
    /// # Errors
    /// When it is no Zarr v3 group.
    pub fn zarr(&self) -> Result<GroupReader, ZarrError> {
        GroupReader::open(self)
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

    /// The name under which a command finds it: that of the output that it is.
    pub(crate) fn label(&self) -> &str {
        match &self.place {
            Place::Cache { label, .. } => label,
            Place::Outside(_) | Place::Part(_) => &self.name,
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

/// An output as a stage writes it, straight into the cache. It may be shared by threads.
pub struct Output {
    name: String,
    staging: Arc<Staging>,
    files: Mutex<BTreeMap<ArtifactPath, Staged>>,
    /// Files whose blobs are in the cache already.
    linked: Mutex<BTreeMap<ArtifactPath, (Digest, u64)>>,
    /// Why the cache didn't take a file, where a library in between passes on no more than a text.
    failure: Mutex<Option<CacheError>>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Output {
    pub(crate) fn new(name: &str, staging: &Arc<Staging>) -> Arc<Self> {
        let staging = Arc::clone(staging);
        Arc::new(Self {
            name: name.to_owned(),
            staging,
            files: Mutex::default(),
            linked: Mutex::default(),
            failure: Mutex::default(),
        })
    }

    /// Writes the file `path` of the artifact, in place of one written before.
    ///
    /// # Errors
    /// When the path isn't allowed, or the file can't be written.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), ArtifactError> {
        let path = ArtifactPath::new(path)?;
        let staged = self.staging.write(bytes)?;
        self.put(path, staged);
        Ok(())
    }

    /// Writes the JSON document `path`, indented, with a newline at its end.
    ///
    /// # Errors
    /// When it can't be serialised or written.
    pub fn document<T: Serialize>(&self, path: &str, document: &T) -> Result<(), ArtifactError> {
        let mut json = serde_json::to_vec_pretty(document)
            .map_err(|source| ArtifactError::Serialise { path: path.to_owned(), source })?;
        json.push(b'\n');
        self.write(path, &json)
    }

    /// Starts the file `path` of the artifact. It is part of it once [`OutputFile::finish`] was called.
    ///
    /// # Errors
    /// When the path isn't allowed, or the file can't be made.
    pub fn create(&self, path: &str) -> Result<OutputFile<'_>, ArtifactError> {
        let path = ArtifactPath::new(path)?;
        Ok(OutputFile { output: self, path, writer: self.staging.writer()? })
    }

    /// Starts a Zarr v3 group: makes this artifact one, with these attributes.
    ///
    /// # Errors
    /// When its metadata can't be written.
    pub fn zarr(
        self: &Arc<Self>,
        attributes: serde_json::Map<String, serde_json::Value>,
    ) -> Result<GroupWriter, ZarrError> {
        GroupWriter::create(self, attributes)
    }

    /// Makes a group within the Zarr v3 group that this artifact is.
    ///
    /// # Errors
    /// When its metadata can't be written.
    pub fn zarr_subgroup(
        self: &Arc<Self>,
        name: &str,
        attributes: serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), ZarrError> {
        GroupWriter::create_at(self, &format!("/{name}"), attributes).map(|_| ())
    }

    pub(crate) fn put(&self, path: ArtifactPath, staged: Staged) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(path, staged);
    }

    /// Makes a blob that is in the cache a file of the artifact.
    pub(crate) fn link(&self, path: ArtifactPath, blob: Digest, size: u64) {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner).insert(path, (blob, size));
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn keep_failure(&self, error: CacheError) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(crate) fn take_failure(&self) -> Option<CacheError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn remove(&self, path: &str) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|written, _| written.as_str() != path);
    }

    /// The manifest of what was written, and the files that it names.
    pub(crate) fn finish(&self) -> Result<(Tree, Vec<Staged>), ArtifactError> {
        let files = std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner));
        let linked =
            std::mem::take(&mut *self.linked.lock().unwrap_or_else(PoisonError::into_inner));
        if files.is_empty() && linked.is_empty() {
            return Err(ArtifactError::NotWritten(self.name.clone()));
        }
        let entry = |(path, staged): (&ArtifactPath, &Staged)| Entry {
            path: path.clone(),
            blob: staged.blob,
            size: staged.size,
        };
        let linked = linked.into_iter().map(|(path, (blob, size))| Entry { path, blob, size });
        let tree = Tree::new(files.iter().map(entry).chain(linked).collect())
            .map_err(|source| ArtifactError::Output { output: self.name.clone(), source })?;
        Ok((tree, files.into_values().collect()))
    }
}

/// A file of an output being written.
pub struct OutputFile<'a> {
    output: &'a Output,
    path: ArtifactPath,
    writer: StagedWriter,
}

impl OutputFile<'_> {
    /// Makes the file part of the artifact.
    ///
    /// # Errors
    /// When its last bytes can't be written.
    pub fn finish(self) -> Result<(), ArtifactError> {
        let staged = self.writer.finish()?;
        self.output.put(self.path, staged);
        Ok(())
    }
}

impl Write for OutputFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// How a stage reports how far it is: done, of how many, of what (`spectra`, `epochs`).
pub(crate) type Progress<'a> = dyn Fn(u64, u64, &str) + Sync + 'a;

/// Everything that a stage sees while it runs.
pub struct Work<'a> {
    pub(crate) inputs: BTreeMap<String, Artifact>,
    pub(crate) outputs: BTreeMap<String, Arc<Output>>,
    pub(crate) progress: &'a Progress<'a>,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) notes: Mutex<BTreeMap<String, String>>,
    pub(crate) rows: Option<Range<u64>>,
    pub(crate) states: Option<&'a dyn StateStore>,
}

impl Work<'_> {
    /// The input called `name`.
    ///
    /// # Errors
    /// When the pipeline didn't give it.
    pub fn input(&self, name: &str) -> Result<&Artifact, ArtifactError> {
        self.inputs.get(name).ok_or_else(|| ArtifactError::NoInput(name.to_owned()))
    }

    /// The input called `name`, if the pipeline gave it.
    pub fn optional(&self, name: &str) -> Option<&Artifact> {
        self.inputs.get(name)
    }

    /// The output called `name`.
    ///
    /// # Errors
    /// When the kind doesn't declare it.
    pub fn output(&self, name: &str) -> Result<&Arc<Output>, ArtifactError> {
        self.outputs.get(name).ok_or_else(|| ArtifactError::NoOutput(name.to_owned()))
    }

    /// The rows, of the whole, that a row-mapped stage makes here. `None` when it makes the whole.
    pub fn rows(&self) -> Option<Range<u64>> {
        self.rows.clone()
    }

    /// The number, within the whole, of the first row that a row-mapped stage makes here.
    pub fn first_row(&self) -> u64 {
        self.rows.as_ref().map_or(0, |rows| rows.start)
    }

    /// The last state that an iterated stage left of this very computation at or before step `most`, if there is one.
    ///
    /// # Errors
    /// When the cache can't be read.
    pub fn last_state(&self, most: u64) -> Result<Option<Vec<u8>>, ArtifactError> {
        Ok(self.states.map(|states| states.last(most)).transpose()?.flatten())
    }

    /// Keeps the state of an iterated stage after `step` steps, to go on from when it is interrupted or extended.
    ///
    /// # Errors
    /// When the cache doesn't take it.
    pub fn keep_state(&self, step: u64, state: &[u8]) -> Result<(), ArtifactError> {
        Ok(self.states.map_or(Ok(()), |states| states.keep(step, state))?)
    }

    /// Reports how far the stage is: `done` of `total`, counted in `unit` (a plural: `spectra`, `epochs`).
    pub fn progress(&self, done: u64, total: u64, unit: &str) {
        (self.progress)(done, total, unit);
    }

    /// To be called at every point where stopping is safe, several times a second.
    ///
    /// # Errors
    /// When the run was told to stop.
    pub fn check_interrupt(&self) -> Result<(), Interrupted> {
        self.interrupt.check()
    }

    /// Puts a fact about this execution into the record, where it enters no fingerprint: the device, say.
    pub fn note(&self, key: &str, value: impl fmt::Display) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(key.to_owned(), value.to_string());
    }
}
