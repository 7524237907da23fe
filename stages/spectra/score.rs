//! Precision, recall and F1 of matched components, over all and by bins.

use serde::{Deserialize, Serialize};

use super::Component;

/// How many true components were found, and how many predicted ones were real.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Score {
    /// The number of true components.
    pub truth: u64,
    /// The number of predicted components.
    pub predicted: u64,
    /// The number of pairs of a true and a predicted component that match.
    pub matched: u64,
    /// matched / predicted; `None` if nothing was predicted.
    pub precision: Option<f64>,
    /// matched / truth; `None` if there was nothing to find.
    pub recall: Option<f64>,
    /// The harmonic mean of the two, 2 matched / (truth + predicted); `None` if both are empty.
    pub f1: Option<f64>,
}

/// The score of the components in one range of a property.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// What the bin holds, for people: `0.5–1`, `isolated`.
    pub label: String,
    /// The smallest value in the bin; `None` for no lower bound.
    pub min: Option<f64>,
    /// The value at which the next bin begins; `None` for no upper bound.
    pub max: Option<f64>,
    /// The score of the bin's components.
    pub score: Score,
}

/// The separations at which one bin ends and the next begins, in units of the rms of two sigmas.
pub(super) const SEPARATION_EDGES: [f64; 3] = [0.5, 1.0, 2.0];

/// The ratios of amplitude to noise rms at which one bin ends and the next begins.
pub(super) const SIGNAL_EDGES: [f64; 5] = [3.0, 5.0, 10.0, 20.0, 50.0];

/// Counts of one bin; the ratios follow from them at the end.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Tally {
    pub(super) truth: u64,
    pub(super) predicted: u64,
    pub(super) matched: u64,
}

impl Tally {
    pub(super) fn score(self) -> Score {
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        Score {
            truth: self.truth,
            predicted: self.predicted,
            matched: self.matched,
            precision: ratio(self.matched, self.predicted),
            recall: ratio(self.matched, self.truth),
            f1: ratio(2 * self.matched, self.truth + self.predicted),
        }
    }
}

/// How often the number of components was right, in one range of a property of the spectra.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountBin {
    /// What the bin holds, for people: `0.5–1`, `isolated`, `none`.
    pub label: String,
    /// The smallest value in the bin; `None` for no lower bound.
    pub min: Option<f64>,
    /// The value at which the next bin begins; `None` for no upper bound.
    pub max: Option<f64>,
    /// The number of spectra.
    pub spectra: u64,
    /// The number of those whose number of components was right.
    pub right: u64,
    /// right / spectra; `None` if there are none.
    pub accuracy: Option<f64>,
    /// The mean of predicted minus true number; `None` if there are no spectra.
    pub bias: Option<f64>,
}

/// Counts of the spectra of one bin.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct CountTally {
    spectra: u64,
    right: u64,
    excess: i64,
}

impl CountTally {
    pub(super) fn push(&mut self, truth: usize, predicted: usize) {
        self.spectra += 1;
        self.right += u64::from(truth == predicted);
        self.excess += predicted as i64 - truth as i64;
    }
}

/// The distance of component `index` to its nearest neighbour: the least |Δmean| divided by the
/// root mean square of the two sigmas. `None` if it is alone.
pub fn separation(components: &[Component], index: usize) -> Option<f64> {
    let this = components.get(index)?;
    components
        .iter()
        .enumerate()
        .filter(|&(i, _)| i != index)
        .map(|(_, other)| {
            let sigma = (0.5 * (this.sigma * this.sigma + other.sigma * other.sigma)).sqrt();
            (this.mean - other.mean).abs() / sigma
        })
        .min_by(f64::total_cmp)
}

/// The bin of `value` among those that `edges` separate; a value on an edge belongs above it.
pub(super) fn bin_of(edges: &[f64], value: f64) -> usize {
    edges.partition_point(|&edge| edge <= value)
}

/// The range of bin `index` among those that `edges` separate, and its label; `beyond` names the bins outside the range,
/// which follow.
fn range(edges: &[f64], index: usize, beyond: &[&str]) -> (Option<f64>, Option<f64>, String) {
    if let Some(name) = index.checked_sub(edges.len() + 1) {
        return (None, None, beyond.get(name).copied().unwrap_or("all").to_owned());
    }
    let min = index.checked_sub(1).and_then(|index| edges.get(index)).copied();
    let max = edges.get(index).copied();
    let label = match (min, max) {
        (None, Some(max)) => format!("< {max}"),
        (Some(min), Some(max)) => format!("{min}–{max}"),
        (Some(min), None) => format!("≥ {min}"),
        (None, None) => "all".to_owned(),
    };
    (min, max, label)
}

/// Tallies with the ranges they belong to. `beyond` names the bins outside the range, which follow.
pub(super) fn bins(edges: &[f64], tallies: &[Tally], beyond: &[&str]) -> Vec<Bin> {
    let bin = |(index, tally): (usize, &Tally)| {
        let (min, max, label) = range(edges, index, beyond);
        Bin { label, min, max, score: tally.score() }
    };
    tallies.iter().enumerate().map(bin).collect()
}

/// The same for counts.
pub(super) fn count_bins(edges: &[f64], tallies: &[CountTally], beyond: &[&str]) -> Vec<CountBin> {
    let bin = |(index, tally): (usize, &CountTally)| {
        let (min, max, label) = range(edges, index, beyond);
        let CountTally { spectra, right, excess } = *tally;
        let share = |part: f64| (spectra > 0).then(|| part / spectra as f64);
        let (accuracy, bias) = (share(right as f64), share(excess as f64));
        CountBin { label, min, max, spectra, right, accuracy, bias }
    };
    tallies.iter().enumerate().map(bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_of_nothing_has_no_ratios() {
        assert_eq!(Tally::default().score(), Score::default());
        let missed = Tally { truth: 3, predicted: 0, matched: 0 }.score();
        assert_eq!((missed.precision, missed.recall, missed.f1), (None, Some(0.0), Some(0.0)));
        let some = Tally { truth: 4, predicted: 2, matched: 2 }.score();
        assert_eq!((some.precision, some.recall), (Some(1.0), Some(0.5)));
        assert!((some.f1.unwrap() - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn separation_is_to_the_nearest_in_rms_sigmas() {
        let at = |mean, sigma| Component { amplitude: 1.0, mean, sigma };
        let three = [at(0.0, 3.0), at(10.0, 3.0), at(12.0, 1.0)];
        assert!((separation(&three, 0).unwrap() - 10.0 / 3.0).abs() < 1e-12);
        assert!((separation(&three, 2).unwrap() - 2.0 / 5.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(separation(&three[..1], 0), None);
    }

    #[test]
    fn bins_cover_every_value_once() {
        let tallies = [Tally::default(); 5];
        let labels: Vec<String> =
            bins(&SEPARATION_EDGES, &tallies, &["isolated"]).into_iter().map(|b| b.label).collect();
        assert_eq!(labels, ["< 0.5", "0.5–1", "1–2", "≥ 2", "isolated"]);
        assert_eq!(bin_of(&SEPARATION_EDGES, 0.49), 0);
        assert_eq!(bin_of(&SEPARATION_EDGES, 0.5), 1);
        assert_eq!(bin_of(&SEPARATION_EDGES, 99.0), 3);
    }
}
