//! `maps`: what was found in a cube, as maps of the sky.

use pipe_engine::{
    ArtifactType, Exactness, Fault, Format, InputPort, OutputPort, Stage, StageError, Work,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{self, ComponentsReader, Sky, SpectraReader},
    figure_files,
    figures::{self, Figure, FileFormat, FileOptions, Labels, Map, MapKind, Thresholds},
    spectra::{Axis, Component},
};

/// The numbers that sum the maps up.
const SUMMARY: ArtifactType = ArtifactType::new("summary", Format::Document);

/// The file of a `summary`.
const SUMMARY_FILE: &str = "summary.json";

/// The most pixels that a sky may have; a survey of the whole Galactic plane has some million.
const MOST_PIXELS: usize = 200_000_000;

/// Beyond this many sigmas a component adds less than rounding does.
const REACH: f64 = 8.0;

/// The kind `maps`: draws maps of the components found in a cube, and how well they explain it.
pub struct Maps;

/// What `maps` draws, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Number of spectra shown, from the brightest pixel to the faintest; 0 leaves the figure out.
    #[schemars(range(min = 0, max = 64))]
    pub spectra: usize,
    /// Components of a smaller amplitude (in the unit of the spectra) get no curve of their own.
    #[schemars(range(min = 0.0))]
    pub amplitude_threshold: f64,
    /// Components of a smaller sigma (in the unit of the axis) get no curve of their own.
    #[schemars(range(min = 0.0))]
    pub sigma_threshold: f64,
    /// The formats of the files: `png`, `svg`, or both.
    #[schemars(length(min = 1))]
    pub formats: Vec<FileFormat>,
    /// Resolution of the PNG files at their printed size (7.1 inches wide).
    #[schemars(range(min = 36, max = 1200), extend("unit" = "dots per inch"))]
    pub dots_per_inch: u32,
    /// What the values of the spectra are called on the axes.
    pub intensity_name: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            spectra: 16,
            amplitude_threshold: 0.0,
            sigma_threshold: 0.0,
            formats: vec![FileFormat::Png, FileFormat::Svg],
            dots_per_inch: 300,
            intensity_name: "Intensity".to_owned(),
        }
    }
}

/// Why maps can't be drawn.
#[derive(Debug, thiserror::Error)]
pub enum MapsError {
    /// The spectra are not those of a cube.
    #[error("the spectra have no sky; maps need those that `import` makes from a cube")]
    NoSky,
    /// The catalogue is about other spectra.
    #[error("the catalogue has {catalogue} rows, but there are {spectra} spectra")]
    Rows {
        /// The rows of the catalogue.
        catalogue: u64,
        /// The rows of the spectra.
        spectra: u64,
    },
    /// The sky is larger than anything that can be drawn.
    #[error("a sky of {nx} by {ny} pixels is too large for a map")]
    Size {
        /// Pixels along axis 1.
        nx: usize,
        /// Pixels along axis 2.
        ny: usize,
    },
    /// A spectrum stands outside the sky.
    #[error("pixel ({x}, {y}) is outside a sky of {nx} by {ny} pixels")]
    Outside {
        /// The pixel along axis 1, from 0.
        x: u32,
        /// The pixel along axis 2, from 0.
        y: u32,
        /// Pixels along axis 1.
        nx: usize,
        /// Pixels along axis 2.
        ny: usize,
    },
}

impl Stage for Maps {
    type Config = Config;

