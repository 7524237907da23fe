//! A fit, and the noise that it rests on.

use super::NoiseModel;
use super::fitter::{Fitter, SpectrumFit};

/// What was found in a spectrum, and the noise rms that this rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedSpectrum {
    /// What was found.
    pub fit: SpectrumFit,
    /// The rms of the noise, in the spectrum's unit.
    pub noise_rms: f64,
}

impl FittedSpectrum {
    /// Where there is nothing to fit: no component, and everything else NaN.
    pub fn nothing(max_components: usize, noise_rms: f64) -> Self {
        let fit = SpectrumFit {
            chi_squared: f64::NAN,
            reduced_chi_squared: f64::NAN,
            log_evidence: vec![f64::NAN; max_components + 1],
            ..SpectrumFit::default()
        };
        Self { fit, noise_rms }
    }

    /// The components of a spectrum, found from nothing; where `remeasure`, twice, the second time with the noise rms
    /// that was measured on what the first fit left.
    pub fn search(
        fitter: &mut Fitter,
        spectrum: &[f32],
        given: NoiseModel,
        remeasure: bool,
        max_components: usize,
    ) -> Self {
        let Some(first) = fitter.search(spectrum, given) else {
            return Self::nothing(max_components, given.rms);
        };
        if remeasure
            && let Some(rms) = fitter.measure_noise(spectrum, &first)
            && let Some(again) = fitter.search(spectrum, NoiseModel { rms, ..given })
        {
            return Self { fit: again, noise_rms: rms };
        }
        Self { fit: first, noise_rms: given.rms }
    }
}
