//! What is looked for in spectra, and how it is judged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spectra::fit::{FitSettings, Selection};

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
