//! Which predicted component stands for which true one.

use serde::{Deserialize, Serialize};

use super::Component;
use super::assignment::assign;

/// What the tolerance of the mean is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeanUnit {
    /// In units of the axis.
    #[default]
    Axis,
    /// In channels.
    Channels,
    /// In channels, but at least one sigma (the mean of the pair's): |Δmean| ≤ max(tolerance
    /// channels, sigma).
    ChannelsOrSigma,
}

/// When two components are the same: all three of mean, sigma and amplitude must agree.
///
/// The criteria treat both components alike, so it doesn't matter which is the true one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MatchCriteria {
    /// How far the means may lie apart, in `mean_unit`.
    pub mean_tolerance: f64,
    /// What `mean_tolerance` is measured in.
    pub mean_unit: MeanUnit,
    /// How far the sigmas may lie apart, as a fraction of the mean of the two.
    pub sigma_tolerance: f64,
    /// How far the amplitudes may lie apart, as a fraction of the mean of the two.
    pub amplitude_tolerance: f64,
}

impl Default for MatchCriteria {
    /// The criteria of the seed project: 5 axis units, 0.5 and 0.8.
    fn default() -> Self {
        Self {
            mean_tolerance: 5.0,
            mean_unit: MeanUnit::Axis,
            sigma_tolerance: 0.5,
            amplitude_tolerance: 0.8,
        }
    }
}

/// Two components that stand for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The index of the true component.
    pub truth: usize,
    /// The index of the predicted component.
    pub predicted: usize,
}

impl MatchCriteria {
    /// How far two components are apart, from 0 (equal) to 1 (at the limit of every tolerance),
    /// or `None` if they don't match. `channel_width` is the width of a channel in axis units.
    ///
    /// The distance is the root mean square of the three differences, each divided by its tolerance.
    pub fn distance(&self, a: &Component, b: &Component, channel_width: f64) -> Option<f64> {
        let sigma = 0.5 * (a.sigma + b.sigma);
        let amplitude = 0.5 * (a.amplitude + b.amplitude);
        let mean_tolerance = match self.mean_unit {
            MeanUnit::Axis => self.mean_tolerance,
            MeanUnit::Channels => self.mean_tolerance * channel_width,
            MeanUnit::ChannelsOrSigma => (self.mean_tolerance * channel_width).max(sigma),
        };
        let parts = [
            ((a.mean - b.mean).abs(), mean_tolerance),
            ((a.sigma - b.sigma).abs(), self.sigma_tolerance * sigma),
            ((a.amplitude - b.amplitude).abs(), self.amplitude_tolerance * amplitude.abs()),
        ];
        let mut squares = 0.0;
        for (difference, tolerance) in parts {
            // Written so that NaN doesn't match.
            let within = difference.is_finite() && difference <= tolerance;
            if !within {
                return None;
            }
            if tolerance > 0.0 {
                squares += (difference / tolerance) * (difference / tolerance);
            }
        }
        Some((squares / 3.0).sqrt())
    }

