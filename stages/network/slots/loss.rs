//! The loss of one spectrum, in three parts and the count, with its gradient.
//!
//! With K slots, n true components, head values h and their targets t:
//!
//! - parameter: Σ (h − t)² over the first n slots / 3K. A slot is active because the truth says so, not because of a value;
//! - sparsity: Σ amplitude over the other slots / K, in units of a typical amplitude: empty slots are pulled to zero;
//! - reconstruction: see [`Reconstruction`]; all K slots take part, through their physical parameters;
//! - count: −log softmax(logits)ₙ.

use crate::network::examples::Examples;
use crate::network::history::LossParts;
use crate::network::{count::cross_entropy, hyperparameters::LossWeights};

use super::reconstruction::Reconstruction;
use super::target::TargetTransform;

/// Computes losses row by row, reusing its room.
pub(in crate::network) struct Loss<'a> {
    weights: LossWeights,
    transform: TargetTransform,
    examples: &'a Examples<'a>,
    reconstruction: Reconstruction,
    observed: Vec<f32>,
    components: Vec<[f64; 3]>,
    slopes: Vec<[f64; 3]>,
    by_component: Vec<[f64; 3]>,
}

impl<'a> Loss<'a> {
    pub(in crate::network) fn new(
        weights: LossWeights,
        transform: TargetTransform,
        examples: &'a Examples<'a>,
    ) -> Self {
        let (channels, slots) = (examples.grid.channels, examples.slots);
        Self {
            weights,
            transform,
            examples,
            reconstruction: Reconstruction::new(channels, slots),
            observed: vec![0.0; channels],
            components: vec![[0.0; 3]; slots],
            slopes: vec![[0.0; 3]; slots],
            by_component: vec![[0.0; 3]; slots],
        }
    }

