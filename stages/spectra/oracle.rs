//! The fit that knows the answer, which no honest one can beat: least squares from the truth.

use super::fit::{FitSettings, Fitter, NoiseModel, SpectrumFit};
use super::{Axis, Component};

/// The ranges in which the parameters of true components lie: what an oracle is allowed to find.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrueRanges {
    /// The smallest and the largest sigma, in axis units.
    sigma: [f64; 2],
    /// The least modulus of an amplitude, in units of the noise rms.
    least_signal: f64,
    /// Whether there are negative amplitudes.
    absorption: bool,
    /// The largest number of components.
    most: usize,
}

impl Default for TrueRanges {
    fn default() -> Self {
        Self {
            sigma: [f64::INFINITY, 0.0],
            least_signal: f64::INFINITY,
            absorption: false,
            most: 0,
        }
    }
}

impl TrueRanges {
    /// Takes in the true components of a spectrum, and its noise rms.
    pub fn push(&mut self, truth: &[Component], rms: f64) {
        self.most = self.most.max(truth.len());
        for component in truth {
            self.sigma[0] = self.sigma[0].min(component.sigma);
            self.sigma[1] = self.sigma[1].max(component.sigma);
            self.absorption |= component.amplitude < 0.0;
            let signal = component.amplitude.abs() / rms;
            if signal.is_finite() {
                self.least_signal = self.least_signal.min(signal);
            }
        }
    }

    fn settings(&self, axis: &Axis) -> FitSettings {
        let default = FitSettings::default();
        let known = self.sigma[0] <= self.sigma[1];
        FitSettings {
            min_components: 0,
            max_components: self.most,
            sigma: if known { self.sigma.map(|s| s / axis.width()) } else { default.sigma },
            min_snr: if self.least_signal.is_finite() {
                self.least_signal
            } else {
                default.min_snr
            },
            absorption: self.absorption,
            ..default
        }
    }
}

/// Fits as many components as there truly are, from where they truly are, within the ranges in which all of them lie.
///
/// What is left of its errors is the noise's doing: it is the ceiling that others are measured against.
pub struct Oracle(Fitter);

impl Oracle {
    /// An oracle for spectra on `axis`.
    pub fn new(axis: &Axis, ranges: &TrueRanges) -> Self {
        Self(Fitter::new(axis, ranges.settings(axis)))
    }

    /// The fit to a spectrum. `None` where there is nothing to fit: the noise isn't a positive number, or all channels
    /// are missing.
    pub fn fit(
        &mut self,
        spectrum: &[f32],
        noise: NoiseModel,
        truth: &[Component],
    ) -> Option<SpectrumFit> {
        self.0.fit(spectrum, noise, truth)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fit::CramerRao;
    use super::super::{
        Amplitudes, Deviations, Evaluation, MatchCriteria, NoiseLevel, Range, Recipe,
    };
    use super::*;

    /// Components that are never blended: there, the bound holds as it stands.
    fn recipe() -> Recipe {
        Recipe {
            axis: Axis { start: 0.0, step: 1.0, channels: 160, unit: String::new() },
            min_components: 1,
            max_components: 1,
            amplitude: Amplitudes::SignalToNoise(Range::new(10.0, 60.0)),
            mean: Range::new(30.0, 130.0),
            sigma: Range::new(2.0, 6.0),
            noise: NoiseLevel::Uniform(Range::new(0.5, 0.5)),
            correlation: 0.3,
        }
    }

    #[test]
    fn its_errors_are_as_large_as_the_bound_says() {
        let recipe = recipe();
        let rows: Vec<_> = (0..3_000).map(|row| recipe.row(12, row)).collect();
        let mut ranges = TrueRanges::default();
        for row in &rows {
            ranges.push(&row.components, row.rms);
        }
        let mut oracle = Oracle::new(&recipe.axis, &ranges);
        let mut cramer_rao = CramerRao::new(&recipe.axis);
        let mut evaluation = Evaluation::new(MatchCriteria::default(), 1.0, 1);
        for row in &rows {
            let noise = NoiseModel { rms: row.rms, correlation: recipe.correlation };
            let fit = oracle.fit(&row.values, noise, &row.components).unwrap();
            let found: Vec<Component> = fit.components.iter().map(|c| c.component).collect();
            let bound = cramer_rao.bound(&row.components, &row.values, noise).unwrap();
            let deviations = Deviations { bound: Some(&bound), stated: None };
            evaluation.push_with(&row.components, &found, row.rms, deviations);
        }
        let metrics = evaluation.finish();
        assert_eq!((metrics.count.accuracy, metrics.matched.f1), (Some(1.0), Some(1.0)));
        let all = metrics.cramer_rao.unwrap().matched.all;
        // Four standard deviations of a share of 9,000 errors, of which those of a component correlate.
        for (share, nominal) in
            [(all.within_1, 0.682_689), (all.within_2, 0.954_500), (all.within_3, 0.997_300)]
        {
            let room = 4.0 * (nominal * (1.0_f64 - nominal) / 3_000.0).sqrt();
            assert!((share.unwrap() - nominal).abs() < room, "{all:?}");
        }
    }

    #[test]
    fn ranges_are_those_of_all_components() {
        let axis = Axis { start: 0.0, step: -2.0, channels: 100, unit: String::new() };
        let mut ranges = TrueRanges::default();
        assert_eq!(
            ranges.settings(&axis),
            FitSettings { max_components: 0, ..FitSettings::default() }
        );
        let one = Component { amplitude: 3.0, mean: -20.0, sigma: 4.0 };
        ranges.push(&[one], 0.5);
        ranges.push(&[Component { amplitude: -1.0, sigma: 8.0, ..one }, one], 0.25);
        ranges.push(&[one], f64::NAN);
        let FitSettings { sigma, min_snr, absorption, max_components, .. } = ranges.settings(&axis);
        assert_eq!((sigma, min_snr.to_bits()), ([2.0, 4.0], 4.0_f64.to_bits()));
        assert_eq!((absorption, max_components), (true, 2));
    }
}