    const KIND: &'static str = "maps";
    const ABOUT: &'static str = "Draws maps of the components found in a cube: their number, integrated intensity, and residual.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Reproducible;
    const INPUTS: &'static [InputPort] = &[
        InputPort::required("spectra", artifacts::SPECTRA, "the spectra of a cube"),
        InputPort::required("catalogue", artifacts::CATALOGUE, "the components found in them"),
    ];
    const OUTPUTS: &'static [OutputPort] = &[
        OutputPort::new(
            "figures",
            artifacts::FIGURES,
            "the maps, and spectra from bright to faint",
        ),
        OutputPort::new("summary", SUMMARY, "how many components there are and how well they fit"),
    ];

    fn check(config: &Config) -> Vec<Fault> {
        figure_files::check(&config.formats)
    }

    fn run(config: &Config, work: &Work<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(work.input("spectra")?)?;
        let catalogue = ComponentsReader::open(work.input("catalogue")?)?;
        if catalogue.rows() != spectra.rows() {
            return Err(
                MapsError::Rows { catalogue: catalogue.rows(), spectra: spectra.rows() }.into()
            );
        }
        let sky = spectra.head().sky.clone().ok_or(MapsError::NoSky)?;
        let lines = measure(&spectra, &catalogue, work)?;
        let field = Field::new(&sky, &spectra, &lines)?;
        let mut drawn = vec![("maps", field.draw(&sky, &spectra))];
        if config.spectra > 0 {
            drawn.push(("spectra", examples(config, &spectra, &catalogue, &lines)?));
        }
        work.output("summary")?.document(SUMMARY_FILE, &Summary::new(&lines))?;
        let options = FileOptions { formats: &config.formats, dots_per_inch: config.dots_per_inch };
        figure_files::write(&drawn, options, work)
    }
}

/// What is known of one line of sight.
#[derive(Debug, Clone, Copy, PartialEq)]
struct LineOfSight {
    count: usize,
    /// The areas of the components, in the unit of the spectra times that of the axis.
    intensity: f64,
    /// The rms of observed minus found, over the noise rms; NaN where nothing was observed.
    residual: f64,
    /// The sum of squares of the same over the degrees of freedom that three parameters a component
    /// leave; NaN where none are left.
    reduced_chi_squared: f64,
}

impl LineOfSight {
    fn new(axis: &Axis, observed: &[f32], rms: f64, found: &[Component]) -> Self {
        let mut squares = 0.0;
        let mut channels = 0_usize;
        for (channel, value) in observed.iter().enumerate() {
            if value.is_finite() {
                let x = axis.value(channel as f64);
                let near = found.iter().filter(|c| (x - c.mean).abs() < REACH * c.sigma);
                let residual = f64::from(*value) - near.map(|c| c.value(x)).sum::<f64>();
                squares += residual * residual;
                channels += 1;
            }
        }
        let usable = channels > 0 && rms.is_finite() && rms > 0.0;
        let over_noise = if usable { squares / (rms * rms) } else { f64::NAN };
        let freedom = channels as f64 - 3.0 * found.len() as f64;
        Self {
            count: found.len(),
            intensity: found.iter().map(Component::integral).sum(),
            residual: (over_noise / channels as f64).sqrt(),
            reduced_chi_squared: if freedom > 0.0 { over_noise / freedom } else { f64::NAN },
        }
    }

    /// Whether anything was observed.
    fn is_observed(&self) -> bool {
        self.residual.is_finite()
    }
}

/// Measures every row, in their order.
fn measure(
    spectra: &SpectraReader,
    catalogue: &ComponentsReader,
    work: &Work<'_>,
) -> Result<Vec<LineOfSight>, StageError> {
    let done = std::sync::atomic::AtomicU64::new(0);
    let channels = spectra.axis().channels;
    let chunk = |range: std::ops::Range<u64>| -> Result<Vec<LineOfSight>, StageError> {
        work.check_interrupt()?;
        let (values, noise) = (spectra.read(range.clone())?, spectra.noise(range.clone())?);
        let found = catalogue.read(range.clone())?;
        let rows = values.chunks_exact(channels.max(1)).zip(noise).zip(found);
        let lines = rows.map(|((observed, rms), found)| {
            LineOfSight::new(spectra.axis(), observed, rms, &found)
        });
        let lines = lines.collect();
        let rows = range.end - range.start;
        let done = done.fetch_add(rows, std::sync::atomic::Ordering::Relaxed) + rows;
        work.progress(done, spectra.rows(), "spectra");
        Ok(lines)
    };
    let chunks: Result<Vec<_>, StageError> =
        artifacts::chunks(spectra.rows()).into_par_iter().map(chunk).collect();
    Ok(chunks?.concat())
}

