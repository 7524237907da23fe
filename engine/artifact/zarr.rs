//! Zarr v3 groups read from the cache in place, and written into it directly.
//!
//! Arrays are chunked along their first dimension only (the rows), uncompressed and little-endian, so that the same
//! elements are always the same bytes, and a longer array shares the chunks of a shorter one.

use std::{marker::PhantomData, ops::Range, sync::Arc};

use serde_json::{Map, Value, json};
use thiserror::Error;
use zarrs::{
    array::{Array, ArrayBuilder, ArrayMetadataOptions, Element, ElementOwned},
    group::{Group, GroupBuilder},
    metadata::FillValueMetadata,
};

use super::{
    artifact::Artifact,
    output::Output,
    rows::{LARGEST_METADATA, METADATA, ROW, is_backed},
    zarr_store::{ArtifactStore, OutputStore},
};
use crate::cache::CacheError;

/// What goes wrong with a Zarr group.
#[derive(Debug, Error)]
pub enum ZarrError {
    /// The artifact is no Zarr v3 group.
    #[error("`{artifact}` is not a Zarr v3 group: {why}")]
    Group {
        /// The artifact.
        artifact: String,
        /// Why not.
        why: String,
    },
    /// An array is missing or can't be read or written.
    #[error("array `{array}` of `{artifact}`: {why}")]
    Array {
        /// The artifact.
        artifact: String,
        /// The array.
        array: String,
        /// What is wrong.
        why: String,
    },
    /// What is written can't be stored.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A type of element that arrays have.
pub trait Scalar: Element + ElementOwned + Copy + Send + Sync + Default + 'static {
    /// Zarr's name for it.
    const NAME: &'static str;

    /// What stands where nothing was written.
    fn fill() -> Value;
}

macro_rules! scalar {
    ($($type:ty = $name:literal, $fill:expr;)*) => {$(
        impl Scalar for $type {
            const NAME: &'static str = $name;

            fn fill() -> Value {
                $fill
            }
        }
    )*};
}

scalar! {
    f32 = "float32", json!("NaN");
    f64 = "float64", json!("NaN");
    u8 = "uint8", json!(0);
    u32 = "uint32", json!(0);
    u64 = "uint64", json!(0);
}

/// What a new array is.
#[derive(Debug, Clone)]
pub struct ArraySpec<'a> {
    /// The number of elements along each dimension; the first counts rows.
    pub shape: Vec<u64>,
    /// The name of each dimension.
    pub dimensions: &'a [&'a str],
    /// The most rows in a chunk: an array of fewer is one chunk, and one that a row-mapped stage writes has chunks of the rows
    /// that the stage is run on.
    pub chunk_rows: u64,
    /// The unit of the elements, or empty.
    pub unit: &'a str,
    /// What the elements are, in one line.
    pub about: &'a str,
}

/// A Zarr group being written.
#[derive(Debug, Clone)]
pub struct GroupWriter {
    output: Arc<Output>,
}

impl GroupWriter {
    pub(crate) fn create(
        output: &Arc<Output>,
        attributes: Map<String, Value>,
    ) -> Result<Self, ZarrError> {
        Self::create_at(output, "/", attributes)
    }

    /// Makes the group at `path`.
    pub(crate) fn create_at(
        output: &Arc<Output>,
        path: &str,
        attributes: Map<String, Value>,
    ) -> Result<Self, ZarrError> {
        let why = |error: &dyn std::fmt::Display| ZarrError::Group {
            artifact: output.name().to_owned(),
            why: error.to_string(),
        };
        let store = Arc::new(OutputStore(Arc::clone(output)));
        let group =
            GroupBuilder::new().attributes(attributes).build(store, path).map_err(|e| why(&e))?;
        group.store_metadata().map_err(|e| stored(output, why(&e)))?;
        Ok(Self { output: Arc::clone(output) })
    }

