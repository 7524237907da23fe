//! Components that were tried on a spectrum.

use super::evidence::Prior;
use super::least_squares::Parameters;
use super::population::Population;

/// What is less probable than the most probable by this factor's logarithm counts for nothing.
const NEGLIGIBLE: f64 = 7.0;

/// Components for which a fit is done, and how good they are.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Candidate {
    pub(super) parameters: Vec<Parameters>,
    pub(super) chi_squared: f64,
    /// The logarithm of the evidence, as far as it doesn't depend on what was thought before.
    pub(super) log_volume: f64,
    /// The logarithm of the evidence, less that of noise alone.
    pub(super) log_evidence: f64,
    pub(super) converged: bool,
}

/// What was tried on a spectrum: the best candidate of each number of components.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// By the number of components; `None` where a number wasn't tried.
    pub(super) candidates: Vec<Option<Candidate>>,
    /// The smallest number that is allowed.
    pub(super) least: usize,
    /// What was thought of components when the field wasn't known.
    pub(super) prior: Prior,
}

impl Tried {
    /// The largest number of components that is allowed.
    pub(super) fn most(&self) -> usize {
        self.candidates.len() - 1
    }

    /// The candidates with a number of components that is allowed, and how probable each is among them in a field of
    /// this population.
    pub(super) fn probabilities(&self, population: Option<&Population>) -> Vec<(f64, &Candidate)> {
        let candidates = self.candidates.iter().skip(self.least).flatten();
        let mut found: Vec<(f64, &Candidate)> = candidates
            .map(|candidate| {
                let before = self.prior.log(&candidate.parameters, population);
                (candidate.log_volume + before, candidate)
            })
            .collect();
        let best = found.iter().map(|(log, _)| *log).fold(f64::NEG_INFINITY, f64::max);
        found.retain(|(log, _)| *log > best - NEGLIGIBLE);
        for (weight, _) in &mut found {
            *weight = libm::exp(*weight - best);
        }
        let total: f64 = found.iter().map(|(weight, _)| weight).sum();
        for (weight, _) in &mut found {
            *weight /= total;
        }
        found
    }
}
