//! The evaluation of a set of predicted components, while they stream by.

use super::agreement::{Agreement, ByParameter};
use super::calibration::CalibrationErrors;
use super::metrics::{ActiveMetrics, CountMetrics, Metrics};
use super::score::{
    CountTally, SEPARATION_EDGES, SIGNAL_EDGES, Tally, bin_of, bins, count_bins, separation,
};
use super::{Component, MatchCriteria, Pair};

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
    cramer_rao: CalibrationErrors,
    stated: CalibrationErrors,
    by_separation: [Tally; SEPARATION_EDGES.len() + 2],
    by_signal: [Tally; SIGNAL_EDGES.len() + 1],
    count_by_separation: [CountTally; SEPARATION_EDGES.len() + 3],
    count_by_signal: [CountTally; SIGNAL_EDGES.len() + 1],
}

/// The standard deviations that go with the components of a spectrum, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deviations<'a> {
    /// The Cramér–Rao bound of each true component.
    pub bound: Option<&'a [ByParameter<f64>]>,
    /// The uncertainty that is stated of each predicted component.
    pub stated: Option<&'a [ByParameter<f64>]>,
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
            cramer_rao: CalibrationErrors::default(),
            stated: CalibrationErrors::default(),
            by_separation: Default::default(),
            by_signal: Default::default(),
            count_by_separation: Default::default(),
            count_by_signal: Default::default(),
        }
    }

    /// Takes in one spectrum: its true and predicted components, in any order, and its noise rms.
    pub fn push(&mut self, truth: &[Component], predicted: &[Component], rms: f64) {
        self.push_with(truth, predicted, rms, Deviations::default());
    }

    /// As [`push`](Self::push), with standard deviations, each in the order of the components that it belongs to.
    pub fn push_with(
        &mut self,
        truth: &[Component],
        predicted: &[Component],
        rms: f64,
        deviations: Deviations<'_>,
    ) {
        self.spectra += 1;
        let bound = sorted(truth, deviations.bound);
        let stated = sorted(predicted, deviations.stated);
        let (truth, predicted) = (by_mean(truth), by_mean(predicted));
        self.count(&truth, predicted.len(), rms);
        self.compare_slots(&truth, &predicted);
        let pairs = self.criteria.pairs(&truth, &predicted, self.channel_width);
        self.compare_errors(&truth, &predicted, &pairs, &bound, &stated);
        self.score_pairs(&truth, &predicted, &pairs, rms);
    }

    fn count(&mut self, components: &[Component], predicted: usize, rms: f64) {
        let truth = components.len();
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

        let least = (0..truth).filter_map(|i| separation(components, i)).min_by(f64::total_cmp);
        let bin = match (truth, least) {
            (0, _) => SEPARATION_EDGES.len() + 2,
            (_, None) => SEPARATION_EDGES.len() + 1,
            (_, Some(least)) => bin_of(&SEPARATION_EDGES, least),
        };
        self.count_by_separation[bin].push(truth, predicted);
        let faintest = components.iter().map(|c| c.amplitude / rms).min_by(f64::total_cmp);
        if let Some(faintest) = faintest.filter(|_| is_usable(rms)) {
            self.count_by_signal[bin_of(&SIGNAL_EDGES, faintest)].push(truth, predicted);
        }
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

    fn compare_errors(
        &mut self,
        truth: &[Component],
        predicted: &[Component],
        pairs: &[Pair],
        bound: &[ByParameter<f64>],
        stated: &[ByParameter<f64>],
    ) {
        let is_right = truth.len() == predicted.len();
        for pair in pairs {
            let (t, p) = (&truth[pair.truth], &predicted[pair.predicted]);
            push_component(&mut self.matched_error, t, p);
            if let Some(bound) = bound.get(pair.truth) {
                self.cramer_rao.push(t, p, bound, is_right);
            }
            if let Some(stated) = stated.get(pair.predicted) {
                self.stated.push(t, p, stated, is_right);
            }
        }
    }

    fn score_pairs(
        &mut self,
        truth: &[Component],
        predicted: &[Component],
        pairs: &[Pair],
        rms: f64,
    ) {
        let mut partner = vec![None; predicted.len()];
        let mut is_found = vec![false; truth.len()];
        for pair in pairs {
            partner[pair.predicted] = Some(pair.truth);
            is_found[pair.truth] = true;
        }

        let separation_bin = |components: &[Component], index: usize| {
            separation(components, index)
                .map_or(SEPARATION_EDGES.len() + 1, |s| bin_of(&SEPARATION_EDGES, s))
        };
        let signal_bin = |component: &Component| {
            is_usable(rms).then(|| bin_of(&SIGNAL_EDGES, component.amplitude / rms))
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
                by_separation: count_bins(
                    &SEPARATION_EDGES,
                    &self.count_by_separation,
                    &["isolated", "none"],
                ),
                by_signal_to_noise: count_bins(&SIGNAL_EDGES, &self.count_by_signal, &[]),
            },
            active: ActiveMetrics {
                pooled_r2: self.pooled.r2(),
                r2: self.active.map(|a| a.r2()),
                error: self.active.map(|a| a.mean_absolute_error()),
            },
            slot_r2: self.filled.map(|a| a.with_zeros(zeros).r2()),
            matched: self.matched.score(),
            matched_error: self.matched_error.map(|a| a.mean_absolute_error()),
            by_separation: bins(&SEPARATION_EDGES, &self.by_separation, &["isolated"]),
            by_signal_to_noise: bins(&SIGNAL_EDGES, &self.by_signal, &[]),
            cramer_rao: self.cramer_rao.finish(),
            stated: self.stated.finish(),
        }
    }
}

