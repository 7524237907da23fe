//! How good a set of predicted components is: everything that an evaluation reports.

use serde::{Deserialize, Serialize};

use super::agreement::{Agreement, ByParameter};
use super::score::{Bin, SEPARATION_EDGES, SIGNAL_EDGES, Score, Tally, bin_of, bins, separation};
use super::{Component, MatchCriteria};

/// What an [`Evaluation`] found.
///
/// Parameters have the units of the spectra and the axis. A figure that isn't defined, such as
/// the precision of nothing, is `None` (JSON `null`), never NaN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The number of spectra.
    pub spectra: u64,
    /// The number of slots, each for one component, that a spectrum has: at least as many as
    /// were announced, more if a spectrum held more components.
    pub slots: usize,
    /// How often the number of components was right.
    pub count: CountMetrics,
    /// R² and errors of the active slots: those with a true component. Slots are compared in
    /// order of mean; a predicted component that isn't there counts as 0, 0, 0.
    pub active: ActiveMetrics,
    /// R² of all slots of all spectra, missing components as 0, 0, 0 on both sides.
    pub slot_r2: ByParameter<Option<f64>>,
    /// Precision, recall and F1 of components matched by the criteria.
    pub matched: Score,
    /// Mean absolute errors of the matched pairs.
    pub matched_error: ByParameter<Option<f64>>,
    /// The score by distance to the nearest neighbour, in units of the rms of the two sigmas;
    /// the last bin holds components that are alone in their spectrum.
    pub by_separation: Vec<Bin>,
    /// The score by amplitude over noise rms. Spectra without a usable rms are left out.
    pub by_signal_to_noise: Vec<Bin>,
}

/// How often the number of components was right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountMetrics {
    /// The share of spectra with the right number.
    pub accuracy: Option<f64>,
    /// The mean of predicted minus true number.
    pub bias: Option<f64>,
    /// The number of spectra by true (outer) and predicted (inner) number of components, from 0.
    pub confusion: Vec<Vec<u64>>,
}

/// Agreement of the active slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActiveMetrics {
    /// R² of all parameters in one pool, as the seed project reported it. It mixes units, so
    /// that a constant guess scores well; compare it with the baseline only.
    pub pooled_r2: Option<f64>,
    /// R² by parameter.
    pub r2: ByParameter<Option<f64>>,
    /// Mean absolute error by parameter.
    pub error: ByParameter<Option<f64>>,
}

/// Compares predicted with true components, spectrum by spectrum, in memory that doesn't grow.
///
/// A predicted component in a bin by separation or signal-to-noise belongs to the bin of the true
/// component that it matches, or else to the bin of its own property.
#[derive(Debug, Clone)]
pub struct Evaluation {
    criteria: MatchCriteria,
    channel_width: f64,
    slots: usize,
    spectra: u64,
    right: u64,
    excess: i64,
    confusion: Vec<Vec<u64>>,
    pooled: Agreement,
    active: ByParameter<Agreement>,
    /// Slots in which there is a component on at least one side; the rest are zeros.
    filled: ByParameter<Agreement>,
    filled_slots: u64,
    matched: Tally,
    matched_error: ByParameter<Agreement>,
    by_separation: [Tally; SEPARATION_EDGES.len() + 2],
    by_signal: [Tally; SIGNAL_EDGES.len() + 1],
}

impl Evaluation {
    /// An evaluation without spectra yet, of this many slots a spectrum (the largest number of
    /// components that truth or prediction may have), under these criteria. `channel_width` is
    /// in axis units.
    pub fn new(criteria: MatchCriteria, channel_width: f64, slots: usize) -> Self {
        Self {
            criteria,
            channel_width,
            slots,
            spectra: 0,
            right: 0,
            excess: 0,
            confusion: vec![vec![0; slots + 1]; slots + 1],
            pooled: Agreement::default(),
            active: ByParameter::default(),
            filled: ByParameter::default(),
            filled_slots: 0,
            matched: Tally::default(),
            matched_error: ByParameter::default(),
            by_separation: Default::default(),
            by_signal: Default::default(),
        }
    }

    /// Takes in one spectrum: its true and predicted components, in any order, and its noise rms.
    pub fn push(&mut self, truth: &[Component], predicted: &[Component], rms: f64) {
        let (truth, predicted) = (by_mean(truth), by_mean(predicted));
        self.spectra += 1;
        self.count(truth.len(), predicted.len());
        self.compare_slots(&truth, &predicted);
        self.compare_pairs(&truth, &predicted, rms);
    }

    fn count(&mut self, truth: usize, predicted: usize) {
        let most = truth.max(predicted);
        if most > self.slots {
            self.slots = most;
            self.confusion.resize(most + 1, Vec::new());
            for row in &mut self.confusion {
                row.resize(most + 1, 0);
            }
        }
        self.confusion[truth][predicted] += 1;
        self.right += u64::from(truth == predicted);
        self.excess += predicted as i64 - truth as i64;
    }

