//! The greatest and the mean value of each feature over all positions: what the count is decided on.

use super::lanes::LANES;

/// The greatest values of some features and, behind them, the means.
#[derive(Debug, Default)]
pub(in crate::network) struct Pools {
    features: usize,
    length: usize,
    /// 2 · features × lanes.
    pub(in crate::network) values: Vec<f32>,
    /// Where each feature is greatest (features × lanes); the first of equals.
    places: Vec<u32>,
}

impl Pools {
    pub(in crate::network) fn new(features: usize, length: usize) -> Self {
        Self {
            features,
            length,
            values: vec![0.0; 2 * features * LANES],
            places: vec![0; features * LANES],
        }
    }

    /// Pools `signal`, whose features at position p lie at `signal[p · step..]`.
    pub(in crate::network) fn forward(&mut self, signal: &[f32], step: usize) {
        let (greatest, means) = self.values.split_at_mut(self.features * LANES);
        let greatest = greatest.as_chunks_mut::<LANES>().0;
        let means = means.as_chunks_mut::<LANES>().0;
        let places = self.places.as_chunks_mut::<LANES>().0;
        let (signal, step) = (signal.as_chunks::<LANES>().0, step / LANES);
        for f in 0..self.features {
            greatest[f] = signal[f];
            means[f] = signal[f];
            places[f] = [0; LANES];
        }
        for position in 1..self.length {
            let values = &signal[position * step..][..self.features];
            for (f, values) in values.iter().enumerate() {
                let (greatest, mean, place) = (&mut greatest[f], &mut means[f], &mut places[f]);
                for lane in 0..LANES {
                    let value = values[lane];
                    mean[lane] += value;
                    let higher = value > greatest[lane];
                    greatest[lane] = if higher { value } else { greatest[lane] };
                    place[lane] = if higher { position as u32 } else { place[lane] };
                }
            }
        }
        let share = 1.0 / self.length as f32;
        for value in means.as_flattened_mut() {
            *value *= share;
        }
    }

    /// Adds the gradient of the signal (length × features), given that of the values.
    pub(in crate::network) fn backward(&self, gradient: &[f32], signal_gradient: &mut [f32]) {
        let (greatest, means) = gradient.split_at(self.features * LANES);
        let share = 1.0 / self.length as f32;
        let size = self.features * LANES;
        for (position, signal) in signal_gradient.chunks_exact_mut(size).enumerate() {
            for index in 0..size {
                let here = self.places[index] == position as u32;
                signal[index] += share * means[index] + if here { greatest[index] } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::difference::{check_gradient, dot, noise};

    #[test]
    fn gradients_equal_differences() {
        let (features, length) = (3, 5);
        let signal = noise(length * features * LANES, 1);
        let upstream = noise(2 * features * LANES, 2);
        let pooled = |signal: &[f32]| {
            let mut pools = Pools::new(features, length);
            pools.forward(signal, features * LANES);
            pools
        };
        let pools = pooled(&signal);
        let column: Vec<f32> =
            (0..length).map(|p| signal[(p * features + 1) * LANES + 4]).collect();
        let greatest = column.iter().copied().fold(f32::MIN, f32::max);
        assert!(pools.values[LANES + 4].to_bits() == greatest.to_bits());
        let mut gradient = vec![0.0; signal.len()];
        pools.backward(&upstream, &mut gradient);
        check_gradient(&signal, &gradient, |signal| dot(&pooled(signal).values, &upstream));
    }
}
