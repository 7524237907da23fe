//! The artifacts that several stages share: their types, and how their files are laid out.
//!
//! | type | files |
//! | --- | --- |
//! | `spectra` | Zarr: `spectra` (row, channel) f32, `axis` (channel) f64, `noise_rms` (row) f64; of a cube also `x`, `y` (row) u32, `noise_correlation` (row) f64, and where the noise was given with it, `noise_given` (row) u32 |
//! | `scaled` | Zarr: `spectra` (row, channel) f32, dimensionless, 0 where a channel is missing |
//! | `truth` | Zarr: `parameters` (row, component, parameter) f64, `counts` (row) u32 |
//! | `catalogue` | Zarr: as `truth`, and `probability` (row, component) f64, `count_probability` (row, count) f64; of `fit`, `refine` and `smooth`, instead of these, `uncertainty` (row, component, parameter) f64, `component_flags` (row, component) u32, `flags` (row) u32, `chi_squared`, `reduced_chi_squared`, `noise_rms` (row) f64, `log_evidence` (row, count) f64; of `refine` also `searched` (row) u32, of `smooth` `changed` (row) u32 |
//! | `rows` | Zarr: `training`, `validation`, `test` (row) u64 |
//! | `scaler` | `scaler.json` |
//! | `checkpoint` | `weights.safetensors`, `checkpoint.json` |
//! | `history` | `history.json`, `history.csv` |
//! | `metrics` | `metrics.json` |
//! | `fits` | FITS files: a table, cubes or images |
//! | `comparison` | `comparison.json` |
//!
//! The parameters of a component are amplitude (in the unit of the spectra), mean and sigma (in axis units), in this
//! order; components are sorted by mean, and NaN where a row has fewer.

mod components;
mod details;
pub(crate) mod device;
pub(crate) mod fit_outputs;
pub(crate) mod row_chunks;
mod rows;
mod scaled;
mod spectra;
pub(crate) mod truth_table;

use std::ops::Range;

use pipe_engine::{Artifact, ArtifactType, Format, ZarrError};
use thiserror::Error;

pub use self::{
    components::{ComponentsReader, ComponentsWriter},
    details::{DetailsReader, DetailsWriter},
    rows::Rows,
    scaled::{ScaledReader, ScaledWriter},
    spectra::{Sky, SpectraHead, SpectraReader, SpectraWriter},
};

/// Rows in a chunk of every array that has a row for each spectrum, and so in a unit of parallel work.
pub const CHUNK_ROWS: u64 = 2048;

/// Spectra with their axis and noise.
pub const SPECTRA: ArtifactType = ArtifactType::new("spectra", Format::Zarr);
/// Spectra as the network sees them.
pub const SCALED: ArtifactType = ArtifactType::new("scaled", Format::Zarr);
/// The components that spectra were made of.
pub const TRUTH: ArtifactType = ArtifactType::new("truth", Format::Zarr);
/// The components that were found in spectra.
pub const CATALOGUE: ArtifactType = ArtifactType::new("catalogue", Format::Zarr);
/// Which rows train, validate and test.
pub const ROWS: ArtifactType = ArtifactType::new("rows", Format::Zarr);
/// How spectra were scaled.
pub const SCALER: ArtifactType = ArtifactType::new("scaler", Format::Document);
/// A trained network.
pub const CHECKPOINT: ArtifactType = ArtifactType::new("checkpoint", Format::Checkpoint);
/// How a training went.
pub const HISTORY: ArtifactType = ArtifactType::new("history", Format::Document);
/// How good a catalogue is.
pub const METRICS: ArtifactType = ArtifactType::new("metrics", Format::Document);
/// How good several catalogues are.
pub const COMPARISON: ArtifactType = ArtifactType::new("comparison", Format::Document);
/// Tables for other programs.
pub const TABLE: ArtifactType = ArtifactType::new("table", Format::Table);
/// FITS files.
pub const FITS: ArtifactType = ArtifactType::new("fits", Format::Any);
/// Pictures.
pub const FIGURES: ArtifactType = ArtifactType::new("figures", Format::Picture);

/// The file of a `scaler`.
pub const SCALER_FILE: &str = "scaler.json";
/// The file of a `metrics`.
pub const METRICS_FILE: &str = "metrics.json";
/// The file of a `comparison`.
pub const COMPARISON_FILE: &str = "comparison.json";
/// The document of a `history`.
pub const HISTORY_FILE: &str = "history.json";
/// The weights of a `checkpoint`.
pub const WEIGHTS_FILE: &str = "weights.safetensors";
/// The document of a `checkpoint`.
pub const CHECKPOINT_FILE: &str = "checkpoint.json";

/// An artifact that doesn't hold what its type promises.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// It can't be read or written.
    #[error(transparent)]
    Zarr(#[from] ZarrError),
    /// Its attributes or shapes are wrong.
    #[error("`{artifact}` is no `{expected}` artifact: {why}")]
    Shape {
        /// The input's name.
        artifact: String,
        /// The type expected.
        expected: &'static str,
        /// What is wrong.
        why: String,
    },
}

fn wrong(artifact: &Artifact, expected: ArtifactType, why: impl Into<String>) -> LayoutError {
    LayoutError::Shape {
        artifact: artifact.name().to_owned(),
        expected: expected.name,
        why: why.into(),
    }
}

/// The chunks of `rows` rows, as ranges.
pub fn chunks(rows: u64) -> Vec<Range<u64>> {
    let starts = (0..rows.div_ceil(CHUNK_ROWS)).map(|chunk| chunk * CHUNK_ROWS);
    starts.map(|start| start..(start + CHUNK_ROWS).min(rows)).collect()
}
