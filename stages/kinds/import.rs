//! The stage `import`: the spectra of a FITS cube.

use std::{
    fs::File,
    io::{BufReader, Write},
};

use pipe_engine::{
    ArtifactType, Exactness, Fault, InputPort, OutputPort, RowMap, RowsFrom, Shape, StageContext,
    StageError, StageKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{
        CHUNK_ROWS, SPECTRA, Sky, SpectraHead, SpectraWriter, row_chunks::for_each_chunk_with,
    },
    spectra::{Axis, CubeHeader, CubeReader, Noise, NoiseMap, NoiseMapError},
};

/// The spectra of a FITS cube.
pub struct Import;

/// A unit in which the axis of a cube may be wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum AxisUnit {
    /// As the cube has it.
    #[default]
    #[serde(rename = "keep")]
    Keep,
    /// Metres per second.
    #[serde(rename = "m/s")]
    MetresPerSecond,
    /// Kilometres per second.
    #[serde(rename = "km/s")]
    KilometresPerSecond,
    /// Hertz.
    #[serde(rename = "Hz")]
    Hertz,
    /// Megahertz.
    #[serde(rename = "MHz")]
    Megahertz,
    /// Gigahertz.
    #[serde(rename = "GHz")]
    Gigahertz,
}

/// How a cube is read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The unit of the axis: `keep`, or a velocity (`m/s`, `km/s`) for a velocity axis, a frequency (`Hz`, `MHz`,
    /// `GHz`) for a frequency axis.
    pub axis_unit: AxisUnit,
    /// Stretches of the axis, as [from, to], that are known to hold no line. The noise rms of a spectrum is then that
    /// of these channels; without any, lines are found and left out.
    #[schemars(extend("unit" = "axis_unit"))]
    pub line_free: Vec<[f64; 2]>,
    /// The noise rms of all spectra, in place of measuring it; `null` to measure.
    #[schemars(extend("unit" = "the cube's"))]
    pub noise_rms: Option<f64>,
}

/// What keeps a cube from being imported.
#[derive(Debug, thiserror::Error)]
enum ImportError {
    #[error("failed to read `{}`", path.display())]
    Open { path: std::path::PathBuf, source: std::io::Error },
    #[error("the axis of the cube is in `{found}`, which can't be turned into `{wanted}`")]
    Unit { found: String, wanted: &'static str },
    #[error(
        "no channel of the cube lies in the stretches of `line_free` (the axis runs from {from} to {to} {unit})"
    )]
    NoLineFree { from: f64, to: f64, unit: String },
    #[error("failed to read the noise map `{}`", path.display())]
    NoiseMap { path: std::path::PathBuf, source: NoiseMapError },
    #[error("the noise is that of the input `noise`: leave out the input or the key `{key}`")]
    NoiseTwice { key: &'static str },
    #[error("the cube has {found} pixels along an axis, more than {} can be numbered", u32::MAX)]
    Pixels { found: usize },
}

impl StageKind for Import {
    type Config = Config;