    fn compare_slots(&mut self, truth: &[Component], predicted: &[Component]) {
        const ABSENT: Component = Component { amplitude: 0.0, mean: 0.0, sigma: 0.0 };
        let filled = truth.len().max(predicted.len());
        self.filled_slots += filled as u64;
        for slot in 0..filled {
            let t = truth.get(slot).unwrap_or(&ABSENT);
            let p = predicted.get(slot).unwrap_or(&ABSENT);
            push_component(&mut self.filled, t, p);
            if slot < truth.len() {
                push_component(&mut self.active, t, p);
                self.pooled.push(t.amplitude, p.amplitude);
                self.pooled.push(t.mean, p.mean);
                self.pooled.push(t.sigma, p.sigma);
            }
        }
    }

    fn compare_pairs(&mut self, truth: &[Component], predicted: &[Component], rms: f64) {
        let pairs = self.criteria.pairs(truth, predicted, self.channel_width);
        let mut partner = vec![None; predicted.len()];
        let mut is_found = vec![false; truth.len()];
        for pair in &pairs {
            partner[pair.predicted] = Some(pair.truth);
            is_found[pair.truth] = true;
            let (t, p) = (&truth[pair.truth], &predicted[pair.predicted]);
            push_component(&mut self.matched_error, t, p);
        }

        let separation_bin = |components: &[Component], index: usize| {
            separation(components, index)
                .map_or(SEPARATION_EDGES.len() + 1, |s| bin_of(&SEPARATION_EDGES, s))
        };
        let signal_bin = |component: &Component| {
            (rms.is_finite() && rms > 0.0).then(|| bin_of(&SIGNAL_EDGES, component.amplitude / rms))
        };
        for (i, component) in truth.iter().enumerate() {
            let found = u64::from(is_found[i]);
            let tallies = [
                Some(&mut self.matched),
                self.by_separation.get_mut(separation_bin(truth, i)),
                signal_bin(component).and_then(|bin| self.by_signal.get_mut(bin)),
            ];
            for tally in tallies.into_iter().flatten() {
                tally.truth += 1;
                tally.matched += found;
            }
        }
        for (i, component) in predicted.iter().enumerate() {
            let (separation, signal) = match partner[i] {
                Some(t) => (separation_bin(truth, t), signal_bin(&truth[t])),
                None => (separation_bin(predicted, i), signal_bin(component)),
            };
            let tallies = [
                Some(&mut self.matched),
                self.by_separation.get_mut(separation),
                signal.and_then(|bin| self.by_signal.get_mut(bin)),
            ];
            for tally in tallies.into_iter().flatten() {
                tally.predicted += 1;
            }
        }
    }

    /// The figures of all spectra so far.
    pub fn finish(&self) -> Metrics {
        let share = |part: f64| (self.spectra > 0).then(|| part / self.spectra as f64);
        let zeros = (self.spectra * self.slots as u64).saturating_sub(self.filled_slots);
        Metrics {
            spectra: self.spectra,
            slots: self.slots,
            count: CountMetrics {
                accuracy: share(self.right as f64),
                bias: share(self.excess as f64),
                confusion: self.confusion.clone(),
            },
            active: ActiveMetrics {
                pooled_r2: self.pooled.r2(),
                r2: self.active.map(|a| a.r2()),
                error: self.active.map(|a| a.mean_absolute_error()),
            },
            slot_r2: self.filled.map(|a| a.with_zeros(zeros).r2()),
            matched: self.matched.score(),
            matched_error: self.matched_error.map(|a| a.mean_absolute_error()),
            by_separation: bins(&SEPARATION_EDGES, &self.by_separation, Some("isolated")),
            by_signal_to_noise: bins(&SIGNAL_EDGES, &self.by_signal, None),
        }
    }
}

fn by_mean(components: &[Component]) -> Vec<Component> {
    let mut sorted = components.to_vec();
    sorted.sort_by(|a, b| a.mean.total_cmp(&b.mean));
    sorted
}