    /// Starts the array `name`.
    ///
    /// # Errors
    /// When its shape makes no sense, or its metadata can't be written.
    pub fn array<T: Scalar>(
        &self,
        name: &str,
        spec: &ArraySpec<'_>,
    ) -> Result<ArrayWriter<T>, ZarrError> {
        let artifact = self.output.name().to_owned();
        let fail = |error: &dyn std::fmt::Display| ZarrError::Array {
            artifact: artifact.clone(),
            array: name.to_owned(),
            why: error.to_string(),
        };
        let mut chunk: Vec<u64> = spec.shape.iter().map(|n| (*n).max(1)).collect();
        let Some(rows) = chunk.first_mut() else { return Err(fail(&"it has no dimensions")) };
        let is_mapped = spec.dimensions.first() == Some(&ROW);
        let chunk_rows = match self.output.chunk_rows() {
            Some(chunk_rows) if is_mapped => chunk_rows,
            _ => spec.chunk_rows.min(*rows),
        }
        .max(1);
        *rows = chunk_rows;
        let fill: FillValueMetadata = serde_json::from_value(T::fill()).map_err(|e| fail(&e))?;
        let mut builder = ArrayBuilder::new(spec.shape.clone(), chunk, T::NAME, fill);
        let mut attributes = Map::new();
        if !spec.unit.is_empty() {
            attributes.insert("units".to_owned(), json!(spec.unit));
        }
        attributes.insert("description".to_owned(), json!(spec.about));
        builder.attributes(attributes).dimension_names(Some(spec.dimensions.iter().copied()));
        let store = Arc::new(OutputStore(Arc::clone(&self.output)));
        let array = builder.build(store, &format!("/{name}")).map_err(|e| fail(&e))?;
        // The library's version must not be in what is hashed.
        let options = ArrayMetadataOptions::default().with_include_zarrs_metadata(false);
        array.store_metadata_opt(&options).map_err(|e| stored(&self.output, fail(&e)))?;
        let row = spec.shape[1..].iter().product::<u64>() as usize;
        Ok(ArrayWriter {
            array,
            artifact,
            name: name.to_owned(),
            rows: spec.shape[0],
            chunk_rows,
            row,
            element: PhantomData,
        })
    }

    /// Writes the whole array `name` at once.
    ///
    /// # Errors
    /// As [`GroupWriter::array`] and [`ArrayWriter::write`].
    pub fn write<T: Scalar>(
        &self,
        name: &str,
        spec: &ArraySpec<'_>,
        elements: &[T],
    ) -> Result<(), ZarrError> {
        let array = self.array::<T>(name, spec)?;
        for chunk in 0..array.chunks() {
            let rows = array.rows(chunk);
            array.write(
                chunk,
                &elements[rows.start as usize * array.row..rows.end as usize * array.row],
            )?;
        }
        Ok(())
    }
}

/// What kept the cache from taking a file, if it was the cache; else `error`.
fn stored(output: &Output, error: ZarrError) -> ZarrError {
    output.take_failure().map_or(error, ZarrError::Cache)
}

/// An array being written, chunk by chunk, by any number of threads.
pub struct ArrayWriter<T> {
    array: Array<OutputStore>,
    artifact: String,
    name: String,
    rows: u64,
    chunk_rows: u64,
    row: usize,
    element: PhantomData<T>,
}

impl<T: Scalar> ArrayWriter<T> {
    /// The number of chunks.
    pub fn chunks(&self) -> u64 {
        self.rows.div_ceil(self.chunk_rows)
    }

    /// The rows of a chunk; the last one may have fewer than the others.
    pub fn rows(&self, chunk: u64) -> Range<u64> {
        chunk * self.chunk_rows..((chunk + 1) * self.chunk_rows).min(self.rows)
    }

    /// Writes the rows of a chunk, in C order.
    ///
    /// # Errors
    /// When the number of elements is wrong, or the chunk can't be written.
    pub fn write(&self, chunk: u64, elements: &[T]) -> Result<(), ZarrError> {
        let rows = self.rows(chunk);
        let expected = (rows.end - rows.start) as usize * self.row;
        if elements.len() != expected {
            return Err(self.fail(&format!(
                "chunk {chunk} has {expected} elements, but {} were given",
                elements.len()
            )));
        }
        let mut index = vec![0; self.array.shape().len()];
        index[0] = chunk;
        let whole = self.chunk_rows as usize * self.row;
        let done = if expected == whole {
            self.array.store_chunk(&index, elements)
        } else {
            // The last chunk is stored whole; what lies beyond the array is fill.
            let mut padded = elements.to_vec();
            padded.resize(whole, self.fill());
            self.array.store_chunk(&index, padded.as_slice())
        };
        done.map_err(|error| stored(&self.array.storage().0, self.fail(&error)))
    }

    fn fill(&self) -> T {
        let bytes = self.array.fill_value().as_ne_bytes().to_vec();
        let element = T::from_array_bytes(self.array.data_type(), bytes.into());
        element.ok().and_then(|elements| elements.first().copied()).unwrap_or_default()
    }