    /// Pairs true with predicted components: as many pairs as possible, and among those the
    /// ones with the least total distance. Sorted by true component.
    pub fn pairs(
        &self,
        truth: &[Component],
        predicted: &[Component],
        channel_width: f64,
    ) -> Vec<Pair> {
        // A distance is at most 1, so that no sum of distances outweighs one more pair.
        let forbidden = 2.0 * (truth.len().min(predicted.len()) + 1) as f64;
        let distances: Vec<Option<f64>> = truth
            .iter()
            .flat_map(|t| predicted.iter().map(|p| self.distance(t, p, channel_width)))
            .collect();
        let costs: Vec<f64> = distances.iter().map(|d| d.unwrap_or(forbidden)).collect();
        assign(&costs, truth.len(), predicted.len())
            .into_iter()
            .enumerate()
            .filter_map(|(truth, column)| column.map(|predicted| Pair { truth, predicted }))
            .filter(|pair| distances[pair.truth * predicted.len() + pair.predicted].is_some())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEED: MatchCriteria = MatchCriteria {
        mean_tolerance: 5.0,
        mean_unit: MeanUnit::Axis,
        sigma_tolerance: 0.5,
        amplitude_tolerance: 0.8,
    };

    fn component(amplitude: f64, mean: f64, sigma: f64) -> Component {
        Component { amplitude, mean, sigma }
    }

    fn components() -> impl Strategy<Value = Vec<Component>> {
        let one = (0.5..2.0, 0.0..15.0, 1.0..3.0).prop_map(|(a, m, s)| component(a, m, s));
        prop::collection::vec(one, 0..6)
    }

    fn total(truth: &[Component], predicted: &[Component], pairs: &[Pair]) -> f64 {
        let distance = |p: &Pair| SEED.distance(&truth[p.truth], &predicted[p.predicted], 1.0);
        pairs.iter().map(|p| distance(p).expect("a pair matches")).sum()
    }

    /// The largest number of pairs, by trying everything.
    fn most(truth: &[Component], predicted: &[Component], used: u32) -> usize {
        let Some((first, rest)) = truth.split_first() else { return 0 };
        (0..predicted.len())
            .filter(|p| used & (1 << p) == 0)
            .filter(|&p| SEED.distance(first, &predicted[p], 1.0).is_some())
            .map(|p| 1 + most(rest, predicted, used | 1 << p))
            .chain([most(rest, predicted, used)])
            .max()
            .unwrap_or(0)
    }

    proptest! {
        #[test]
        fn as_many_pairs_as_possible(truth in components(), predicted in components()) {
            prop_assert_eq!(SEED.pairs(&truth, &predicted, 1.0).len(), most(&truth, &predicted, 0));
        }

        #[test]
        fn the_two_sides_are_alike(truth in components(), predicted in components()) {
            let there = SEED.pairs(&truth, &predicted, 1.0);
            let back = SEED.pairs(&predicted, &truth, 1.0);
            prop_assert_eq!(there.len(), back.len());
            let difference = total(&truth, &predicted, &there) - total(&predicted, &truth, &back);
            prop_assert!(difference.abs() < 1e-9);
        }

        #[test]
        fn order_does_not_matter(truth in components(), predicted in components(), turn in 0_usize..6) {
            let mut turned = predicted.clone();
            turned.rotate_left(turn.min(predicted.len()));
            turned.reverse();
            let one = SEED.pairs(&truth, &predicted, 1.0);
            let two = SEED.pairs(&truth, &turned, 1.0);
            prop_assert_eq!(one.len(), two.len());
            prop_assert!((total(&truth, &predicted, &one) - total(&truth, &turned, &two)).abs() < 1e-9);
        }

        #[test]
        fn everything_matches_itself(truth in components()) {
            let pairs = SEED.pairs(&truth, &truth, 1.0);
            prop_assert_eq!(pairs.len(), truth.len());
            prop_assert!(total(&truth, &truth, &pairs) < 1e-9);
        }
    }

    #[test]
    fn each_tolerance_counts() {
        let one = component(1.0, 100.0, 10.0);
        let matches = |c: Component| SEED.distance(&one, &c, 1.0).is_some();
        assert!(matches(component(1.0, 105.0, 10.0)));
        assert!(!matches(component(1.0, 105.01, 10.0)));
        assert!(matches(component(1.0, 100.0, 16.6)));
        assert!(!matches(component(1.0, 100.0, 16.7)));
        assert!(matches(component(2.3, 100.0, 10.0)));
        assert!(!matches(component(2.4, 100.0, 10.0)));
        assert!(!matches(component(f64::NAN, 100.0, 10.0)));
    }

    #[test]
    fn the_mean_may_be_measured_in_channels_or_sigmas() {
        let (one, two) = (component(1.0, 100.0, 10.0), component(1.0, 108.0, 10.0));
        let matches = |mean_unit, mean_tolerance| {
            let criteria = MatchCriteria { mean_tolerance, mean_unit, ..SEED };
            criteria.distance(&one, &two, 4.0).is_some()
        };
        assert!(matches(MeanUnit::Channels, 2.0));
        assert!(!matches(MeanUnit::Channels, 1.9));
        assert!(matches(MeanUnit::ChannelsOrSigma, 1.0));
        assert!(!matches(MeanUnit::Axis, 7.9));
    }

    #[test]
    fn more_pairs_win_over_closer_ones() {
        let truth = [component(1.0, 0.0, 10.0), component(1.0, 4.0, 10.0)];
        let predicted = [component(1.0, 4.0, 10.0), component(1.0, 8.0, 10.0)];
        let pairs = SEED.pairs(&truth, &predicted, 1.0);
        let expected = [Pair { truth: 0, predicted: 0 }, Pair { truth: 1, predicted: 1 }];
        assert_eq!(pairs, expected);
    }
}
