//! The artifact `rows`.

use std::sync::Arc;

use pipe_engine::{ArraySpec, Artifact, Output};
use serde_json::Map;

use super::{LayoutError, ROWS, wrong};

/// Which rows train, validate and test; each sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// The rows to train on.
    pub training: Vec<u64>,
    /// The rows that decide when training stops.
    pub validation: Vec<u64>,
    /// The rows that nothing before the evaluation has seen.
    pub test: Vec<u64>,
}

impl Rows {
    /// Writes a `rows` artifact.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, output: &Arc<Output>) -> Result<(), LayoutError> {
        let group = output.zarr(Map::new())?;
        for (name, rows) in
            [("training", &self.training), ("validation", &self.validation), ("test", &self.test)]
        {
            let spec = ArraySpec {
                shape: vec![rows.len() as u64],
                dimensions: &["row"],
                chunk_rows: 1 << 17,
                unit: "",
                about: "rows of the spectra, sorted",
            };
            group.write(name, &spec, rows)?;
        }
        Ok(())
    }

    /// Reads a `rows` artifact, of spectra of which there are `available`.
    ///
    /// # Errors
    /// When it has another layout, or names rows that aren't there.
    pub fn read(artifact: &Artifact, available: u64) -> Result<Self, LayoutError> {
        let group = artifact.zarr()?;
        let read = |name: &str| -> Result<Vec<u64>, LayoutError> {
            let rows = group.array::<u64>(name)?.read_all()?;
            match rows.iter().find(|row| **row >= available) {
                Some(row) => Err(wrong(
                    artifact,
                    ROWS,
                    format!("row {row} of `{name}` is beyond the {available} spectra"),
                )),
                None => Ok(rows),
            }
        };
        Ok(Self {
            training: read("training")?,
            validation: read("validation")?,
            test: read("test")?,
        })
    }
}
