//! The artifact `spectra`.

use std::{ops::Range, sync::Arc};

use pipe_engine::{ArrayReader, ArraySpec, ArrayWriter, Artifact, GroupReader, Output};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{CHUNK_ROWS, LayoutError, SPECTRA, wrong};
use crate::spectra::{Axis, CardValue, CubeHeader, SkyGrid, SpectralGrid, median};

/// The sky that the spectra of a cube cover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sky {
    /// Pixels along FITS axis 1.
    pub nx: usize,
    /// Pixels along FITS axis 2.
    pub ny: usize,
    /// The header cards of the two celestial axes, as (keyword, value in FITS spelling).
    pub cards: Vec<(String, String)>,
    /// The header cards of the spectral axis, which is numbered 3, in the same way. Its unit is that of the cube.
    #[serde(default)]
    pub spectral: Vec<(String, String)>,
}

/// The name of the group whose attributes are the sky. It depends on how many spectra there are, so it stands apart from
/// what describes each.
const SKY: &str = "sky";
/// The array that is there where the noise was given with a cube. An array rather than an attribute, because that is what
/// a block of rows sees.
const NOISE_GIVEN: &str = "noise_given";

impl Sky {
    /// Adds the sky to a `spectra` artifact.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, output: &Arc<Output>) -> Result<(), LayoutError> {
        let mut attributes = Map::new();
        attributes.insert("nx".into(), json!(self.nx));
        attributes.insert("ny".into(), json!(self.ny));
        attributes.insert("cards".into(), json!(self.cards));
        attributes.insert("spectral".into(), json!(self.spectral));
        Ok(output.zarr_subgroup(SKY, attributes)?)
    }

    /// The sky of a cube.
    pub fn of(header: &CubeHeader) -> Self {
        let spelled = |cards: &[(String, CardValue)]| {
            cards.iter().map(|(keyword, value)| (keyword.clone(), value.to_string())).collect()
        };
        let (cards, spectral) = (spelled(&header.sky.cards), spelled(&header.spectral.cards));
        Self { nx: header.nx, ny: header.ny, cards, spectral }
    }

    /// The celestial axes as a header has them.
    pub fn grid(&self) -> SkyGrid {
        SkyGrid { cards: read(&self.cards).unwrap_or_default() }
    }

    /// The spectral axis as a header has it, of spectra on `axis`.
    pub fn spectral_grid(&self, axis: &Axis) -> SpectralGrid {
        match read(&self.spectral) {
            Ok(cards) if !cards.is_empty() => SpectralGrid { cards },
            _ => SpectralGrid::linear("", axis),
        }
    }
}

/// Cards with their values read; the keyword of one whose value is none.
fn read(cards: &[(String, String)]) -> Result<Vec<(String, CardValue)>, String> {
    let value = |(keyword, value): &(String, String)| {
        let value = CardValue::parse(value).ok_or_else(|| keyword.clone())?;
        Ok((keyword.clone(), value))
    };
    cards.iter().map(value).collect()
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
    given: Option<ArrayWriter<u32>>,
}

impl SpectraWriter {
    /// Starts an artifact of `rows` spectra that have no place on the sky.
    ///
    /// # Errors
    /// When its metadata can't be written.
    pub fn create(
        output: &Arc<Output>,
        rows: u64,
        head: &SpectraHead,
    ) -> Result<Self, LayoutError> {
        Self::start(output, rows, head, None)
    }

    /// Starts an artifact of `rows` spectra of a cube, whose noise rms was given or measured. Its sky is written by
    /// [`Sky::write`].
    ///
    /// # Errors
    /// When its metadata can't be written.
    pub fn of_cube(
        output: &Arc<Output>,
        rows: u64,
        head: &SpectraHead,
        noise_is_given: bool,
    ) -> Result<Self, LayoutError> {
        Self::start(output, rows, head, Some(noise_is_given))
    }

