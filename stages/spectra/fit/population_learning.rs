//! How a population is learned from what was tried on the spectra of a field.

use super::candidate::Tried;
use super::population::{
    BEFORE, Density, Kernel, LEAST_SHARE, Population, Rows, WIDTHS, coordinate,
};

/// How often the densities are learned from the spectra, which were judged by them.
const ROUNDS: usize = 2;

impl Population {
    /// The population of a field of whose spectra these numbers of components were tried.
    ///
    /// A pure function of them and their order: the same bits on any machine.
    pub fn learn(tried: &[&Tried]) -> Option<Self> {
        let kernels = WIDTHS.map(Kernel::new);
        let mut population = None;
        for _ in 0..ROUNDS {
            population = Self::learn_once(tried, &kernels, population.as_ref());
        }
        population
    }

    fn learn_once(tried: &[&Tried], kernels: &[Kernel], known: Option<&Self>) -> Option<Self> {
        let most = tried.iter().map(|tried| tried.most()).max()?;
        let mut counts = vec![0.0; most + 1];
        let mut rows = Rows::default();
        for tried in tried {
            for (weight, candidate) in tried.probabilities(known) {
                counts[candidate.parameters.len()] += weight;
                rows.components.extend(candidate.parameters.iter().map(|found| (*found, weight)));
            }
            rows.ends.push(rows.components.len());
        }
        let spectra: f64 = counts.iter().sum();
        let before = BEFORE / (most + 1) as f64;
        let log_counts = counts.iter().map(|n| libm::log((n + before) / (spectra + BEFORE)));
        let seen: f64 = rows.components.iter().map(|(_, weight)| weight).sum();
        Some(Self {
            log_counts: log_counts.collect(),
            densities: [0, 1, 2].map(|i| Density::of(&rows, kernels, |found| coordinate(found, i))),
            share: (BEFORE + LEAST_SHARE * seen) / (BEFORE + seen),
        })
    }
}
