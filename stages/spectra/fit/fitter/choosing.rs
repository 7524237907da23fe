//! The most probable of several starts, where something besides the spectrum tells what is probable.

use super::super::parameters::{to_component, to_uncertainty};
use super::{Candidate, Fitter, NoiseModel, SpectrumFit};
use crate::spectra::{ByParameter, Component};

/// By how much the logarithm of the evidence must rise: by more than what Laplace's approximation is wrong by in a fit that is
/// reached from two sides.
const LEAST_GAIN: f64 = 0.1;

impl Fitter {
    /// Fits a spectrum from each of the starts, and gives the most probable fit unless that is the one from the first.
    ///
    /// `log_prior` is what is to be added to the logarithm of the evidence of a fit, given its components with their standard
    /// deviations, and the logarithm of the prior density at each (in units of the noise rms and of channels) that the evidence
    /// holds already. Starts with more components than the settings allow, or fewer, are passed over.
    ///
    /// `None` also where there is nothing to fit.
    pub fn choose(
        &mut self,
        spectrum: &[f32],
        noise: NoiseModel,
        first: &[Component],
        others: &[Vec<Component>],
        log_prior: impl Fn(&[(Component, ByParameter<f64>)], f64) -> f64,
    ) -> Option<SpectrumFit> {
        self.take(spectrum, noise)?;
        let mut best = self.weighed(first, noise, &log_prior);
        let as_it_is = best.1;
        let (least, most) = (self.settings.min_components, self.settings.max_components);
        let mut chosen = false;
        for start in others {
            if !(least..=most).contains(&start.len()) || 3 * start.len() >= self.channels.present {
                continue;
            }
            let found = self.weighed(start, noise, &log_prior);
            if found.0.converged && found.1 > as_it_is + LEAST_GAIN && found.1 > best.1 {
                best = found;
                chosen = true;
            }
        }
        chosen.then(|| self.finish(&best.0, noise))
    }

    /// The fit from a start, and the logarithm of its evidence.
    fn weighed(
        &mut self,
        start: &[Component],
        noise: NoiseModel,
        log_prior: &impl Fn(&[(Component, ByParameter<f64>)], f64) -> f64,
    ) -> (Candidate, f64) {
        let candidate = self.fitted(start, noise);
        let found: Vec<(Component, ByParameter<f64>)> = candidate
            .parameters
            .iter()
            .zip(&self.posterior.deviations)
            .map(|(parameters, deviations)| {
                let component = to_component(*parameters, &self.axis, noise.rms);
                (component, to_uncertainty(*deviations, &self.axis, noise.rms))
            })
            .collect();
        let log = candidate.log_evidence + log_prior(&found, self.prior.log_density());
        (candidate, log)
    }
}