    fn start(
        output: &Arc<Output>,
        rows: u64,
        head: &SpectraHead,
        of_cube: Option<bool>,
    ) -> Result<Self, LayoutError> {
        let mut attributes = Map::new();
        attributes.insert(
            "axis".into(),
            json!({"start": head.axis.start, "step": head.axis.step, "channels": head.axis.channels, "unit": head.axis.unit}),
        );
        attributes.insert("intensity_unit".into(), json!(head.unit));
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
        let mut given = None;
        if let Some(noise_is_given) = of_cube {
            pixels = Some([
                group.array("x", &per_row("pixel along FITS axis 1, from 0"))?,
                group.array("y", &per_row("pixel along FITS axis 2, from 0"))?,
            ]);
            let about = "correlation of the noise of neighbouring channels; NaN where unknown";
            correlation =
                Some(group.array("noise_correlation", &ArraySpec { unit: "1", ..per_row(about) })?);
            if noise_is_given {
                let about = "1: the rms of the noise was given, not measured among the lines";
                given = Some(group.array(NOISE_GIVEN, &per_row(about))?);
            }
        }
        Ok(Self {
            spectra: group.array("spectra", &spectra)?,
            noise: group.array("noise_rms", &noise)?,
            pixels,
            correlation,
            given,
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
        if let Some(given) = &self.given {
            given.write(chunk, &vec![1; x.len()])?;
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
        let sky = group.subgroup(SKY)?.map(Value::Object).unwrap_or_default();
        let sky: Option<Sky> = serde_json::from_value(sky)
            .map_err(|error| wrong(artifact, SPECTRA, format!("group `{SKY}`: {error}")))?;
        for cards in sky.iter().flat_map(|sky| [&sky.cards, &sky.spectral]) {
            read(cards).map_err(|keyword| {
                wrong(artifact, SPECTRA, format!("group `{SKY}`: the value of `{keyword}` is none"))
            })?;
        }
        let AxisAttribute { start, step, channels, unit } = axis;
        let unit_of_intensity = attribute("intensity_unit").as_str().unwrap_or_default().to_owned();
        let head = SpectraHead {
            axis: Axis { start, step, channels, unit },
            unit: unit_of_intensity,
            sky,
        };
        if group.has("axis") {
            let written = group.array::<f64>("axis")?.read_all()?;
            let axis = &head.axis;
            let near = |(channel, value): (usize, &f64)| {
                (axis.value(channel as f64) - value).abs() <= 1e-3 * axis.width()
            };
            if written.len() != channels || !written.iter().enumerate().all(near) {
                let why = "its array `axis` is not the axis that its attributes tell of";
                return Err(wrong(artifact, SPECTRA, why));
            }
        }
        let spectra = group.array::<f32>("spectra")?;
        let noise = group.array::<f64>("noise_rms")?;
        if spectra.shape() != [noise.rows(), channels as u64]
            || step == 0.0
            || !step.is_finite()
            || !start.is_finite()
        {
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

    /// Whether the rms of the noise was given with the cube, rather than measured among its lines.
    pub fn noise_is_given(&self) -> bool {
        self.group.has(NOISE_GIVEN)
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

    /// The median of what [`noise_correlation`](Self::noise_correlation) gives of some rows. The correlation is the
    /// spectrometer's, the same for all; many spectra tell it better than one. `None` where it wasn't measured on any.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn typical_correlation(&self, rows: Range<u64>) -> Result<Option<f64>, LayoutError> {
        Ok(median(self.noise_correlation(rows)?.unwrap_or_default()))
    }

    /// The pixels (x, y) of some rows, for spectra of a cube.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn pixels(&self, rows: Range<u64>) -> Result<Option<Vec<(u32, u32)>>, LayoutError> {
        if !self.group.has("x") {
            return Ok(None);
        }
        let x = self.group.array::<u32>("x")?.read(rows.clone())?;
        let y = self.group.array::<u32>("y")?.read(rows)?;
        Ok(Some(x.into_iter().zip(y).collect()))
    }
}