    const KIND: &'static str = "import";
    const ABOUT: &'static str = "Reads the spectra of a FITS cube and measures the noise of each.";
    const REVISION: u32 = 6;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required(
            "cube",
            ArtifactType::FILE,
            "a FITS file with an image of three or more axes, one of them a velocity, frequency or wavelength",
        ),
        InputPort::optional(
            "noise",
            ArtifactType::FILE,
            "a FITS map of the noise rms of the same pixels, in the cube's unit, in place of measuring it; NaN where it isn't known",
        ),
    ];
    const OUTPUTS: &'static [OutputPort] =
        &[OutputPort::new("spectra", SPECTRA, "a spectrum for each pixel, x running fastest")];

    fn check(config: &Config) -> Vec<Fault> {
        let mut faults = Vec::new();
        for [from, to] in &config.line_free {
            if from.partial_cmp(to).is_none_or(std::cmp::Ordering::is_gt) {
                faults.push(Fault::at(
                    "line_free",
                    format!("[{from}, {to}] must run from the smaller to the larger value"),
                ));
            }
        }
        if let Some(rms) = config.noise_rms
            && !(rms.is_finite() && rms > 0.0)
        {
            faults.push(Fault::at("noise_rms", format!("must be positive, and {rms} is not")));
        }
        faults
    }

    fn shape(_: &Config) -> Shape {
        Shape::Rows(RowMap {
            rows: RowsFrom::Inputs(&["cube", "noise"]),
            broadcast: &[],
            chunk_rows: CHUNK_ROWS,
            unit: "spectra",
        })
    }

    fn count_rows(config: &Config, context: &StageContext<'_>) -> Result<u64, StageError> {
        let cube = open(context)?;
        // What is wrong with the map as a whole is said before any row is looked up.
        open_noise(config, context, cube.header())?;
        Ok(cube.header().rows() as u64)
    }

    fn row_bytes(_: &Config, context: &StageContext<'_>) -> Result<u64, StageError> {
        Ok((open(context)?.header().axis.channels * size_of::<f32>()) as u64)
    }

    fn hash_rows(
        config: &Config,
        context: &StageContext<'_>,
        rows: std::ops::Range<u64>,
        into: &mut dyn Write,
    ) -> Result<(), StageError> {
        let mut cube = open(context)?;
        // Of the header, this and no more is seen in a spectrum.
        let CubeHeader { axis, unit, nx, .. } = cube.header();
        serde_json::to_writer(&mut *into, &(axis, unit, nx))?;
        let rows = rows.start as usize..rows.end as usize;
        for value in cube.rows(rows.clone())? {
            into.write_all(&value.to_le_bytes())?;
        }
        if let Some(noise) = &mut open_noise(config, context, cube.header())? {
            for value in noise.rows(rows)? {
                into.write_all(&value.to_le_bytes())?;
            }
        }
        Ok(())
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let header = open(context)?.header().clone();
        if let Some(found) = [header.nx, header.ny].into_iter().find(|&n| u32::try_from(n).is_err())
        {
            return Err(ImportError::Pixels { found }.into());
        }
        let head = SpectraHead {
            axis: in_unit(&header.axis, config.axis_unit)?,
            unit: header.unit.clone(),
            sky: None,
        };
        let line_free = line_free_channels(&head.axis, &config.line_free)?;

        let made = context.rows().unwrap_or(0..header.rows() as u64);
        let count = made.end - made.start;
        let is_given = config.noise_rms.is_some() || context.optional("noise").is_some();
        let writer = SpectraWriter::of_cube(context.output("spectra")?, count, &head, is_given)?;
        let open = || Ok((open(context)?, open_noise(config, context, &header)?));
        for_each_chunk_with(context, count, open, |(cube, noise_map), chunk, rows| {
            let rows = (made.start + rows.start) as usize..(made.start + rows.end) as usize;
            let spectra = cube.rows(rows.clone())?;
            let given = match noise_map {
                Some(map) => Some(map.rows(rows.clone())?),
                None => None,
            };
            let (noise, correlation): (Vec<f64>, Vec<f64>) = spectra
                .chunks_exact(head.axis.channels)
                .enumerate()
                .map(|(row, spectrum)| {
                    let measured = Noise::measure(spectrum);
                    let given = given.as_ref().map(|given| f64::from(given[row]));
                    let rms = match (given.or(config.noise_rms), line_free.as_deref()) {
                        (Some(rms), _) => rms,
                        (None, Some(channels)) => rms(spectrum, channels),
                        (None, None) => measured.map_or(f64::NAN, |noise| noise.rms),
                    };
                    // On no line-free channels the correlation isn't known.
                    let known = measured.filter(|noise| noise.channels > 0);
                    (rms, known.map_or(f64::NAN, |noise| noise.correlation))
                })
                .unzip();
            let (x, y): (Vec<u32>, Vec<u32>) =
                rows.map(|row| header.pixel(row)).map(|(x, y)| (x as u32, y as u32)).unzip();
            writer.write(chunk, &spectra, &noise)?;
            Ok(writer.write_pixels(chunk, &x, &y, &correlation)?)
        })
    }

    fn finish(_: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        Ok(Sky::of(open(context)?.header()).write(context.output("spectra")?)?)
    }
}

fn open(context: &StageContext<'_>) -> Result<CubeReader<BufReader<File>>, StageError> {
    let path = context.input("cube")?.file()?;
    let file =
        File::open(&path).map_err(|source| ImportError::Open { path: path.clone(), source })?;
    Ok(CubeReader::open(BufReader::new(file))?)
}

/// The noise map, where there is one.
fn open_noise(
    config: &Config,
    context: &StageContext<'_>,
    cube: &CubeHeader,
) -> Result<Option<NoiseMap<BufReader<File>>>, StageError> {
    let Some(map) = context.optional("noise") else { return Ok(None) };
    let said_otherwise =
        [("noise_rms", config.noise_rms.is_some()), ("line_free", !config.line_free.is_empty())];
    if let Some((key, _)) = said_otherwise.into_iter().find(|(_, is_said)| *is_said) {
        return Err(ImportError::NoiseTwice { key }.into());
    }
    let path = map.file()?;
    let file =
        File::open(&path).map_err(|source| ImportError::Open { path: path.clone(), source })?;
    let map = NoiseMap::open(BufReader::new(file), cube)
        .map_err(|source| ImportError::NoiseMap { path, source })?;
    Ok(Some(map))
}