fn push_component(
    agreement: &mut ByParameter<Agreement>,
    truth: &Component,
    predicted: &Component,
) {
    agreement.amplitude.push(truth.amplitude, predicted.amplitude);
    agreement.mean.push(truth.mean, predicted.mean);
    agreement.sigma.push(truth.sigma, predicted.sigma);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(amplitude: f64, mean: f64, sigma: f64) -> Component {
        Component { amplitude, mean, sigma }
    }

    fn evaluation() -> Evaluation {
        Evaluation::new(MatchCriteria::default(), 5.0, 2)
    }

    #[test]
    fn a_perfect_prediction_is_perfect() {
        let mut evaluation = evaluation();
        let a = [component(0.01, 1300.0, 10.0), component(0.03, 1500.0, 20.0)];
        let b = [component(0.02, 1700.0, 30.0)];
        for truth in [&a[..], &b[..], &[][..]] {
            evaluation.push(truth, truth, 0.001);
        }
        let metrics = evaluation.finish();
        assert_eq!(metrics.spectra, 3);
        assert_eq!(metrics.count.accuracy, Some(1.0));
        assert_eq!(metrics.count.confusion, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]);
        assert_eq!(metrics.active.pooled_r2, Some(1.0));
        for r2 in [metrics.active.r2, metrics.slot_r2] {
            assert_eq!(r2, ByParameter { amplitude: Some(1.0), mean: Some(1.0), sigma: Some(1.0) });
        }
        assert_eq!(metrics.matched.f1, Some(1.0));
        assert_eq!(metrics.matched_error.mean, Some(0.0));
    }

    #[test]
    fn figures_are_those_computed_by_hand() {
        let mut evaluation = evaluation();
        // Found one of two, 2 axis units off; and saw one where there is none.
        evaluation.push(
            &[component(1.0, 20.0, 2.0), component(2.0, 10.0, 2.0)],
            &[component(2.5, 12.0, 2.0)],
            0.5,
        );
        evaluation.push(&[], &[component(1.0, 30.0, 1.0)], 0.5);
        let metrics = evaluation.finish();
        assert_eq!(metrics.count.accuracy, Some(0.0));
        assert_eq!(metrics.count.bias, Some(0.0));
        assert_eq!(metrics.count.confusion, [[0, 1, 0], [0, 0, 0], [0, 1, 0]]);
        assert_eq!(
            (metrics.matched.truth, metrics.matched.predicted, metrics.matched.matched),
            (2, 2, 1)
        );
        assert_eq!(metrics.matched_error.amplitude, Some(0.5));
        assert_eq!(metrics.matched_error.mean, Some(2.0));
        // Active slots, sorted by mean: amplitude 2→2.5 and 1→0; the true ones scatter by 0.5.
        assert_eq!(metrics.active.r2.amplitude, Some(1.0 - 1.25 / 0.5));
        assert_eq!(metrics.active.error.amplitude, Some(0.75));
        // Four slots in all: amplitudes 2, 1, 0, 0 → 2.5, 0, 1, 0; squares about 0.75 are 2.75.
        let slot = metrics.slot_r2.amplitude.unwrap();
        assert!((slot - (1.0 - 2.25 / 2.75)).abs() < 1e-12, "{slot}");
    }

    #[test]
    fn bins_follow_the_true_component_where_there_is_a_match() {
        let mut evaluation = evaluation();
        let near = [component(1.0, 100.0, 10.0), component(1.0, 103.0, 10.0)];
        evaluation.push(&near, &[component(1.0, 101.0, 10.0)], 0.1);
        evaluation.push(&near[..1], &[component(0.2, 500.0, 10.0)], 0.1);
        let metrics = evaluation.finish();
        let tallies = |bin: &Bin| (bin.score.truth, bin.score.predicted, bin.score.matched);
        assert_eq!(tallies(&metrics.by_separation[0]), (2, 1, 1));
        assert_eq!(tallies(&metrics.by_separation[4]), (1, 1, 0));
        assert_eq!(tallies(&metrics.by_signal_to_noise[0]), (0, 1, 0));
        assert_eq!(tallies(&metrics.by_signal_to_noise[3]), (3, 1, 1));
        let sum: u64 = metrics.by_separation.iter().map(|b| b.score.truth).sum();
        assert_eq!(sum, metrics.matched.truth);
    }

    #[test]
    fn nothing_to_evaluate_gives_no_numbers() {
        let metrics = evaluation().finish();
        let json = serde_json::to_string(&metrics).unwrap();
        assert!(json.contains(r#""accuracy":null"#), "{json}");
        let mut empty = evaluation();
        empty.push(&[], &[], f64::NAN);
        let metrics = empty.finish();
        assert_eq!(metrics.count.accuracy, Some(1.0));
        assert_eq!(metrics.slot_r2.mean, None);
        assert_eq!(metrics.matched.f1, None);
    }

    #[test]
    fn more_components_than_slots_widen_the_tables() {
        let mut evaluation = evaluation();
        let four = [component(1.0, 1.0, 1.0); 4];
        evaluation.push(&four[..1], &four, 0.1);
        let metrics = evaluation.finish();
        assert_eq!(metrics.slots, 4);
        assert_eq!(metrics.count.confusion[1], [0, 0, 0, 0, 1]);
        assert!(metrics.count.confusion.iter().all(|row| row.len() == 5));
    }

    #[test]
    fn metrics_survive_serialization() {
        let mut evaluation = evaluation();
        evaluation.push(&[component(1.0, 2.0, 3.0)], &[component(1.25, 2.5, 3.5)], 0.1);
        let metrics = evaluation.finish();
        let json = serde_json::to_string(&metrics).unwrap();
        assert_eq!(serde_json::from_str::<Metrics>(&json).unwrap(), metrics);
    }
}
