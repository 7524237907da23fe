//! From a proposal to a fit, in as few least squares as will do.

use super::super::shape::misfit;
use super::super::starts::halves;
use super::{Candidate, Fitter, NoiseModel, SpectrumFit};
use crate::spectra::Component;

/// A component is tried to be left out where χ² would rise by less than this, as far as the fit can tell: several times
/// what any number of components is chosen by.
const CERTAIN: f64 = 60.0;
/// Another component is tried where a matched filter finds more than this in the residual, in its noise squared.
const SHOWS: f64 = 9.0;
/// A component is tried as two halves where its [`misfit`] is more than this.
const ASKEW: f64 = 7.0;

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
    /// that it isn't one Gaussian. What makes the whole more probable is kept, until nothing does. Where the fit is poor
    /// even then, the components are searched for from nothing, and the more probable of the two is the answer.
    ///
    /// Where `remeasure`, the noise rms is measured on what the proposal's fit leaves, and once more if the number of
    /// components changed after that.
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
        let count = best.parameters.len();
        best = self.settled(best);
        if remeasure && best.parameters.len() != count {
            best = self.with_noise_measured(spectrum, best, &mut noise);
            best = self.settled(best);
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

    /// Leaves out and adds components as long as that makes the whole more probable. `best` must be what was polished
    /// last.
    fn settled(&mut self, mut best: Candidate) -> Candidate {
        while let Some(better) = self.without_one(&best).or_else(|| self.with_one(&best)) {
            best = self.polished(&better.parameters);
        }
        best
    }

    /// The best fit of one component fewer, if that is more probable.
    fn without_one(&mut self, best: &Candidate) -> Option<Candidate> {
        let now = &best.parameters;
        let least = self.settings.min_components;
        if now.len() <= least {
            return None;
        }
        let doubtful: Vec<usize> = (0..now.len())
            .filter(|&k| {
                let significance = now[k][0] / self.posterior.deviations[k][0];
                // A component of which nothing is certain is doubtful, too.
                significance.is_nan() || significance * significance < CERTAIN
            })
            .collect();
        let mut fewer: Option<Candidate> = None;
        for k in doubtful {
            let mut start = now.clone();
            start.remove(k);
            let found = self.polished(&start);
            let known = fewer.as_ref().map_or(best.log_evidence, |fewer| fewer.log_evidence);
            if found.log_evidence > known {
                fewer = Some(found);
            }
        }
        fewer
    }

    /// The best fit of one component more that is found where something shows, if that is more probable.
    fn with_one(&mut self, best: &Candidate) -> Option<Candidate> {
        let now = &best.parameters;
        let most = self.settings.max_components;
        if now.len() >= most || 3 * (now.len() + 1) >= self.channels.present {
            return None;
        }
        let must = now.len() < self.settings.min_components;
        self.leave(now);
        self.starts.clear();
        let (instructions, absorption) = (self.instructions, self.settings.absorption);
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
        (must || more.log_evidence > best.log_evidence).then_some(more)
    }

    /// Whether something is left that isn't noise.
    fn is_poor(&self, best: &Candidate) -> bool {
        let freedom = self.channels.present as f64 - 3.0 * best.parameters.len() as f64;
        freedom > 0.0 && best.chi_squared / freedom > 1.0 + 4.0 * (2.0 / freedom).sqrt()
    }
}
