//! From a proposal to a fit, in as few least squares as will do.

use super::super::shape::misfit;
use super::super::starts::halves;
use super::{Candidate, FitSettings, Fitter, NoiseModel, Parameters, SpectrumFit};
use crate::spectra::Component;

/// A component is tried to be left out where χ² would rise by less than this, as far as the fit can tell: several times
/// what any number of components is chosen by.
const CERTAIN: f64 = 40.0;
/// Another component is tried where a matched filter finds more than this in the residual, in its noise squared.
const SHOWS: f64 = 9.0;
/// A component is tried as two halves where its [`misfit`] is more than this.
const ASKEW: f64 = 5.0;

/// By how much the logarithm of the evidence must rise for another number of components: by more than fits of the same
/// components differ by, or one would lead to the other and back without end.
const LEAST_GAIN: f64 = 1e-3;

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq)]
pub struct Refined {
    /// What was found.
    pub fit: SpectrumFit,
    /// The rms of the noise that it rests on.
    pub noise_rms: f64,
    /// Whether the proposal led to no good fit, so that the components were searched for from nothing.
    pub searched: bool,
}

impl Fitter {
    /// Fits the components of a proposal, and finds whether fewer or more of them are more probable.
    ///
    /// A component is tried to be left out unless it is certain: leaving it out would raise χ² by a²/var(a), as far as the
    /// quadratic form of the fit tells (Wald 1943). Another is tried where a matched filter over the residual finds
    /// something, and in place of a component as two halves of it, as in [`search`](Self::search), where the residual tells
    /// that it isn't one Gaussian; where that isn't more probable, in exchange for one that it makes needless. What makes
    /// the whole more probable is kept, until nothing does. Where the fit is poor
    /// even then, the components are searched for from nothing, and the more probable of the two is the answer.
    ///
    /// Where `remeasure`, the noise rms is measured on what the proposal's fit leaves, and once more if the components
    /// changed after that.
    ///
    /// `None` as in [`search`](Self::search).
    pub fn refine(
        &mut self,
        spectrum: &[f32],
        given: NoiseModel,
        remeasure: bool,
        proposal: &[Component],
    ) -> Option<Refined> {
        self.take(spectrum, given)?;
        let mut noise = given;
        let usable =
            |c: &&Component| c.amplitude.is_finite() && c.mean.is_finite() && c.sigma > 0.0;
        let most = self.settings.max_components.min((self.channels.present - 1) / 3);
        let start: Vec<Component> = proposal.iter().filter(usable).take(most).copied().collect();
        let mut best = self.fitted(&start, noise);
        if remeasure {
            best = self.with_noise_measured(spectrum, best, &mut noise);
        }
        let (mut best, changed) = self.settled(best);
        if remeasure && changed {
            best = self.with_noise_measured(spectrum, best, &mut noise);
            best = self.settled(best).0;
        }
        let searched = !best.converged || self.is_poor(&best);
        if searched {
            let nothing = self.polished(&[]);
            let other = self.grown(nothing);
            if other.log_evidence > best.log_evidence {
                best = other;
            }
        }
        Some(Refined { fit: self.finish(&best, noise), noise_rms: noise.rms, searched })
    }

    /// Measures the noise rms on what a fit leaves, and fits again with that.
    fn with_noise_measured(
        &mut self,
        spectrum: &[f32],
        best: Candidate,
        noise: &mut NoiseModel,
    ) -> Candidate {
        let components: Vec<Component> = self.components(&best, noise.rms).collect();
        let Some(rms) = self.noise_without(spectrum, &components) else { return best };
        let measured = NoiseModel { rms, ..*noise };
        if self.take(spectrum, measured).is_none() {
            return best;
        }
        *noise = measured;
        self.fitted(&components, measured)
    }

