//! An artifact as a stage writes it.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

use crate::{
    artifact::ArtifactError,
    cache::{CacheError, Staged, StagedWriter, Staging},
    digest::Digest,
    tree::{ArtifactPath, Entry, Tree},
    zarr::{GroupWriter, ZarrError},
};

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