fn is_usable(rms: f64) -> bool {
    rms.is_finite() && rms > 0.0
}

fn by_mean(components: &[Component]) -> Vec<Component> {
    let mut sorted = components.to_vec();
    sorted.sort_by(|a, b| a.mean.total_cmp(&b.mean));
    sorted
}

/// What belongs to each of `components`, in the order that [`by_mean`] gives them; nothing where it isn't known.
fn sorted(
    components: &[Component],
    deviations: Option<&[ByParameter<f64>]>,
) -> Vec<ByParameter<f64>> {
    let Some(deviations) = deviations.filter(|known| known.len() == components.len()) else {
        return Vec::new();
    };
    let mut order: Vec<usize> = (0..components.len()).collect();
    order.sort_by(|&a, &b| components[a].mean.total_cmp(&components[b].mean));
    order.into_iter().map(|index| deviations[index]).collect()
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
    use proptest::prelude::*;

    use super::super::score::{Bin, CountBin};
    use super::super::{Coverage, Draws, Purpose};
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

    #[test]
    fn counts_are_told_by_separation_and_by_the_faintest() {
        let mut evaluation = evaluation();
        let at = |amplitude, mean| component(amplitude, mean, 10.0);
        let three = [at(1.0, 100.0), at(0.4, 104.0), at(2.0, 500.0)];
        evaluation.push(&three, &three[..2], 0.1);
        evaluation.push(&three[..1], &three[..1], 0.1);
        evaluation.push(&[], &three[..1], 0.1);
        evaluation.push(&three[..1], &[], f64::NAN);
        let count = evaluation.finish().count;
        let told = |bins: &[CountBin]| -> Vec<(u64, u64)> {
            bins.iter().map(|bin| (bin.spectra, bin.right)).collect()
        };
        assert_eq!(told(&count.by_separation), [(1, 0), (0, 0), (0, 0), (0, 0), (2, 1), (1, 0)]);
        let labels: Vec<&str> = count.by_separation.iter().map(|bin| bin.label.as_str()).collect();
        assert_eq!(labels, ["< 0.5", "0.5–1", "1–2", "≥ 2", "isolated", "none"]);
        assert_eq!(count.by_separation[0].bias, Some(-1.0));
        assert_eq!(count.by_separation[4].accuracy, Some(0.5));
        assert_eq!(
            told(&count.by_signal_to_noise),
            [(0, 0), (1, 0), (0, 0), (1, 1), (0, 0), (0, 0)]
        );
    }

    #[test]
    fn deviations_are_those_of_the_components_that_they_came_with() {
        let mut evaluation = evaluation();
        let truth = [component(1.0, 300.0, 10.0), component(1.0, 100.0, 10.0)];
        let found = [component(1.0, 300.5, 10.0), component(1.0, 102.0, 10.0)];
        let deviation = |mean| ByParameter { amplitude: 1.0, mean, sigma: 1.0 };
        let bound = [deviation(0.2), deviation(3.0)];
        let stated = [deviation(1.0), deviation(1.5)];
        let deviations = Deviations { bound: Some(&bound), stated: Some(&stated) };
        evaluation.push_with(&truth, &found, 0.1, deviations);
        let metrics = evaluation.finish();
        let mean = metrics.cramer_rao.unwrap().matched.mean;
        assert_eq!((mean.within_1, mean.within_2), (Some(0.5), Some(0.5)));
        let mean = metrics.stated.unwrap().matched.mean;
        assert_eq!((mean.within_1, mean.within_2), (Some(0.5), Some(1.0)));
    }

    /// A component and its bound, well apart from all others, and three normal errors.
    fn normal(row: u64) -> (Component, ByParameter<f64>, Component) {
        let mut draws = Draws::new(5, Purpose::new("calibration"), row);
        let truth = component(1.0, 1000.0 * row as f64, 50.0);
        let bound = ByParameter {
            amplitude: draws.uniform(0.001, 0.05),
            mean: draws.uniform(0.01, 0.9),
            sigma: draws.uniform(0.1, 3.0),
        };
        let found = component(
            truth.amplitude + bound.amplitude * draws.normal(),
            truth.mean + bound.mean * draws.normal(),
            truth.sigma + bound.sigma * draws.normal(),
        );
        (truth, bound, found)
    }

    #[test]
    fn exact_normal_errors_are_calibrated() {
        let mut evaluation = evaluation();
        for row in 0..20_000 {
            let (truth, bound, found) = normal(row);
            let bound = [bound];
            let deviations = Deviations { bound: Some(&bound), stated: None };
            evaluation.push_with(&[truth], &[found], 0.01, deviations);
        }
        let metrics = evaluation.finish();
        assert_eq!((metrics.stated, metrics.matched.matched), (None, 20_000));
        let Coverage { amplitude, mean, sigma, all, .. } = metrics.cramer_rao.unwrap().right_count;
        // Four standard deviations of a share of 20,000, and of 60,000 for all.
        for (within, n) in [(amplitude, 2e4_f64), (mean, 2e4), (sigma, 2e4), (all, 6e4)] {
            let shares = [within.within_1, within.within_2, within.within_3];
            for (share, nominal) in shares.into_iter().zip([0.682_689, 0.954_500, 0.997_300]) {
                let room = 4.0 * (nominal * (1.0 - nominal) / n).sqrt();
                assert!((share.unwrap() - nominal).abs() < room, "{within:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn neither_the_order_of_components_nor_that_of_spectra_counts(
            spectra in prop::collection::vec(
                (
                    prop::collection::vec((0.2..3.0_f64, 0.0..60.0_f64, 2.0..9.0_f64), 0..4),
                    prop::collection::vec((0.2..3.0_f64, 0.0..60.0_f64, 2.0..9.0_f64), 0..4),
                ),
                1..6,
            ),
            turn in 0_usize..4,
        ) {
            type Line = (Component, ByParameter<f64>);
            let line = |(a, m, s): (f64, f64, f64)| -> Line {
                // Each has a deviation of its own, which must stay with it.
                (component(a, m, s), ByParameter { amplitude: 0.1 * a, mean: 0.02 * m + 0.1, sigma: 0.3 * s })
            };
            let of = |turned: bool| {
                let mut evaluation = evaluation();
                let mut all = spectra.clone();
                if turned {
                    all.reverse();
                }
                for (truth, found) in all {
                    let mut sides = [truth, found].map(|side| side.into_iter().map(line).collect::<Vec<_>>());
                    if turned {
                        for side in &mut sides {
                            let by = turn.min(side.len());
                            side.rotate_left(by);
                            side.reverse();
                        }
                    }
                    let [truth, found] = sides;
                    let (truth, bound): (Vec<_>, Vec<_>) = truth.into_iter().unzip();
                    let (found, stated): (Vec<_>, Vec<_>) = found.into_iter().unzip();
                    let deviations = Deviations { bound: Some(&bound), stated: Some(&stated) };
                    evaluation.push_with(&truth, &found, 0.1, deviations);
                }
                evaluation.finish()
            };
            let (one, two) = (of(false), of(true));
            prop_assert_eq!(&one.count, &two.count);
            prop_assert_eq!(one.matched, two.matched);
            prop_assert_eq!(&one.by_separation, &two.by_separation);
            prop_assert_eq!(&one.by_signal_to_noise, &two.by_signal_to_noise);
            prop_assert_eq!(one.cramer_rao, two.cramer_rao);
            prop_assert_eq!(one.stated, two.stated);
            for (a, b) in [(one.slot_r2, two.slot_r2), (one.matched_error, two.matched_error)] {
                for (a, b) in [(a.amplitude, b.amplitude), (a.mean, b.mean), (a.sigma, b.sigma)] {
                    // Sums are taken in another order.
                    prop_assert_eq!(a.is_some(), b.is_some());
                    let (a, b) = (a.unwrap_or(0.0), b.unwrap_or(0.0));
                    prop_assert!((a - b).abs() <= 1e-9 * (1.0 + a.abs()), "{} {}", a, b);
                }
            }
        }
    }
}