    /// Leaves out, adds and exchanges components as long as that makes the whole more probable; tells also whether
    /// anything did. `best` must be what was polished last.
    fn settled(&mut self, mut best: Candidate) -> (Candidate, bool) {
        let mut changed = false;
        while let Some(better) = self.without_one(&best).or_else(|| self.with_one(&best)) {
            let again = self.polished(&better.parameters);
            let must = best.parameters.len() < self.settings.min_components;
            let rises = again.log_evidence > best.log_evidence + LEAST_GAIN;
            if !must && !rises {
                break;
            }
            best = again;
            changed = true;
        }
        (best, changed)
    }

    /// The fit without the component that χ² misses least, if that is more probable.
    fn without_one(&mut self, best: &Candidate) -> Option<Candidate> {
        let now = &best.parameters;
        let least = self.settings.min_components;
        if now.len() <= least {
            return None;
        }
        self.starts.clear();
        for k in 0..now.len() {
            if self.significance(now, k) < CERTAIN {
                self.starts.push((Some(k), [[0.0; 3]; 2], 0));
            }
        }
        let fewer = self.best_of_starts(now)?;
        (fewer.log_evidence > best.log_evidence).then_some(fewer)
    }

    /// The best fit of one component more that is found where something shows, or of as many components, one of them
    /// exchanged, if that is more probable.
    fn with_one(&mut self, best: &Candidate) -> Option<Candidate> {
        let now = &best.parameters;
        let FitSettings { min_components, max_components, absorption, .. } = self.settings;
        if 3 * (now.len() + 1) >= self.channels.present {
            return None;
        }
        let must = now.len() < min_components;
        self.leave(now);
        self.starts.clear();
        let instructions = self.instructions;
        if let Some((found, signal)) =
            self.filter.best(instructions, &self.channels, &self.residual, absorption)
            && (must || signal * signal > SHOWS)
        {
            self.starts.push((None, [found; 2], 1));
        }
        for (k, component) in now.iter().enumerate() {
            let (a, rest) = self.columns.split_at_mut(self.channels.padded);
            let (b, c) = rest.split_at_mut(self.channels.padded);
            let columns = [a, b, c];
            let askew = misfit(instructions, component, &self.channels, &self.residual, columns);
            if must || askew > ASKEW {
                self.starts.extend(halves(component).map(|two| (Some(k), two, 2)));
            }
        }
        let more = self.best_of_starts(now)?;
        if now.len() < max_components && (must || more.log_evidence > best.log_evidence) {
            return Some(more);
        }
        self.exchanged(best, &more)
    }

    /// The best fit without one of the components of `more`, which has one more than `best` has and was polished last, if
    /// that is more probable than `best`.
    ///
    /// Where a component is at the wrong place, another one is missing and shows in the residual. With that one added, the
    /// wrong one is needless: leaving it out raises χ² by less than the new one lowered it.
    fn exchanged(&mut self, best: &Candidate, more: &Candidate) -> Option<Candidate> {
        let gained = best.chi_squared - more.chi_squared;
        let now = &more.parameters;
        self.starts.clear();
        for k in 0..now.len() {
            if self.significance(now, k) < gained {
                self.starts.push((Some(k), [[0.0; 3]; 2], 0));
            }
        }
        let other = self.best_of_starts(now)?;
        (other.log_evidence > best.log_evidence).then_some(other)
    }

    /// By how much χ² would rise without component `k` of the fit that was polished last; 0 where nothing is certain of it.
    fn significance(&self, parameters: &[Parameters], k: usize) -> f64 {
        let ratio = parameters[k][0] / self.posterior.deviations[k][0];
        if ratio.is_nan() { 0.0 } else { ratio * ratio }
    }

