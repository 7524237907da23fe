//! The artifacts that several stages share: their types, and how their files are laid out.
//!
//! | type | files |
//! | --- | --- |
//! | `spectra` | Zarr: `spectra` (row, channel) f32, `axis` (channel) f64, `noise_rms` (row) f64; of a cube also `x`, `y` (row) u32, `noise_correlation` (row) f64 |
//! | `scaled` | Zarr: `spectra` (row, channel) f32, dimensionless, 0 where a channel is missing |
//! | `truth` | Zarr: `parameters` (row, component, parameter) f64, `counts` (row) u32 |
//! | `catalogue` | Zarr: as `truth`, and `probability` (row, component) f64, `count_probability` (row, count) f64 |
//! | `rows` | Zarr: `training`, `validation`, `test` (row) u64 |
//! | `scaler` | `scaler.json` |
//! | `checkpoint` | `weights.safetensors`, `checkpoint.json` |
//! | `history` | `history.json`, `history.csv` |
//! | `metrics` | `metrics.json` |
//!
//! The parameters of a component are amplitude (in the unit of the spectra), mean and sigma (in axis units), in this
//! order; components are sorted by mean, and NaN where a row has fewer.

use std::{ops::Range, sync::Arc};

use pipe_engine::{
    ArrayReader, ArraySpec, ArrayWriter, Artifact, ArtifactType, Format, GroupReader, GroupWriter,
    Output, ZarrError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::spectra::{Axis, Component};

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
/// Tables for other programs.
pub const TABLE: ArtifactType = ArtifactType::new("table", Format::Table);
/// Pictures.
pub const FIGURES: ArtifactType = ArtifactType::new("figures", Format::Picture);

/// The file of a `scaler`.
pub const SCALER_FILE: &str = "scaler.json";
/// The file of a `metrics`.
pub const METRICS_FILE: &str = "metrics.json";
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

/// The sky that the spectra of a cube cover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sky {
    /// Pixels along FITS axis 1.
    pub nx: usize,
    /// Pixels along FITS axis 2.
    pub ny: usize,
    /// The header cards of the two celestial axes, as (keyword, value in FITS spelling).
    pub cards: Vec<(String, String)>,
}

/// What describes all spectra of an artifact.
#[derive(Debug, Clone, PartialEq)]
pub struct SpectraHead {
    /// The spectral axis.
    pub axis: Axis,
    /// The unit of intensity, or empty.
    pub unit: String,
    /// The sky, for spectra of a cube.
    pub sky: Option<Sky>,
}

/// Writes a `spectra` artifact, chunk by chunk, by any number of threads.
pub struct SpectraWriter {
    spectra: ArrayWriter<f32>,
    noise: ArrayWriter<f64>,
    pixels: Option<[ArrayWriter<u32>; 2]>,
    correlation: Option<ArrayWriter<f64>>,
}

impl SpectraWriter {
    /// Starts an artifact of `rows` spectra.
    ///
    /// # Errors
    /// When its metadata can't be written.
    pub fn create(
        output: &Arc<Output>,
        rows: u64,
        head: &SpectraHead,
    ) -> Result<Self, LayoutError> {
        let mut attributes = Map::new();
        attributes.insert(
            "axis".into(),
            json!({"start": head.axis.start, "step": head.axis.step, "channels": head.axis.channels, "unit": head.axis.unit}),
        );
        attributes.insert("intensity_unit".into(), json!(head.unit));
        if let Some(sky) = &head.sky {
            attributes.insert("sky".into(), json!(sky));
        }
        let group = output.zarr(attributes)?;
        let channels = head.axis.channels as u64;
        let axis = ArraySpec {
            shape: vec![channels],
            dimensions: &["channel"],
            chunk_rows: channels,
            unit: &head.axis.unit,
            about: "value at the centre of each channel",
        };
        group.write("axis", &axis, &head.axis.values())?;
        let spectra = ArraySpec {
            shape: vec![rows, channels],
            dimensions: &["row", "channel"],
            chunk_rows: CHUNK_ROWS,
            unit: &head.unit,
            about: "intensity; NaN where a channel is missing",
        };
        let per_row = |about| ArraySpec {
            shape: vec![rows],
            dimensions: &["row"],
            chunk_rows: CHUNK_ROWS,
            unit: "",
            about,
        };
        let noise = ArraySpec { unit: &head.unit, ..per_row("rms of the noise") };
        let mut pixels = None;
        let mut correlation = None;
        if head.sky.is_some() {
            pixels = Some([
                group.array("x", &per_row("pixel along FITS axis 1, from 0"))?,
                group.array("y", &per_row("pixel along FITS axis 2, from 0"))?,
            ]);
            let about = "correlation of the noise of neighbouring channels; NaN where unknown";
            correlation =
                Some(group.array("noise_correlation", &ArraySpec { unit: "1", ..per_row(about) })?);
        }
        Ok(Self {
            spectra: group.array("spectra", &spectra)?,
            noise: group.array("noise_rms", &noise)?,
            pixels,
            correlation,
        })
    }