    fn fail(&self, error: &dyn std::fmt::Display) -> ZarrError {
        ZarrError::Array {
            artifact: self.artifact.clone(),
            array: self.name.clone(),
            why: error.to_string(),
        }
    }
}

/// A Zarr group being read.
#[derive(Debug, Clone)]
pub struct GroupReader {
    artifact: Artifact,
    attributes: Map<String, Value>,
}

impl GroupReader {
    pub(crate) fn open(artifact: &Artifact) -> Result<Self, ZarrError> {
        let fail = |why: String| ZarrError::Group { artifact: artifact.name().to_owned(), why };
        check_size(artifact, METADATA).map_err(fail)?;
        let store = Arc::new(ArtifactStore(artifact.clone()));
        let group = Group::open(store, "/").map_err(|error| fail(error.to_string()))?;
        Ok(Self { artifact: artifact.clone(), attributes: group.attributes().clone() })
    }

    /// The group's attributes.
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.attributes
    }

    /// The attributes of the group `name` within this one, if there is one.
    ///
    /// # Errors
    /// When it is no Zarr v3 group.
    pub fn subgroup(&self, name: &str) -> Result<Option<Map<String, Value>>, ZarrError> {
        if !self.has(name) {
            return Ok(None);
        }
        let fail = |why: String| {
            let artifact = format!("{}/{name}", self.artifact.name());
            ZarrError::Group { artifact, why }
        };
        check_size(&self.artifact, &format!("{name}/{METADATA}")).map_err(fail)?;
        let store = Arc::new(ArtifactStore(self.artifact.clone()));
        let group =
            Group::open(store, &format!("/{name}")).map_err(|error| fail(error.to_string()))?;
        Ok(Some(group.attributes().clone()))
    }

    /// Whether the group has an array or a group called `name`.
    pub fn has(&self, name: &str) -> bool {
        self.artifact.tree().get(&format!("{name}/zarr.json")).is_some()
    }

    /// Opens the array `name`.
    ///
    /// # Errors
    /// When it isn't there, or its elements aren't of type `T`.
    pub fn array<T: Scalar>(&self, name: &str) -> Result<ArrayReader<T>, ZarrError> {
        let fail = |why: String| ZarrError::Array {
            artifact: self.artifact.name().to_owned(),
            array: name.to_owned(),
            why,
        };
        if !self.has(name) {
            return Err(fail("it is missing".to_owned()));
        }
        check_size(&self.artifact, &format!("{name}/{METADATA}")).map_err(fail)?;
        let store = Arc::new(ArtifactStore(self.artifact.clone()));
        let array =
            Array::open(store, &format!("/{name}")).map_err(|error| fail(error.to_string()))?;
        T::validate_data_type(array.data_type()).map_err(|_| {
            fail(format!("its elements are {}, where {} are expected", array.data_type(), T::NAME))
        })?;
        if array.shape().is_empty() {
            return Err(fail("it has no dimensions".to_owned()));
        }
        let size = size_of::<T>() as u64;
        let mut lengths = array.shape().iter();
        let claimed = lengths.try_fold(size, |bytes, length| bytes.checked_mul(*length));
        if !claimed.is_some_and(|claimed| is_backed(self.artifact.tree(), name, claimed)) {
            let shape: Vec<String> = array.shape().iter().map(u64::to_string).collect();
            let shape = shape.join(" × ");
            return Err(fail(format!("it claims {shape} elements, which its files don't hold")));
        }
        Ok(ArrayReader {
            array,
            artifact: self.artifact.name().to_owned(),
            name: name.to_owned(),
            element: PhantomData,
        })
    }
}

/// Checks that a description is no larger than any that is meant for reading.
fn check_size(artifact: &Artifact, path: &str) -> Result<(), String> {
    match artifact.tree().get(path) {
        Some(entry) if entry.size > LARGEST_METADATA => {
            Err(format!("`{path}` is larger than {} MiB", LARGEST_METADATA >> 20))
        }
        _ => Ok(()),
    }
}

/// An array being read.
pub struct ArrayReader<T> {
    array: Array<ArtifactStore>,
    artifact: String,
    name: String,
    element: PhantomData<T>,
}

impl<T: Scalar> ArrayReader<T> {
    /// The number of elements along each dimension.
    pub fn shape(&self) -> &[u64] {
        self.array.shape()
    }

