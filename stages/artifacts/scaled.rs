//! The artifact `scaled`.

use std::{ops::Range, sync::Arc};

use pipe_engine::{ArrayReader, ArraySpec, ArrayWriter, Artifact, Output};
use serde_json::Map;

use super::{CHUNK_ROWS, LayoutError, SCALED, wrong};

/// Writes a `scaled` artifact, chunk by chunk, by any number of threads.
pub struct ScaledWriter(ArrayWriter<f32>);

impl ScaledWriter {
    /// Starts an artifact of `rows` spectra of `channels` channels.
    ///
    /// # Errors
    /// When its metadata can't be written.
    pub fn create(output: &Arc<Output>, rows: u64, channels: usize) -> Result<Self, LayoutError> {
        let spec = ArraySpec {
            shape: vec![rows, channels as u64],
            dimensions: &["row", "channel"],
            chunk_rows: CHUNK_ROWS,
            unit: "1",
            about: "scaled intensity; 0 where a channel is missing",
        };
        Ok(Self(output.zarr(Map::new())?.array("spectra", &spec)?))
    }

    /// Writes a chunk (rows × channels).
    ///
    /// # Errors
    /// When the length is wrong, or the chunk can't be written.
    pub fn write(&self, chunk: u64, spectra: &[f32]) -> Result<(), LayoutError> {
        Ok(self.0.write(chunk, spectra)?)
    }
}

/// Reads a `scaled` artifact.
pub struct ScaledReader(ArrayReader<f32>);

impl ScaledReader {
    /// Opens an artifact.
    ///
    /// # Errors
    /// When it has another layout.
    pub fn open(artifact: &Artifact) -> Result<Self, LayoutError> {
        let spectra = artifact.zarr()?.array::<f32>("spectra")?;
        if spectra.shape().len() != 2 {
            return Err(wrong(artifact, SCALED, "`spectra` is not (row, channel)"));
        }
        Ok(Self(spectra))
    }

    /// The number of spectra.
    pub fn rows(&self) -> u64 {
        self.0.rows()
    }

    /// The spectra of some rows (rows × channels).
    ///
    /// # Errors
    /// When they can't be read.
    pub fn read(&self, rows: Range<u64>) -> Result<Vec<f32>, LayoutError> {
        Ok(self.0.read(rows)?)
    }
}
