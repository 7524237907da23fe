//! The cache as a Zarr store: where the library reads an artifact in place, and writes an output directly.

use std::sync::Arc;

use zarrs::storage::{
    Bytes, MaybeBytesIterator, OffsetBytesIterator, ReadableStorageTraits, StorageError, StoreKey,
    StorePrefix, WritableStorageTraits,
    byte_range::{ByteRangeIterator, extract_byte_ranges},
};

use super::{
    artifact::{Artifact, ArtifactError},
    output::Output,
};

/// An output as a Zarr store: a key is a file, staged in the cache as it is set.
pub(crate) struct OutputStore(pub(crate) Arc<Output>);

fn other(error: impl std::error::Error + Send + Sync + 'static) -> StorageError {
    StorageError::from(Arc::new(std::io::Error::other(error)))
}

impl WritableStorageTraits for OutputStore {
    fn set(&self, key: &StoreKey, value: Bytes) -> Result<(), StorageError> {
        match self.0.write(key.as_str(), &value) {
            Err(ArtifactError::Cache(error)) => {
                // The library only passes texts on: the error itself is kept for who called it.
                let text = error.to_string();
                self.0.keep_failure(error);
                Err(StorageError::Other(text))
            }
            done => done.map_err(other),
        }
    }

    fn set_partial_many(
        &self,
        _key: &StoreKey,
        _offset_values: OffsetBytesIterator<'_>,
    ) -> Result<(), StorageError> {
        Err(StorageError::Unsupported("an output is written in whole chunks".to_owned()))
    }

    fn erase(&self, key: &StoreKey) -> Result<(), StorageError> {
        self.0.remove(key.as_str());
        Ok(())
    }

    fn erase_prefix(&self, _prefix: &StorePrefix) -> Result<(), StorageError> {
        Err(StorageError::Unsupported("an output is written once".to_owned()))
    }

    fn supports_set_partial(&self) -> bool {
        false
    }
}

/// An artifact as a Zarr store: a key is a file of its tree.
pub(crate) struct ArtifactStore(pub(crate) Artifact);

impl ReadableStorageTraits for ArtifactStore {
    fn get_partial_many<'a>(
        &'a self,
        key: &StoreKey,
        byte_ranges: ByteRangeIterator<'a>,
    ) -> Result<MaybeBytesIterator<'a>, StorageError> {
        if self.0.tree().find(key.as_str()).is_none() {
            return Ok(None);
        }
        let bytes = self.0.read(key.as_str()).map_err(other)?;
        let ranges: Vec<_> = byte_ranges.collect();
        let parts = extract_byte_ranges(&bytes, ranges.into_iter())?;
        Ok(Some(Box::new(parts.into_iter().map(|part| Ok(part.into())))))
    }

    fn size_key(&self, key: &StoreKey) -> Result<Option<u64>, StorageError> {
        Ok(self.0.tree().find(key.as_str()).map(|entry| entry.size))
    }

    fn supports_get_partial(&self) -> bool {
        false
    }
}