/// The noise rms of these channels of a spectrum, NaN where there is nothing to measure it on.
fn rms(spectrum: &[f32], channels: &[usize]) -> f64 {
    let (mut squares, mut count) = (0.0, 0_u32);
    for value in
        channels.iter().map(|&channel| f64::from(spectrum[channel])).filter(|v| v.is_finite())
    {
        squares += value * value;
        count += 1;
    }
    let rms = (squares / f64::from(count)).sqrt();
    if rms > 0.0 { rms } else { f64::NAN }
}

/// The channels that lie in the stretches; `None` where there are no stretches.
fn line_free_channels(
    axis: &Axis,
    stretches: &[[f64; 2]],
) -> Result<Option<Vec<usize>>, ImportError> {
    if stretches.is_empty() {
        return Ok(None);
    }
    let values = axis.values();
    let is_free = |value: f64| stretches.iter().any(|[from, to]| (*from..=*to).contains(&value));
    let channels: Vec<usize> =
        (0..values.len()).filter(|&channel| is_free(values[channel])).collect();
    if channels.is_empty() {
        let [from, to] = [0.0, (axis.channels - 1) as f64].map(|channel| axis.value(channel));
        return Err(ImportError::NoLineFree { from, to, unit: axis.unit.clone() });
    }
    Ok(Some(channels))
}

/// The axis in another unit of the same quantity.
fn in_unit(axis: &Axis, wanted: AxisUnit) -> Result<Axis, ImportError> {
    // How many m/s or Hz a unit is.
    let scale = |unit: &str| match unit {
        "m/s" => Some(("velocity", 1.0)),
        "km/s" => Some(("velocity", 1e3)),
        "Hz" => Some(("frequency", 1.0)),
        "kHz" => Some(("frequency", 1e3)),
        "MHz" => Some(("frequency", 1e6)),
        "GHz" => Some(("frequency", 1e9)),
        _ => None,
    };
    let wanted = match wanted {
        AxisUnit::Keep => return Ok(axis.clone()),
        AxisUnit::MetresPerSecond => "m/s",
        AxisUnit::KilometresPerSecond => "km/s",
        AxisUnit::Hertz => "Hz",
        AxisUnit::Megahertz => "MHz",
        AxisUnit::Gigahertz => "GHz",
    };
    match (scale(&axis.unit), scale(wanted)) {
        (Some((from, old)), Some((to, new))) if from == to => Ok(Axis {
            start: axis.start * old / new,
            step: axis.step * old / new,
            channels: axis.channels,
            unit: wanted.to_owned(),
        }),
        _ => Err(ImportError::Unit { found: axis.unit.clone(), wanted }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis() -> Axis {
        Axis { start: -5000.0, step: 250.0, channels: 41, unit: "m/s".to_owned() }
    }

    #[test]
    fn the_axis_may_be_had_in_another_unit_of_its_kind() {
        let kilometres = in_unit(&axis(), AxisUnit::KilometresPerSecond).unwrap();
        assert_eq!(
            (kilometres.start, kilometres.step, kilometres.unit.as_str()),
            (-5.0, 0.25, "km/s")
        );
        assert_eq!(in_unit(&axis(), AxisUnit::Keep).unwrap(), axis());
        let error = in_unit(&axis(), AxisUnit::Gigahertz).unwrap_err().to_string();
        assert!(error.contains("`m/s`") && error.contains("`GHz`"), "{error}");
    }

    #[test]
    fn noise_may_be_measured_where_the_user_says() {
        let free =
            line_free_channels(&axis(), &[[-5000.0, -4500.0], [5000.0, 9000.0]]).unwrap().unwrap();
        assert_eq!(free, [0, 1, 2, 40]);
        let mut spectrum = [100.0_f32; 41];
        for (channel, value) in free.iter().zip([3.0, -3.0, f32::NAN, 3.0]) {
            spectrum[*channel] = value;
        }
        assert!((rms(&spectrum, &free) - 3.0).abs() < 1e-12);
        assert!(rms(&[f32::NAN; 41], &free).is_nan());
        assert!(line_free_channels(&axis(), &[[6000.0, 7000.0]]).is_err());
        assert_eq!(line_free_channels(&axis(), &[]).unwrap(), None);
    }

    #[test]
    fn swapped_stretches_and_noise_below_zero_are_faults() {
        let config =
            Config { line_free: vec![[2.0, 1.0]], noise_rms: Some(-1.0), ..Default::default() };
        let keys: Vec<String> =
            Import::check(&config).into_iter().flat_map(|fault| fault.path).collect();
        assert_eq!(keys, ["line_free", "noise_rms"]);
    }
}
