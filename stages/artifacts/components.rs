//! The artifact `truth`, and the part of a `catalogue` that is like one.

use std::{ops::Range, sync::Arc};

use pipe_engine::{
    ArrayReader, ArraySpec, ArrayWriter, Artifact, GroupReader, GroupWriter, Output,
};
use serde_json::{Map, json};

use super::{CHUNK_ROWS, LayoutError, SpectraHead, TRUTH, wrong};
use crate::spectra::Component;

/// Writes a `truth` artifact, or the part of a `catalogue` that is like one, chunk by chunk.
pub struct ComponentsWriter {
    parameters: ArrayWriter<f64>,
    counts: ArrayWriter<u32>,
    slots: usize,
}

impl ComponentsWriter {
    /// Starts an artifact of `rows` spectra with at most `slots` components each; the group may take more arrays.
    ///
    /// # Errors
    /// When its metadata can't be written.
    pub fn create(
        output: &Arc<Output>,
        rows: u64,
        slots: usize,
        head: &SpectraHead,
    ) -> Result<(Self, GroupWriter), LayoutError> {
        let mut attributes = Map::new();
        attributes.insert("parameters".into(), json!(["amplitude", "mean", "sigma"]));
        attributes.insert("units".into(), json!([head.unit, head.axis.unit, head.axis.unit]));
        let group = output.zarr(attributes)?;
        let parameters = ArraySpec {
            shape: vec![rows, slots as u64, 3],
            dimensions: &["row", "component", "parameter"],
            chunk_rows: CHUNK_ROWS,
            unit: "",
            about: "amplitude, mean and sigma of each component, sorted by mean; NaN where absent",
        };
        let counts = ArraySpec {
            shape: vec![rows],
            dimensions: &["row"],
            chunk_rows: CHUNK_ROWS,
            unit: "",
            about: "number of components",
        };
        let writer = Self {
            parameters: group.array("parameters", &parameters)?,
            counts: group.array("counts", &counts)?,
            slots,
        };
        Ok((writer, group))
    }

    /// Writes the components of a chunk's rows, each sorted by mean.
    ///
    /// # Errors
    /// When the number of rows is wrong, or the chunk can't be written.
    pub fn write(&self, chunk: u64, components: &[Vec<Component>]) -> Result<(), LayoutError> {
        let mut parameters = vec![f64::NAN; components.len() * self.slots * 3];
        for (row, found) in components.iter().enumerate() {
            for (slot, component) in found.iter().take(self.slots).enumerate() {
                let at = (row * self.slots + slot) * 3;
                parameters[at..at + 3].copy_from_slice(&[
                    component.amplitude,
                    component.mean,
                    component.sigma,
                ]);
            }
        }
        let counts: Vec<u32> =
            components.iter().map(|found| found.len().min(self.slots) as u32).collect();
        self.parameters.write(chunk, &parameters)?;
        Ok(self.counts.write(chunk, &counts)?)
    }
}

/// Reads a `truth` artifact, or the part of a `catalogue` that is like one.
pub struct ComponentsReader {
    parameters: ArrayReader<f64>,
    counts: ArrayReader<u32>,
    group: GroupReader,
    slots: usize,
}

impl ComponentsReader {
    /// Opens an artifact.
    ///
    /// # Errors
    /// When it has another layout.
    pub fn open(artifact: &Artifact) -> Result<Self, LayoutError> {
        let group = artifact.zarr()?;
        let parameters = group.array::<f64>("parameters")?;
        let counts = group.array::<u32>("counts")?;
        let slots = match *parameters.shape() {
            [rows, slots, 3] if rows == counts.rows() => slots as usize,
            _ => return Err(wrong(artifact, TRUTH, "`parameters` is not (row, component, 3)")),
        };
        Ok(Self { parameters, counts, group, slots })
    }

    /// The number of spectra.
    pub fn rows(&self) -> u64 {
        self.counts.rows()
    }

    /// The most components that a row can have.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The parameters of some rows as they are stored: rows × slots × 3.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn parameters(&self, rows: Range<u64>) -> Result<Vec<f64>, LayoutError> {
        Ok(self.parameters.read(rows)?)
    }

    /// The number of components of some rows.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn counts(&self, rows: Range<u64>) -> Result<Vec<u32>, LayoutError> {
        Ok(self.counts.read(rows)?)
    }

    /// The components of some rows, each sorted by mean.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn read(&self, rows: Range<u64>) -> Result<Vec<Vec<Component>>, LayoutError> {
        let parameters = self.parameters(rows.clone())?;
        let counts = self.counts(rows)?;
        let width = self.slots * 3;
        Ok(counts
            .iter()
            .enumerate()
            .map(|(row, count)| {
                let row = &parameters[row * width..(row + 1) * width];
                row.chunks_exact(3)
                    .take(*count as usize)
                    .map(|p| Component { amplitude: p[0], mean: p[1], sigma: p[2] })
                    .collect()
            })
            .collect())
    }

    /// The probability of each slot's component (rows × slots), for a catalogue.
    ///
    /// # Errors
    /// When the artifact has none, or they can't be read.
    pub fn probabilities(&self, rows: Range<u64>) -> Result<Vec<f64>, LayoutError> {
        Ok(self.group.array::<f64>("probability")?.read(rows)?)
    }
}