    /// The number of rows: the length of the first dimension.
    pub fn rows(&self) -> u64 {
        self.array.shape()[0]
    }

    /// The number of elements in a row.
    pub fn row_len(&self) -> usize {
        self.array.shape()[1..].iter().product::<u64>() as usize
    }

    /// The unit of the elements, or empty.
    pub fn unit(&self) -> &str {
        self.array.attributes().get("units").and_then(Value::as_str).unwrap_or_default()
    }

    /// The elements of some rows, in C order.
    ///
    /// # Errors
    /// When the rows aren't there, or can't be read.
    pub fn read(&self, rows: Range<u64>) -> Result<Vec<T>, ZarrError> {
        if rows.end > self.rows() {
            return Err(ZarrError::Array {
                artifact: self.artifact.clone(),
                array: self.name.clone(),
                why: format!(
                    "rows {}..{} are beyond its {} rows",
                    rows.start,
                    rows.end,
                    self.rows()
                ),
            });
        }
        let mut subset = vec![rows];
        subset.extend(self.array.shape()[1..].iter().map(|n| 0..*n));
        self.array.retrieve_array_subset::<Vec<T>>(&subset).map_err(|error| ZarrError::Array {
            artifact: self.artifact.clone(),
            array: self.name.clone(),
            why: error.to_string(),
        })
    }

    /// All elements, in C order.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn read_all(&self) -> Result<Vec<T>, ZarrError> {
        self.read(0..self.rows())
    }
}

impl Artifact {
    /// The Zarr group that this artifact is.
    ///
    /// # Errors
    /// When it is no Zarr v3 group.
    pub fn zarr(&self) -> Result<GroupReader, ZarrError> {
        GroupReader::open(self)
    }
}

impl Output {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Cache, Staging, publish};

    fn group(cache: &Cache, rows: u64) -> Artifact {
        let staging = Arc::new(Staging::new(cache).unwrap());
        let output = Output::new("spectra", &staging);
        let group =
            output.zarr(Map::from_iter([("axis".to_owned(), json!({"unit": "km/s"}))])).unwrap();
        let spec = ArraySpec {
            shape: vec![rows, 3],
            dimensions: &["row", "channel"],
            chunk_rows: 4,
            unit: "K",
            about: "intensity",
        };
        let array = group.array::<f32>("spectra", &spec).unwrap();
        for chunk in 0..array.chunks() {
            let rows = array.rows(chunk);
            let elements: Vec<f32> = (rows.start * 3..rows.end * 3).map(|i| i as f32).collect();
            array.write(chunk, &elements).unwrap();
        }
        let (tree, staged) = output.finish().unwrap();
        let tree = publish(cache, staging, staged, tree);
        Artifact::cached("spectra", "spectra", Arc::new(tree), cache)
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let artifact = group(&cache, 10);
        let array = artifact.zarr().unwrap().array::<f32>("spectra").unwrap();
        assert_eq!((array.shape(), array.unit()), (&[10, 3][..], "K"));
        let expected: Vec<f32> = (9..27).map(|i| i as f32).collect();
        assert_eq!(array.read(3..9).unwrap(), expected);
        assert_eq!(array.read_all().unwrap().len(), 30);
        assert!(array.read(9..11).is_err());
    }

    #[test]
    fn a_longer_array_shares_the_whole_chunks_of_a_shorter_one() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let (short, long) = (group(&cache, 8), group(&cache, 10));
        for chunk in ["spectra/c/0/0", "spectra/c/1/0"] {
            assert_eq!(short.tree().get(chunk).unwrap(), long.tree().get(chunk).unwrap());
        }
        assert_eq!(group(&cache, 10).tree(), long.tree());
    }

    #[test]
    fn no_version_of_a_library_is_in_what_is_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let artifact = group(&cache, 4);
        for path in ["zarr.json", "spectra/zarr.json"] {
            let text = String::from_utf8(artifact.read(path).unwrap()).unwrap();
            assert!(!text.contains("zarrs"), "{text}");
        }
    }

    #[test]
    fn a_wrong_type_and_a_missing_array_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let group = group(&cache, 4).zarr().unwrap();
        let wrong = group.array::<f64>("spectra").err().unwrap().to_string();
        assert!(wrong.contains("float64"), "{wrong}");
        assert!(group.array::<f64>("noise").is_err());
    }
}