/// The maps, pixel by pixel; NaN where nothing was observed.
struct Field {
    count: Vec<f64>,
    intensity: Vec<f64>,
    residual: Vec<f64>,
}

impl Field {
    fn new(sky: &Sky, spectra: &SpectraReader, lines: &[LineOfSight]) -> Result<Self, StageError> {
        let (nx, ny) = (sky.nx, sky.ny);
        let size = nx.checked_mul(ny).filter(|size| *size <= MOST_PIXELS);
        let size = size.ok_or(MapsError::Size { nx, ny })?;
        let empty = || vec![f64::NAN; size];
        let mut field = Self { count: empty(), intensity: empty(), residual: empty() };
        let pixels = spectra.pixels(0..spectra.rows())?.ok_or(MapsError::NoSky)?;
        for ((x, y), line) in pixels.into_iter().zip(lines) {
            if x as usize >= nx || y as usize >= ny {
                return Err(MapsError::Outside { x, y, nx, ny }.into());
            }
            if line.is_observed() {
                let pixel = y as usize * nx + x as usize;
                field.count[pixel] = line.count as f64;
                field.intensity[pixel] = line.intensity;
                field.residual[pixel] = line.residual;
            }
        }
        Ok(field)
    }

    fn draw(&self, sky: &Sky, spectra: &SpectraReader) -> Figure {
        let unit = format!("{} {}", spectra.head().unit, spectra.axis().unit);
        let maps = [
            Map {
                title: "Number of components",
                unit: "",
                kind: MapKind::Count,
                values: &self.count,
            },
            Map {
                title: "Integrated intensity",
                unit: unit.trim(),
                kind: MapKind::Continuous,
                values: &self.intensity,
            },
            Map {
                title: "Residual rms / noise rms",
                unit: "",
                kind: MapKind::Continuous,
                values: &self.residual,
            },
        ];
        figures::maps(sky.nx, sky.ny, &maps)
    }
}

/// The rows that show the whole range of brightness: the brightest, the faintest, and evenly between.
fn from_bright_to_faint(lines: &[LineOfSight], count: usize) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..lines.len()).filter(|row| lines[*row].is_observed()).collect();
    rows.sort_by(|a, b| lines[*b].intensity.total_cmp(&lines[*a].intensity).then(a.cmp(b)));
    if rows.len() <= count || count == 0 {
        rows.truncate(count);
        return rows;
    }
    let last = rows.len() - 1;
    (0..count).map(|i| rows[i * last / (count - 1).max(1)]).collect()
}

fn examples(
    config: &Config,
    spectra: &SpectraReader,
    catalogue: &ComponentsReader,
    lines: &[LineOfSight],
) -> Result<Figure, StageError> {
    let mut read = Vec::new();
    for row in from_bright_to_faint(lines, config.spectra) {
        let one = row as u64..row as u64 + 1;
        let pixel = spectra.pixels(one.clone())?.and_then(|p| p.first().copied());
        let (x, y) = pixel.ok_or(MapsError::NoSky)?;
        let found = catalogue.read(one.clone())?.pop().unwrap_or_default();
        read.push((spectra.read(one)?, found, format!("x {x}, y {y}, found {}", lines[row].count)));
    }
    let panels: Vec<figures::SpectrumPanel> = read
        .iter()
        .map(|(observed, predicted, title)| figures::SpectrumPanel {
            observed,
            predicted,
            title: title.clone(),
        })
        .collect();
    let axis = spectra.axis();
    let labels = Labels {
        axis: figures::axis_name(&axis.unit),
        intensity: &config.intensity_name,
        unit: &spectra.head().unit,
    };
    let thresholds =
        Thresholds { amplitude: config.amplitude_threshold, sigma: config.sigma_threshold };
    Ok(figures::spectra(axis, &panels, &labels, thresholds))
}