    /// The number of chunks.
    pub fn chunks(&self) -> u64 {
        self.spectra.chunks()
    }

    /// The rows of a chunk.
    pub fn rows(&self, chunk: u64) -> Range<u64> {
        self.spectra.rows(chunk)
    }

    /// Writes a chunk: spectra (rows × channels) and the rms of the noise of each.
    ///
    /// # Errors
    /// When the lengths are wrong, or the chunk can't be written.
    pub fn write(&self, chunk: u64, spectra: &[f32], noise: &[f64]) -> Result<(), LayoutError> {
        self.spectra.write(chunk, spectra)?;
        Ok(self.noise.write(chunk, noise)?)
    }

    /// Writes what only spectra of a cube have: the pixels of a chunk, and the correlation of the noise of
    /// neighbouring channels. Nothing for spectra without a sky.
    ///
    /// # Errors
    /// When the lengths are wrong, or the chunk can't be written.
    pub fn write_pixels(
        &self,
        chunk: u64,
        x: &[u32],
        y: &[u32],
        correlation: &[f64],
    ) -> Result<(), LayoutError> {
        if let Some([xs, ys]) = &self.pixels {
            xs.write(chunk, x)?;
            ys.write(chunk, y)?;
        }
        if let Some(array) = &self.correlation {
            array.write(chunk, correlation)?;
        }
        Ok(())
    }
}

/// Reads a `spectra` artifact.
pub struct SpectraReader {
    head: SpectraHead,
    group: GroupReader,
    spectra: ArrayReader<f32>,
    noise: ArrayReader<f64>,
}

impl SpectraReader {
    /// Opens an artifact.
    ///
    /// # Errors
    /// When it has another layout.
    pub fn open(artifact: &Artifact) -> Result<Self, LayoutError> {
        #[derive(Deserialize)]
        struct AxisAttribute {
            start: f64,
            step: f64,
            channels: usize,
            unit: String,
        }
        let group = artifact.zarr()?;
        let attribute = |name: &str| group.attributes().get(name).cloned().unwrap_or(Value::Null);
        let axis: AxisAttribute = serde_json::from_value(attribute("axis"))
            .map_err(|error| wrong(artifact, SPECTRA, format!("attribute `axis`: {error}")))?;
        let sky: Option<Sky> = serde_json::from_value(attribute("sky"))
            .map_err(|error| wrong(artifact, SPECTRA, format!("attribute `sky`: {error}")))?;
        let AxisAttribute { start, step, channels, unit } = axis;
        let unit_of_intensity = attribute("intensity_unit").as_str().unwrap_or_default().to_owned();
        let head = SpectraHead {
            axis: Axis { start, step, channels, unit },
            unit: unit_of_intensity,
            sky,
        };
        let spectra = group.array::<f32>("spectra")?;
        let noise = group.array::<f64>("noise_rms")?;
        if spectra.shape() != [noise.rows(), channels as u64] || step == 0.0 || !step.is_finite() {
            return Err(wrong(artifact, SPECTRA, "the shapes of its arrays and its axis disagree"));
        }
        Ok(Self { head, group, spectra, noise })
    }

    /// What describes all spectra.
    pub fn head(&self) -> &SpectraHead {
        &self.head
    }

    /// The spectral axis.
    pub fn axis(&self) -> &Axis {
        &self.head.axis
    }

    /// The number of spectra.
    pub fn rows(&self) -> u64 {
        self.spectra.rows()
    }

    /// The spectra of some rows (rows × channels).
    ///
    /// # Errors
    /// When they can't be read.
    pub fn read(&self, rows: Range<u64>) -> Result<Vec<f32>, LayoutError> {
        Ok(self.spectra.read(rows)?)
    }

    /// The rms of the noise of some rows.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn noise(&self, rows: Range<u64>) -> Result<Vec<f64>, LayoutError> {
        Ok(self.noise.read(rows)?)
    }

    /// The correlation of the noise of neighbouring channels in some rows, NaN where unknown; `None` for spectra on
    /// which it wasn't measured.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn noise_correlation(&self, rows: Range<u64>) -> Result<Option<Vec<f64>>, LayoutError> {
        if !self.group.has("noise_correlation") {
            return Ok(None);
        }
        Ok(Some(self.group.array::<f64>("noise_correlation")?.read(rows)?))
    }

    /// The pixels (x, y) of some rows, for spectra of a cube.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn pixels(&self, rows: Range<u64>) -> Result<Option<Vec<(u32, u32)>>, LayoutError> {
        if self.head.sky.is_none() {
            return Ok(None);
        }
        let x = self.group.array::<u32>("x")?.read(rows.clone())?;
        let y = self.group.array::<u32>("y")?.read(rows)?;
        Ok(Some(x.into_iter().zip(y).collect()))
    }
}

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

/// The chunks of `rows` rows, as ranges.
pub fn chunks(rows: u64) -> Vec<Range<u64>> {
    let starts = (0..rows.div_ceil(CHUNK_ROWS)).map(|chunk| chunk * CHUNK_ROWS);
    starts.map(|start| start..(start + CHUNK_ROWS).min(rows)).collect()
}

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