    /// Whether something is left that isn't noise.
    fn is_poor(&self, best: &Candidate) -> bool {
        let freedom = self.channels.present as f64 - 3.0 * best.parameters.len() as f64;
        freedom > 0.0 && best.chi_squared / freedom > 1.0 + 4.0 * (2.0 / freedom).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;
    use crate::spectra::{
        Amplitudes, Axis, Draws, NoiseLevel, Purpose, Range, Recipe, SyntheticSpectrum,
        fit::FitSettings,
    };

    const SPOILED: Purpose = Purpose::new("spoiled proposals test");

    /// What is wrong with a proposal, besides that every parameter is off.
    #[derive(Debug, Clone, Copy)]
    enum Fault {
        Nothing,
        OneMissing,
        OneTooMany,
        TwoInOne,
        Shifted,
        Empty,
    }

    fn recipe() -> Recipe {
        Recipe {
            axis: Axis { start: -5.0, step: 0.2, channels: 300, unit: String::new() },
            min_components: 0,
            max_components: 5,
            amplitude: Amplitudes::SignalToNoise(Range::new(3.0, 25.0)),
            mean: Range::new(-3.0, 53.0),
            sigma: Range::new(0.3, 2.5),
            noise: NoiseLevel::Uniform(Range::new(0.08, 0.12)),
            correlation: 0.0,
        }
    }

    /// The truth with faults.
    fn proposal(truth: &SyntheticSpectrum, axis: &Axis, row: u64, fault: Fault) -> Vec<Component> {
        let mut draws = Draws::new(17, SPOILED, row);
        let mut found: Vec<Component> = truth
            .components
            .iter()
            .map(|c| Component {
                amplitude: c.amplitude * (1.0 + 0.15 * draws.normal()).max(0.2),
                mean: c.mean + 0.3 * c.sigma * draws.normal(),
                sigma: c.sigma * libm::exp(0.15 * draws.normal()),
            })
            .collect();
        let nearest = (1..found.len()).min_by(|&i, &j| {
            let gap = |k: usize| found[k].mean - found[k - 1].mean;
            gap(i).total_cmp(&gap(j))
        });
        match fault {
            Fault::OneMissing if !found.is_empty() => {
                found.remove(row as usize % truth.components.len());
            }
            Fault::OneTooMany => found.push(Component {
                amplitude: 4.0 * truth.rms,
                mean: axis.value((row * 37 % axis.channels as u64) as f64),
                sigma: 4.0 * axis.width(),
            }),
            Fault::TwoInOne => {
                if let Some(k) = nearest {
                    let (a, b) = (found[k - 1], found.remove(k));
                    let sigma = a.sigma.max(b.sigma) + 0.3 * (b.mean - a.mean).abs();
                    let mean = 0.5 * (a.mean + b.mean);
                    found[k - 1] =
                        Component { amplitude: a.amplitude.max(b.amplitude), mean, sigma };
                }
            }
            Fault::Shifted => {
                for c in &mut found {
                    c.mean += c.sigma * draws.normal();
                }
            }
            Fault::Empty => found.clear(),
            Fault::Nothing | Fault::OneMissing => {}
        }
        found
    }

    #[test]
    fn a_spoiled_proposal_leads_to_what_a_search_finds() {
        const ROWS: u64 = 250;
        let recipe = recipe();
        let settings = FitSettings::default();
        let mut fitter = Fitter::new(&recipe.axis, settings);
        let evidence = |fit: &SpectrumFit| fit.log_evidence[fit.components.len()];
        let rows: Vec<(SyntheticSpectrum, SpectrumFit)> = (0..ROWS)
            .map(|row| {
                let truth = recipe.row(611, row);
                let noise = NoiseModel { rms: truth.rms, correlation: 0.0 };
                let fit = fitter.search(&truth.values, noise).unwrap();
                (truth, fit)
            })
            .collect();
        for fault in [
            Fault::Nothing,
            Fault::OneMissing,
            Fault::OneTooMany,
            Fault::TwoInOne,
            Fault::Shifted,
            Fault::Empty,
        ] {
            let (mut as_probable, mut same_count, mut searched) = (0, 0, 0);
            for (row, (truth, search)) in rows.iter().enumerate() {
                let noise = NoiseModel { rms: truth.rms, correlation: 0.0 };
                let start = proposal(truth, &recipe.axis, row as u64, fault);
                let refined = fitter.refine(&truth.values, noise, false, &start).unwrap();
                as_probable += u64::from(evidence(&refined.fit) > evidence(search) - 0.1);
                same_count += u64::from(refined.fit.components.len() == search.components.len());
                searched += u64::from(refined.searched);
            }
            assert!(as_probable > ROWS * 95 / 100, "{fault:?}: {as_probable} are as probable");
            assert!(same_count > ROWS * 94 / 100, "{fault:?}: {same_count} have the same number");
            assert!(searched < ROWS / 20, "{fault:?}: {searched} were searched");
        }
    }

    #[test]
    fn a_fit_that_is_cut_off_short_of_where_it_goes_leads_nowhere_twice() {
        // Two components of the 165th spectrum are more probable than one where the fit is cut off, and less where it ends.
        let survey = survey();
        let step = survey.axis.step;
        let recipe = Recipe {
            amplitude: Amplitudes::SignalToNoise(Range::new(2.0, 20.0)),
            mean: Range::new(20.0, 45.0),
            sigma: Range::new(step, 8.0 * step),
            ..survey
        };
        let (done, ends) = mpsc::channel();
        thread::spawn(move || {
            let mut fitter = Fitter::new(&recipe.axis, FitSettings::default());
            for row in 160..170 {
                let truth = recipe.row(102, row);
                let noise = NoiseModel { rms: truth.rms, correlation: 0.0 };
                done.send(fitter.refine(&truth.values, noise, false, &truth.components)).unwrap();
            }
        });
        for row in 160..170 {
            let refined = ends.recv_timeout(Duration::from_mins(1)).expect("it ends").unwrap();
            assert!(!refined.fit.components.is_empty(), "{row}");
        }
    }

    /// Up to six lines on 424 channels.
    fn survey() -> Recipe {
        let axis = Axis { start: -5.0, step: 89.9 / 423.0, channels: 424, unit: String::new() };
        Recipe {
            max_components: 6,
            amplitude: Amplitudes::SignalToNoise(Range::new(3.0, 30.0)),
            mean: Range::new(-3.0, 83.0),
            sigma: Range::new(1.4 * axis.step, 11.8 * axis.step),
            noise: NoiseLevel::Uniform(Range::new(0.08, 0.15)),
            axis,
            ..recipe()
        }
    }

    /// A spectrum of the survey, and what comes of a proposal for it.
    fn refined(row: u64, remeasure: bool, proposal: &[[f64; 3]]) -> (SyntheticSpectrum, Refined) {
        let recipe = survey();
        let truth = recipe.row(103, row);
        let start: Vec<Component> = proposal
            .iter()
            .map(|&[amplitude, mean, sigma]| Component { amplitude, mean, sigma })
            .collect();
        let given = NoiseModel { rms: truth.rms, correlation: 0.0 };
        let mut fitter = Fitter::new(&recipe.axis, FitSettings::default());
        let refined = fitter.refine(&truth.values, given, remeasure, &start).unwrap();
        (truth, refined)
    }

    #[test]
    fn a_line_that_was_taken_for_noise_counts_as_none_once_it_is_found() {
        // Of six components one is proposed twice, and another not at all: as many are found as were proposed.
        let proposal = [
            [1.47, -1.81, 1.70],
            [2.64, 44.95, 2.22],
            [2.73, 54.23, 0.97],
            [1.93, 64.93, 2.01],
            [2.02, 65.36, 1.85],
            [1.91, 80.43, 1.36],
        ];
        let (truth, refined) = refined(3328, true, &proposal);
        assert_eq!(refined.fit.components.len(), 6);
        let ratio = refined.noise_rms / truth.rms;
        assert!((ratio - 1.0).abs() < 0.1, "{ratio}");
        for (found, component) in refined.fit.components.iter().zip(&truth.components) {
            assert!((found.component.mean - component.mean).abs() < 0.3, "{found:?}");
        }
    }

    #[test]
    fn a_component_at_the_wrong_place_is_exchanged() {
        // The faintest of five isn't proposed, the line beside it twice.
        let proposal = [
            [1.19, 24.54, 1.00],
            [1.46, 25.18, 1.99],
            [1.44, 28.38, 2.35],
            [1.75, 45.74, 0.54],
            [2.58, 69.05, 0.37],
        ];
        let (_, refined) = refined(2031, false, &proposal);
        assert_eq!(refined.fit.components.len(), 5);
        // What other five components leave is 452.
        assert!(refined.fit.chi_squared < 440.0, "{}", refined.fit.chi_squared);
        assert!(!refined.searched);
    }

    #[test]
    fn the_noise_is_measured_as_after_a_search_however_wrong_it_was_before() {
        let recipe = Recipe { min_components: 2, ..recipe() };
        let mut fitter = Fitter::new(&recipe.axis, FitSettings::default());
        let mut same = 0;
        for row in 0..200 {
            let truth = recipe.row(612, row);
            let given = NoiseModel { rms: 1.1 * truth.rms, correlation: 0.0 };
            let search = fitter.search(&truth.values, given).unwrap();
            let expected = fitter.measure_noise(&truth.values, &search).unwrap();
            let start = proposal(&truth, &recipe.axis, row, Fault::OneMissing);
            let refined = fitter.refine(&truth.values, given, true, &start).unwrap();
            same += u32::from((refined.noise_rms / expected - 1.0).abs() < 0.01);
        }
        assert!(same > 180, "{same} of 200");
    }

    #[test]
    fn a_hopeless_proposal_is_searched_anew_and_a_senseless_one_does_no_harm() {
        let axis = Axis { start: 0.0, step: 1.0, channels: 200, unit: String::new() };
        let lines = [(40.0, 30.0, 2.0), (35.0, 60.0, 3.0), (50.0, 100.0, 2.5), (30.0, 150.0, 4.0)];
        let mut draws = Draws::new(18, SPOILED, 0);
        let spectrum: Vec<f32> = (0..200)
            .map(|i| {
                let line = |(amplitude, mean, sigma)| {
                    Component { amplitude, mean, sigma }.value(f64::from(i))
                };
                (lines.into_iter().map(line).sum::<f64>() + draws.normal()) as f32
            })
            .collect();
        let noise = NoiseModel { rms: 1.0, correlation: 0.0 };
        let mut fitter = Fitter::new(&axis, FitSettings::default());
        let searched = fitter.search(&spectrum, noise).unwrap();
        let component = |amplitude, mean, sigma| Component { amplitude, mean, sigma };
        let cases = [
            vec![component(f64::NAN, 30.0, 2.0), component(40.0, f64::INFINITY, 1.0)],
            vec![component(40.0, 1e9, 1.0), component(-1e9, -1e9, 1e9)],
            vec![component(40.0, 30.0, 0.0); 9],
            vec![component(20.0, 90.0, 24.0); 6],
        ];
        for proposal in &cases {
            let refined = fitter.refine(&spectrum, noise, false, proposal).unwrap();
            assert_eq!(refined.fit.components.len(), searched.components.len(), "{proposal:?}");
            assert!((refined.fit.chi_squared - searched.chi_squared).abs() < 1e-3, "{proposal:?}");
        }
        assert_eq!(fitter.refine(&[f32::NAN; 200], noise, true, &[]), None);
    }

    #[test]
    fn the_processor_does_not_change_a_bit() {
        for correlation in [0.0, 0.37] {
            let recipe = Recipe { correlation, ..recipe() };
            let mut best = Fitter::new(&recipe.axis, FitSettings::default());
            let mut plain = Fitter::new(&recipe.axis, FitSettings::default()).plain();
            for row in 0..40 {
                let truth = recipe.row(613, row);
                let noise = NoiseModel { rms: truth.rms, correlation };
                let start = proposal(&truth, &recipe.axis, row, Fault::TwoInOne);
                let found = best.refine(&truth.values, noise, true, &start);
                let other = plain.refine(&truth.values, noise, true, &start);
                assert_eq!(format!("{found:?}"), format!("{other:?}"), "row {row}");
            }
        }
    }
}
