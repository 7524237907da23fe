//! The stage `generate`: synthetic spectra with their truth.

use pipe_engine::{
    Exactness, Fault, InputPort, OutputPort, RowMap, RowsFrom, Shape, StageContext, StageError,
    StageKind,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{
        CHUNK_ROWS, ComponentsWriter, SPECTRA, SpectraHead, SpectraReader, SpectraWriter, TRUTH,
        row_chunks::for_each_chunk,
    },
    spectra::{Amplitudes, Axis, NoiseLevel, Range, Recipe, RecipeError},
};

/// Synthetic spectra: Gaussian components with noise, and the truth about them.
pub struct Generate;

/// What the spectra look like. Ranges are `[low, high]`; values are drawn uniformly from them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The number of spectra.
    #[schemars(range(min = 1))]
    pub count: u64,
    /// The smallest number of components of a spectrum.
    #[schemars(range(max = 64))]
    pub min_components: usize,
    /// The largest number of components of a spectrum.
    #[schemars(range(min = 1, max = 64))]
    pub max_components: usize,
    /// The number of channels. Not used with the input `like`.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub channels: usize,
    /// The axis at the centre of the first channel. Not used with the input `like`.
    #[schemars(extend("unit" = "axis_unit"))]
    pub axis_start: f64,
    /// The axis at the centre of the last channel. Not used with the input `like`.
    #[schemars(extend("unit" = "axis_unit"))]
    pub axis_stop: f64,
    /// The unit of the axis. Not used with the input `like`.
    pub axis_unit: String,
    /// The unit of intensities. Not used with the input `like`.
    pub intensity_unit: String,
    /// The rms of the noise. Not used with the input `like`, whose own noise rms values are drawn from instead.
    #[schemars(extend("unit" = "intensity_unit"))]
    pub noise_rms: [f64; 2],
    /// The correlation of the noise of neighbouring channels; 0 is white noise. `null` for that of the input `like`,
    /// and white noise without it.
    #[schemars(range(min = -0.5, max = 0.5))]
    pub noise_correlation: Option<f64>,
    /// The amplitudes of components. Not used where `amplitude_snr` is given.
    #[schemars(extend("unit" = "intensity_unit"))]
    pub amplitude: [f64; 2],
    /// The amplitudes of components in units of the noise rms of their own spectrum, in place of `amplitude`.
    pub amplitude_snr: Option<[f64; 2]>,
    /// The means of components; `null` for the whole axis.
    #[schemars(extend("unit" = "axis_unit"))]
    pub mean: Option<[f64; 2]>,
    /// The standard deviations of components. Not used where `sigma_channels` is given.
    #[schemars(extend("unit" = "axis_unit"))]
    pub sigma: [f64; 2],
    /// The standard deviations of components in channels, in place of `sigma`.
    #[schemars(extend("unit" = "channels"))]
    pub sigma_channels: Option<[f64; 2]>,
    /// The seed of everything random.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            count: 11_000,
            min_components: 1,
            max_components: 2,
            channels: 140,
            axis_start: 1_204.822_626_82,
            axis_stop: 1_907.054_567_44,
            axis_unit: "km/s".to_owned(),
            intensity_unit: String::new(),
            noise_rms: [0.0007, 0.0008],
            noise_correlation: None,
            amplitude: [0.002, 0.05],
            amplitude_snr: None,
            mean: Some([1250.0, 1850.0]),
            sigma: [5.0, 30.0],
            sigma_channels: None,
            seed: 1,
        }
    }
}

impl Config {
    /// The axis that the config describes.
    fn axis(&self) -> Axis {
        let intervals = self.channels.saturating_sub(1).max(1) as f64;
        Axis {
            start: self.axis_start,
            step: (self.axis_stop - self.axis_start) / intervals,
            channels: self.channels,
            unit: self.axis_unit.clone(),
        }
    }

    /// The noise that the config describes.
    fn noise(&self) -> NoiseLevel {
        NoiseLevel::Uniform(range(self.noise_rms))
    }

    fn recipe(&self, axis: Axis, noise: NoiseLevel) -> Recipe {
        let [first, last] = [0.0, axis.channels.saturating_sub(1) as f64].map(|c| axis.value(c));
        let whole_axis = Range::new(first.min(last), first.max(last));
        let sigma = match self.sigma_channels {
            Some([low, high]) => Range::new(low * axis.width(), high * axis.width()),
            None => range(self.sigma),
        };
        Recipe {
            min_components: self.min_components,
            max_components: self.max_components,
            amplitude: match self.amplitude_snr {
                Some(snr) => Amplitudes::SignalToNoise(range(snr)),
                None => Amplitudes::Absolute(range(self.amplitude)),
            },
            mean: self.mean.map_or(whole_axis, range),
            sigma,
            noise,
            correlation: self.noise_correlation.unwrap_or(0.0),
            axis,
        }
    }
}

fn range([min, max]: [f64; 2]) -> Range {
    Range::new(min, max)
}

impl StageKind for Generate {
    type Config = Config;

