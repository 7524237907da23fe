//! The stage `fit`: finds the components of spectra by least squares, without a network.

use pipe_engine::{
    Exactness, Fault, InputPort, OutputPort, RowMap, RowsFrom, Shape, Stage, StageError, Work,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{CHUNK_ROWS, SPECTRA, SpectraReader, chunks},
    fit_outputs::{FIT_OUTPUTS, FitOutputs},
    fit_rows::{GivenNoise, fit_rows},
    spectra::fit::{FitSettings, FittedSpectrum, Selection},
};

/// The kind `fit`.
pub struct Fit;

/// Where the noise rms of a spectrum is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoiseFrom {
    /// `residual` for the spectra of a cube whose noise was measured among its lines, `given` for others.
    #[default]
    Auto,
    /// As it comes with the spectra.
    Given,
    /// Measured on what a first fit leaves, on which a second one rests.
    Residual,
}

/// What is expected of the components of a spectrum before it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriorFrom {
    /// The same for every field.
    #[default]
    Broad,
    /// What a first fit found in the field.
    Field,
}

/// What is looked for, and how it is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The smallest number of components of a spectrum.
    #[schemars(range(max = 64))]
    pub min_components: usize,
    /// The largest number of components of a spectrum.
    #[schemars(range(min = 1, max = 64))]
    pub max_components: usize,
    /// The smallest and the largest standard deviation of a component; `null` for 0.7 channels to an eighth of the
    /// axis.
    #[schemars(extend("unit" = "channels"))]
    pub sigma_channels: Option<[f64; 2]>,
    /// The least amplitude of a component, in units of the noise rms.
    #[schemars(range(min = 0), extend("unit" = "noise rms"))]
    pub min_snr: f64,
    /// Whether lines may be in absorption, with negative amplitudes, too.
    pub absorption: bool,
    /// How the number of components is chosen: `evidence` (Bayesian, in Laplace's approximation) or `bic` (the Bayesian
    /// information criterion).
    pub selection: Selection,
    /// What components are expected to be like under `selection: evidence`: `broad` (the same for every field) or
    /// `field` (as a first fit finds them in each 2,048 spectra: how many, how bright, where and how wide). `field` wants
    /// noise and a baseline that are what they are said to be: it expects more of whatever it takes for a component.
    pub prior: PriorFrom,
    /// Where the noise rms is taken from: `given` (as it comes with the spectra), `residual` (measured on what a first
    /// fit leaves, on which a second one rests), or `auto` (`residual` for the spectra of a cube where it was
    /// measured among the lines, `given` where it was given and for others).
    pub noise: NoiseFrom,
    /// The correlation of the noise of neighbouring channels; `null` for what was measured on the spectra of a cube, the
    /// median of each 2,048 of them, and 0 for others.
    #[schemars(range(min = -0.49, max = 0.49))]
    pub noise_correlation: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        let FitSettings { min_components, max_components, min_snr, absorption, selection, .. } =
            FitSettings::default();
        Self {
            min_components,
            max_components,
            sigma_channels: None,
            min_snr,
            absorption,
            selection,
            prior: PriorFrom::default(),
            noise: NoiseFrom::Auto,
            noise_correlation: None,
        }
    }
}

impl Config {
    pub(crate) fn settings(&self) -> FitSettings {
        FitSettings {
            min_components: self.min_components,
            max_components: self.max_components,
            sigma: self.sigma_channels.unwrap_or(FitSettings::default().sigma),
            min_snr: self.min_snr,
            absorption: self.absorption,
            selection: self.selection,
        }
    }
}

impl Stage for Fit {
    type Config = Config;

    const KIND: &'static str = "fit";
    const ABOUT: &'static str = "Finds the components of spectra by least squares, their number by evidence; without a network.";
    const REVISION: u32 = 5;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] =
        &[InputPort::required("spectra", SPECTRA, "the spectra, as they were observed")];
    const OUTPUTS: &'static [OutputPort] = FIT_OUTPUTS;

    fn check(config: &Config) -> Vec<Fault> {
        let mut faults = Vec::new();
        if config.min_components > config.max_components {
            faults.push(Fault::at(
                "min_components",
                format!(
                    "{} is larger than max_components, {}",
                    config.min_components, config.max_components
                ),
            ));
        }
        if let Some([low, high]) = config.sigma_channels
            && !(low >= 0.1 && high >= low && high.is_finite())
        {
            faults.push(Fault::at(
                "sigma_channels",
                format!("[{low}, {high}] must run from at least 0.1 channels to no less than that"),
            ));
        }
        if !(config.min_snr > 0.0 && config.min_snr.is_finite()) {
            faults.push(Fault::at(
                "min_snr",
                format!("must be positive, and {} is not", config.min_snr),
            ));
        }
        faults
    }

    fn shape(_: &Config) -> Shape {
        Shape::Rows(RowMap {
            rows: RowsFrom::Arrays(&[(
                "spectra",
                &["axis", "spectra", "noise_rms", "noise_correlation", "noise_given", "x", "y"],
            )]),
            broadcast: &[],
            chunk_rows: CHUNK_ROWS,
            unit: "spectra",
        })
    }

    fn run(config: &Config, work: &Work<'_>) -> Result<(), StageError> {
        let spectra = SpectraReader::open(work.input("spectra")?)?;
        let mut outputs = FitOutputs::create(work, &spectra, config.max_components)?;
        for (chunk, range) in chunks(spectra.rows()).into_iter().enumerate() {
            let rows = fit_rows(config, &spectra, &range, work, |fitter, _, spectrum, noise| {
                let GivenNoise { given, remeasure } = noise;
                let most = config.max_components;
                (FittedSpectrum::search(fitter, spectrum, given, remeasure, most), ())
            })?;
            let found: Vec<FittedSpectrum> = rows.into_iter().map(|(found, ())| found).collect();
            outputs.write(chunk as u64, range, &found)?;
        }
        outputs.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_its_key() {
        let default = Config::default;
        let cases = [
            (Config { min_components: 7, ..default() }, "min_components"),
            (Config { sigma_channels: Some([3.0, 2.0]), ..default() }, "sigma_channels"),
            (Config { sigma_channels: Some([0.0, 2.0]), ..default() }, "sigma_channels"),
            (Config { sigma_channels: Some([1.0, f64::INFINITY]), ..default() }, "sigma_channels"),
            (Config { min_snr: 0.0, ..default() }, "min_snr"),
        ];
        assert_eq!(Fit::check(&default()), []);
        for (config, key) in cases {
            let faults = Fit::check(&config);
            assert_eq!(faults.len(), 1, "{key}");
            assert_eq!(faults[0].path, [key]);
        }
    }
}