    /// The loss of `row`, for which the heads said `outputs` (3K parameters, then K + 1 logits); writes its gradient.
    pub(in crate::network) fn evaluate(
        &mut self,
        row: usize,
        outputs: &[f32],
        gradient: &mut [f32],
    ) -> LossParts {
        let slots = self.examples.slots;
        let active = usize::from(self.examples.counts[row]);
        let share = 1.0 / slots as f64;
        let links = self.transform.links();
        let (heads, logits) = outputs.split_at(3 * slots);
        let (head_gradient, logit_gradient) = gradient.split_at_mut(3 * slots);
        for (slot, head) in heads.chunks_exact(3).enumerate() {
            for i in 0..3 {
                let (value, slope) = links[i].decode(f64::from(head[i]));
                self.components[slot][i] = value;
                self.slopes[slot][i] = slope;
            }
        }

        let reconstruction = if self.weights.reconstruction_weight > 0.0 {
            self.examples.observed(row, &mut self.observed);
            self.reconstruction.evaluate(&self.components, &self.observed, &mut self.by_component)
        } else {
            0.0
        };
        for (slot, gradient) in head_gradient.chunks_exact_mut(3).enumerate() {
            for (i, gradient) in gradient.iter_mut().enumerate() {
                *gradient = (self.weights.reconstruction_weight
                    * self.by_component[slot][i]
                    * self.slopes[slot][i]) as f32;
            }
        }

        let mut parameter = 0.0;
        for (slot, truth) in self.examples.natural(row).enumerate() {
            for i in 0..3 {
                let error = f64::from(heads[3 * slot + i]) - links[i].encode(truth[i]);
                parameter += error * error * share / 3.0;
                head_gradient[3 * slot + i] += (2.0 * error * share / 3.0) as f32;
            }
        }

        let typical = self.transform.amplitude.decode(0.0).0.max(f64::MIN_POSITIVE);
        let mut sparsity = 0.0;
        for slot in active..slots {
            sparsity += self.components[slot][0] / typical * share;
            let slope = self.slopes[slot][0] / typical * share;
            head_gradient[3 * slot] += (self.weights.sparsity_weight * slope) as f32;
        }

        let count = cross_entropy(logits, active, self.weights.count_weight, logit_gradient);
        LossParts {
            total: parameter
                + self.weights.sparsity_weight * sparsity
                + self.weights.reconstruction_weight * reconstruction
                + self.weights.count_weight * count,
            parameter,
            sparsity,
            reconstruction,
            count,
            detection: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::difference::{check_gradient, noise};
    use crate::network::examples::Unscaling;
    use crate::network::grid::Grid;
    use crate::network::slots::Space;

    const CHANNELS: usize = 50;
    const OFF: LossWeights = LossWeights {
        sparsity_weight: 0.0,
        reconstruction_weight: 0.0,
        count_weight: 0.0,
        detection_weight: 0.0,
    };

    /// Three rows with 0, 1 and 2 components in 3 slots, on a falling axis.
    fn with_examples(unscaling: Unscaling, test: impl Fn(&Examples)) {
        let nan = f64::NAN;
        let (a, b) = ([0.05, 12.0, 1.5], [0.02, 17.0, 2.5]);
        let mut parameters = vec![nan; 9];
        parameters.extend(a.iter().chain(&[nan; 6]));
        parameters.extend(a.iter().chain(&b).chain(&[nan; 3]));
        let spectra: Vec<f32> = noise(3 * CHANNELS, 8).iter().map(|v| 3.0 * v).collect();
        test(&Examples {
            spectra: &spectra,
            noise: &[0.004, 0.005, 0.006],
            parameters: &parameters,
            counts: &[0, 1, 2],
            slots: 3,
            grid: Grid { start: 30.0, step: -0.5, channels: CHANNELS },
            unscaling,
        });
    }

    fn check(weights: LossWeights, space: Space) {
        with_examples(Unscaling::NoiseRms, |examples| {
            let transform = TargetTransform::fit(space, space, examples, &[0, 1, 2]);
            for row in 0..3 {
                let outputs: Vec<f32> =
                    noise(13, 30 + row as u64).iter().map(|v| 0.5 * v).collect();
                let mut gradient = vec![0.0; 13];
                Loss::new(weights, transform, examples).evaluate(row, &outputs, &mut gradient);
                if gradient.iter().all(|g| *g == 0.0) {
                    // Nothing inactive, or nothing active.
                    assert!(row == 0 || weights.sparsity_weight > 0.0);
                    continue;
                }
                check_gradient(&outputs, &gradient, |outputs| {
                    let mut unused = vec![0.0; 13];
                    let mut loss = Loss::new(weights, transform, examples);
                    loss.evaluate(row, outputs, &mut unused).total
                });
            }
        });
    }

    /// The parameter part alone, by a weight of nothing for the others.
    #[test]
    fn parameter_gradient_equals_differences() {
        check(OFF, Space::Linear);
        check(OFF, Space::Logarithmic);
    }

    #[test]
    fn sparsity_gradient_equals_differences() {
        let weights = LossWeights { sparsity_weight: 5.0, ..OFF };
        check(weights, Space::Linear);
        check(weights, Space::Logarithmic);
    }

    #[test]
    fn reconstruction_gradient_equals_differences() {
        let weights = LossWeights { reconstruction_weight: 5.0, ..OFF };
        check(weights, Space::Linear);
        check(weights, Space::Logarithmic);
    }

    #[test]
    fn count_gradient_equals_differences() {
        let weights = LossWeights { count_weight: 5.0, ..OFF };
        check(weights, Space::Linear);
    }

    #[test]
    fn weak_components_are_active_and_empty_slots_go_to_zero() {
        with_examples(Unscaling::NoiseRms, |examples| {
            let transform = TargetTransform::fit(Space::Linear, Space::Linear, examples, &[1, 2]);
            let weights = LossWeights { sparsity_weight: 1.0, ..OFF };
            let mut loss = Loss::new(weights, transform, examples);
            let (outputs, mut gradient) = ([0.0; 13], [0.0; 13]);
            let parts = loss.evaluate(2, &outputs, &mut gradient);
            // Slot 1 holds the weaker component, below the mean amplitude: it is pulled to its truth, not to zero.
            assert!(transform.amplitude.encode(0.02 / 0.006) < 0.0);
            assert!(
                (f64::from(gradient[3]) + 2.0 / 9.0 * transform.amplitude.encode(0.02 / 0.006))
                    .abs()
                    < 1e-6
            );
            // Slot 2 is empty: what it says of mean and sigma does not matter, its amplitude falls.
            assert!(gradient[6] > 0.0);
            assert_eq!(gradient[7..9], [0.0, 0.0]);
            assert!((parts.sparsity - 1.0 / 3.0).abs() < 1e-9);
        });
    }

    #[test]
    fn both_scalings_reconstruct_the_same_spectrum() {
        let (offset, scale) = (vec![0.01; CHANNELS], vec![0.02; CHANNELS]);
        with_examples(Unscaling::Channels { offset: &offset, scale: &scale }, |examples| {
            let transform = TargetTransform::fit(Space::Linear, Space::Linear, examples, &[1, 2]);
            let weights = LossWeights { reconstruction_weight: 1.0, ..OFF };
            let outputs = noise(13, 77);
            let mut gradient = [0.0; 13];
            let by_channel =
                Loss::new(weights, transform, examples).evaluate(2, &outputs, &mut gradient);
            let spectra: Vec<f32> =
                examples.spectra.iter().map(|x| (0.01 + 0.02 * x) / 0.006).collect();
            let by_noise =
                Examples { spectra: &spectra, unscaling: Unscaling::NoiseRms, ..*examples };
            let by_noise =
                Loss::new(weights, transform, &by_noise).evaluate(2, &outputs, &mut gradient);
            assert!((by_channel.reconstruction - by_noise.reconstruction).abs() < 1e-5);
            assert!(by_channel.reconstruction > 0.1);
        });
    }
}
