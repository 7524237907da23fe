//! An artifact as a stage writes it.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

use super::artifact::ArtifactError;
use crate::{
    base::{
        digest::Digest,
        tree::{ArtifactPath, Entry, Tree},
    },
    cache::{CacheError, Staged, StagedPlaces, StagedWriter, Staging},
};

/// An output as a stage writes it, straight into the cache. It may be shared by threads.
pub struct Output {
    name: String,
    staging: Arc<Staging>,
    files: Mutex<BTreeMap<ArtifactPath, Staged>>,
    /// Files whose blobs are in the cache already.
    linked: Mutex<BTreeMap<ArtifactPath, (Digest, u64)>>,
    /// The number of rows in a chunk of its arrays, where it is a chunk of rows itself, or put together from such.
    chunk_rows: Option<u64>,
    /// Why the cache didn't take a file, where a library in between passes on no more than a text.
    failure: Mutex<Option<CacheError>>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Output {
    #[cfg(test)]
    pub(crate) fn new(name: &str, staging: &Arc<Staging>) -> Arc<Self> {
        Self::of_rows(name, staging, None)
    }

    /// An output whose arrays have chunks of `chunk_rows` rows, if that is given.
    pub(crate) fn of_rows(
        name: &str,
        staging: &Arc<Staging>,
        chunk_rows: Option<u64>,
    ) -> Arc<Self> {
        let staging = Arc::clone(staging);
        Arc::new(Self {
            name: name.to_owned(),
            staging,
            files: Mutex::default(),
            linked: Mutex::default(),
            chunk_rows,
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

    /// Starts the file `path` of the artifact, of `size` bytes, to be written in any order by any number of threads; what
    /// isn't written is zeros. It is part of the artifact once [`PlacedFile::finish`] was called.
    ///
    /// # Errors
    /// When the path isn't allowed, or the file can't be made.
    pub fn create_sized(&self, path: &str, size: u64) -> Result<PlacedFile<'_>, ArtifactError> {
        let path = ArtifactPath::new(path)?;
        Ok(PlacedFile { output: self, path, places: self.staging.places(size)? })
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

    pub(crate) fn chunk_rows(&self) -> Option<u64> {
        self.chunk_rows
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
        let entry = |(path, staged): (&ArtifactPath, &Staged)| {
            Entry::plain(path.clone(), staged.blob, staged.size)
        };
        let linked = linked.into_iter().map(|(path, (blob, size))| Entry::plain(path, blob, size));
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

/// A file of an output of known size, written in any order.
pub struct PlacedFile<'a> {
    output: &'a Output,
    path: ArtifactPath,
    places: StagedPlaces,
}

impl PlacedFile<'_> {
    /// Writes `bytes` from `offset` on.
    ///
    /// # Errors
    /// When they would reach beyond the end of the file, or can't be written.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.places.write_at(offset, bytes)
    }

    /// Makes the file part of the artifact.
    ///
    /// # Errors
    /// When it can't be read back to be hashed.
    pub fn finish(self) -> Result<(), ArtifactError> {
        let staged = self.places.finish()?;
        self.output.put(self.path, staged);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::digest::Digest, cache::Cache};

    #[test]
    fn a_file_written_in_any_order_is_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("cache")).unwrap();
        let staging = Arc::new(Staging::new(&cache).unwrap());
        let output = Output::new("cube", &staging);
        // More than a block that is hashed at once.
        let size = (1 << 22) + 12_345;
        let bytes: Vec<u8> = (0..size).map(|i| (i / 7 % 251) as u8).collect();
        let file = output.create_sized("a.fits", size as u64).unwrap();
        std::thread::scope(|scope| {
            for part in 0..4 {
                let (file, bytes) = (&file, &bytes);
                scope.spawn(move || {
                    for (i, piece) in bytes.chunks(1000).enumerate().filter(|(i, _)| i % 4 == part)
                    {
                        file.write_at(1000 * i as u64, piece).unwrap();
                    }
                });
            }
        });
        assert!(file.write_at(size as u64 - 1, &[0, 0]).is_err());
        assert!(file.write_at(u64::MAX, &[0]).is_err());
        file.finish().unwrap();
        // What isn't written is zeros.
        output.create_sized("b.fits", 5).unwrap().finish().unwrap();
        let (tree, _staged) = output.finish().unwrap();
        let blob = |path: &str| tree.get(path).unwrap().blob;
        assert_eq!(blob("a.fits"), Digest::of(&bytes));
        assert_eq!(blob("b.fits"), Digest::of(&[0; 5]));
        assert_eq!(tree.get("a.fits").unwrap().size, size as u64);
    }
}