/// The maps in numbers; a figure that isn't defined is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Lines of sight at which anything was observed.
    pub pixels: u64,
    /// Lines of sight at which nothing was observed, or the noise is unknown.
    pub missing: u64,
    /// Components found in all.
    pub components: u64,
    /// Components for each line of sight observed.
    pub components_per_pixel: Option<f64>,
    /// The rms of observed minus found, over the noise rms: 1 where the components explain all but noise.
    pub residual_over_noise: Middle,
    /// Chi-squared over the degrees of freedom, noise taken as independent from channel to channel.
    pub reduced_chi_squared: Middle,
}

/// The middle of many numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Middle {
    /// The median.
    pub median: Option<f64>,
    /// The mean.
    pub mean: Option<f64>,
}

impl Middle {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.filter(|v| v.is_finite()).collect();
        if values.is_empty() {
            return Self { median: None, mean: None };
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.sort_by(f64::total_cmp);
        let upper = values[values.len() / 2];
        let lower = values[(values.len() - 1) / 2];
        Self { median: Some(0.5 * (lower + upper)), mean: Some(mean) }
    }
}

impl Summary {
    fn new(lines: &[LineOfSight]) -> Self {
        let observed = || lines.iter().filter(|line| line.is_observed());
        let pixels = observed().count() as u64;
        let components = observed().map(|line| line.count as u64).sum();
        Self {
            pixels,
            missing: lines.len() as u64 - pixels,
            components,
            components_per_pixel: (pixels > 0).then(|| components as f64 / pixels as f64),
            residual_over_noise: Middle::of(observed().map(|line| line.residual)),
            reduced_chi_squared: Middle::of(observed().map(|line| line.reduced_chi_squared)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis() -> Axis {
        Axis { start: 0.0, step: 1.0, channels: 8, unit: "km/s".to_owned() }
    }

    #[test]
    fn a_line_of_sight_is_measured_against_its_noise() {
        let found = [Component { amplitude: 3.0, mean: 4.0, sigma: 1.0 }];
        let mut observed: Vec<f32> =
            axis().values().iter().map(|x| found[0].value(*x) as f32 + 0.5).collect();
        observed[7] = f32::NAN;
        let line = LineOfSight::new(&axis(), &observed, 0.25, &found);
        assert_eq!(line.count, 1);
        assert!((line.residual - 2.0).abs() < 1e-6);
        // Seven channels of (0.5 / 0.25)², less three parameters.
        assert!((line.reduced_chi_squared - 28.0 / 4.0).abs() < 1e-5);
        assert!((line.intensity - 3.0 * (2.0 * std::f64::consts::PI).sqrt()).abs() < 1e-12);
        for (observed, rms) in [(&[f32::NAN; 8], 0.1), (&[0.0; 8], 0.0), (&[0.0; 8], f64::NAN)] {
            assert!(!LineOfSight::new(&axis(), observed, rms, &[]).is_observed());
        }
    }

    fn lines() -> Vec<LineOfSight> {
        let line = |i: usize| LineOfSight {
            count: i,
            intensity: i as f64,
            residual: if i == 2 { f64::NAN } else { 1.0 + i as f64 },
            reduced_chi_squared: 1.0,
        };
        (0..6).map(line).collect()
    }

    #[test]
    fn a_summary_leaves_out_what_was_not_observed() {
        let summary = Summary::new(&lines());
        assert_eq!((summary.pixels, summary.missing, summary.components), (5, 1, 13));
        assert_eq!(summary.residual_over_noise.median, Some(4.0));
        let none = Summary::new(&[]);
        assert_eq!(none.components_per_pixel, None);
        assert_eq!(none.residual_over_noise, Middle { median: None, mean: None });
    }

    #[test]
    fn examples_span_bright_and_faint() {
        assert_eq!(from_bright_to_faint(&lines(), 3), [5, 3, 0]);
        assert_eq!(from_bright_to_faint(&lines(), 1), [5]);
        assert_eq!(from_bright_to_faint(&lines(), 50), [5, 4, 3, 1, 0]);
        assert!(from_bright_to_faint(&lines(), 0).is_empty());
    }
}
