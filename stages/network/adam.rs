//! Adam (Kingma and Ba 2015): steps by the mean of recent gradients over the root of their mean square.

use rayon::prelude::*;

const FIRST_DECAY: f64 = 0.9;
const SECOND_DECAY: f64 = 0.999;
const EPSILON: f32 = 1e-8;
/// Weights that one task updates.
const CHUNK: usize = 1 << 15;

/// The moments of the gradients so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Adam {
    /// Decaying mean of the gradients.
    pub(super) first: Vec<f32>,
    /// Decaying mean of their squares.
    pub(super) second: Vec<f32>,
    /// Steps taken.
    pub(super) steps: u64,
}

impl Adam {
    /// No steps yet.
    pub(super) fn new(weights: usize) -> Self {
        Self { first: vec![0.0; weights], second: vec![0.0; weights], steps: 0 }
    }

    /// Takes one step.
    pub(super) fn step(&mut self, weights: &mut [f32], gradient: &[f32], rate: f64) {
        self.steps += 1;
        let steps = self.steps as f64;
        // The moments start at zero; these factors make up for it.
        let first_share = (1.0 / (1.0 - libm::pow(FIRST_DECAY, steps))) as f32;
        let second_share = (1.0 / (1.0 - libm::pow(SECOND_DECAY, steps))) as f32;
        let (keep_first, keep_second) = (FIRST_DECAY as f32, SECOND_DECAY as f32);
        let (take_first, take_second) = ((1.0 - FIRST_DECAY) as f32, (1.0 - SECOND_DECAY) as f32);
        let rate = rate as f32;
        weights
            .par_chunks_mut(CHUNK)
            .zip(gradient.par_chunks(CHUNK))
            .zip(self.first.par_chunks_mut(CHUNK))
            .zip(self.second.par_chunks_mut(CHUNK))
            .for_each(|(((weights, gradient), first), second)| {
                let moments = first.iter_mut().zip(second);
                for ((weight, g), (first, second)) in weights.iter_mut().zip(gradient).zip(moments)
                {
                    *first = keep_first * *first + take_first * g;
                    *second = keep_second * *second + take_second * g * g;
                    let root = (*second * second_share).sqrt() + EPSILON;
                    *weight -= rate * (*first * first_share) / root;
                }
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_step_has_the_length_of_the_rate_and_a_quadratic_is_minimised() {
        let mut adam = Adam::new(2);
        let mut weights = [1.0, -2.0];
        adam.step(&mut weights, &[1e-3, -50.0], 0.1);
        assert!((weights[0] - 0.9).abs() < 1e-5);
        assert!((weights[1] + 1.9).abs() < 1e-5);
        for step in 0..2000 {
            let gradient = [2.0 * (weights[0] - 3.0), 20.0 * (weights[1] - 5.0)];
            adam.step(&mut weights, &gradient, 0.05 * (1.0 - f64::from(step) / 2000.0));
        }
        assert!((weights[0] - 3.0).abs() < 0.05 && (weights[1] - 5.0).abs() < 0.05);
    }
}