    const KIND: &'static str = "generate";
    const ABOUT: &'static str =
        "Makes synthetic spectra of Gaussian components and noise, with their truth.";
    const REVISION: u32 = 2;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[InputPort::optional(
        "like",
        SPECTRA,
        "spectra whose axis, units and noise rms values the synthetic ones take over, such as a cube's",
    )];
    const OUTPUTS: &'static [OutputPort] = &[
        OutputPort::new("spectra", SPECTRA, "the spectra with their axis and noise rms"),
        OutputPort::new("truth", TRUTH, "the components that they were made of"),
    ];

    fn check(config: &Config) -> Vec<Fault> {
        let recipe = config.recipe(config.axis(), config.noise());
        recipe.check().err().map(|error| fault(config, &error)).into_iter().collect()
    }

    fn shape(_: &Config) -> Shape {
        Shape::Rows(RowMap {
            rows: RowsFrom::Key("count"),
            broadcast: &["like"],
            chunk_rows: CHUNK_ROWS,
            unit: "spectra",
        })
    }

    fn row_bytes(config: &Config, context: &StageContext<'_>) -> Result<u64, StageError> {
        let channels = match context.optional("like") {
            None => config.channels,
            Some(like) => SpectraReader::open(like)?.axis().channels,
        };
        Ok((channels * size_of::<f32>()) as u64)
    }

    fn run(config: &Config, context: &StageContext<'_>) -> Result<(), StageError> {
        let mut observed = None;
        let (axis, unit, noise) = match context.optional("like") {
            None => (config.axis(), config.intensity_unit.clone(), config.noise()),
            Some(like) => {
                let like = SpectraReader::open(like)?;
                let levels = like.noise(0..like.rows())?;
                observed = like.typical_correlation(0..like.rows())?;
                (like.axis().clone(), like.head().unit.clone(), NoiseLevel::Observed(levels))
            }
        };
        let mut recipe = config.recipe(axis, noise);
        if config.noise_correlation.is_none() {
            // A moving average of two channels, which is what is generated, reaches no further than one half.
            recipe.correlation = observed.unwrap_or(0.0).clamp(-0.5, 0.5);
        }
        recipe.check()?;

        let head = SpectraHead { axis: recipe.axis.clone(), unit, sky: None };
        let spectra = SpectraWriter::create(context.output("spectra")?, config.count, &head)?;
        let slots = config.max_components;
        let (truth, _) =
            ComponentsWriter::create(context.output("truth")?, config.count, slots, &head)?;
        for_each_chunk(context, config.count, |chunk, rows| {
            let count = (rows.end - rows.start) as usize;
            let mut values = Vec::with_capacity(count * recipe.axis.channels);
            let (mut noise, mut components) =
                (Vec::with_capacity(count), Vec::with_capacity(count));
            for row in rows {
                let spectrum = recipe.row(config.seed, context.first_row() + row);
                values.extend(spectrum.values);
                noise.push(spectrum.rms);
                components.push(spectrum.components);
            }
            spectra.write(chunk, &values, &noise)?;
            Ok(truth.write(chunk, &components)?)
        })
    }
}

/// The key that a recipe's error is about.
fn fault(config: &Config, error: &RecipeError) -> Fault {
    let sigma = if config.sigma_channels.is_some() { "sigma_channels" } else { "sigma" };
    let key = match error {
        RecipeError::Axis => "axis_stop",
        RecipeError::Components { .. } => "min_components",
        RecipeError::Correlation { .. } => "noise_correlation",
        RecipeError::NegativeNoise { .. } | RecipeError::NoObservedNoise => "noise_rms",
        RecipeError::Range { name, .. } | RecipeError::NotPositive { name, .. } => match *name {
            "sigma" => sigma,
            "noise rms" => "noise_rms",
            "signal-to-noise" => "amplitude_snr",
            other => other,
        },
    };
    Fault::at(key, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_seed_project() {
        let config = Config::default();
        assert_eq!(Generate::check(&config), []);
        let axis = config.axis();
        assert_eq!(axis.channels, 140);
        assert!((axis.value(139.0) - 1_907.054_567_44).abs() < 1e-9);
    }

    #[test]
    fn a_fault_names_its_key() {
        let default = Config::default;
        let cases = [
            (Config { min_components: 3, ..default() }, "min_components"),
            (Config { axis_stop: default().axis_start, ..default() }, "axis_stop"),
            (Config { sigma: [0.0, 1.0], ..default() }, "sigma"),
            (Config { sigma_channels: Some([2.0, 1.0]), ..default() }, "sigma_channels"),
            (Config { amplitude_snr: Some([9.0, 3.0]), ..default() }, "amplitude_snr"),
            (Config { mean: Some([9.0, 3.0]), ..default() }, "mean"),
            (Config { noise_rms: [-1.0, 3.0], ..default() }, "noise_rms"),
            (Config { noise_correlation: Some(0.7), ..default() }, "noise_correlation"),
        ];
        for (config, key) in cases {
            let faults = Generate::check(&config);
            assert_eq!(faults.len(), 1, "{key}");
            assert_eq!(faults[0].path, [key]);
        }
    }

    #[test]
    fn means_span_an_axis_that_runs_downwards() {
        let config = Config { mean: None, ..Config::default() };
        let axis = Axis { start: 10.0, step: -2.0, channels: 6, unit: String::new() };
        let recipe = config.recipe(axis, config.noise());
        assert_eq!(recipe.mean, Range::new(0.0, 10.0));
        assert_eq!(recipe.check(), Ok(()));
    }
}
