//! Batch normalisation: each feature is brought to mean 0 and variance 1 over the batch, then scaled and shifted.
//!
//! A feature's values over all spectra and positions of a batch count as its samples (Ioffe and Szegedy 2015). Sums run in
//! blocks of fixed size and are folded in index order, so they do not depend on threads.

/// Added to variances, so that a constant feature divides by something.
pub(super) const EPSILON: f64 = 1e-5;
/// Rows that are summed in `f32` before the sum goes on in `f64`.
const BLOCK: usize = 64;

/// Two sums over rows, for each feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sums {
    /// The sums of the first quantity.
    pub(super) first: Vec<f64>,
    /// The sums of the second.
    pub(super) second: Vec<f64>,
}

impl Sums {
    /// No rows yet.
    pub(super) fn new(features: usize) -> Self {
        Self { first: vec![0.0; features], second: vec![0.0; features] }
    }

    /// Adds, for each row, what `quantities(row)` yields for each feature, where a row is one index of the caller's.
    pub(super) fn add_rows(
        &mut self,
        rows: usize,
        mut quantities: impl FnMut(usize, &mut [f32], &mut [f32]),
    ) {
        let features = self.first.len();
        let (mut first, mut second) = (vec![0f32; features], vec![0f32; features]);
        for block in (0..rows).step_by(BLOCK) {
            first.fill(0.0);
            second.fill(0.0);
            for row in block..(block + BLOCK).min(rows) {
                quantities(row, &mut first, &mut second);
            }
            add(&mut self.first, &first);
            add(&mut self.second, &second);
        }
    }

    /// The sums of values and of squares of `values` (rows × features).
    pub(super) fn moments(values: &[f32], features: usize) -> Self {
        let mut sums = Self::new(features);
        sums.add_rows(values.len() / features, |row, first, second| {
            let values = &values[row * features..(row + 1) * features];
            for ((value, first), second) in values.iter().zip(first).zip(second) {
                *first += value;
                *second += value * value;
            }
        });
        sums
    }

    /// Adds the sums over further rows.
    pub(super) fn merge(&mut self, other: &Self) {
        for (total, part) in self.first.iter_mut().zip(&other.first) {
            *total += part;
        }
        for (total, part) in self.second.iter_mut().zip(&other.second) {
            *total += part;
        }
    }
}

fn add(totals: &mut [f64], parts: &[f32]) {
    for (total, part) in totals.iter_mut().zip(parts) {
        *total += f64::from(*part);
    }
}

/// A normalisation ready to be applied: `value · scale + shift`.
#[derive(Debug, Clone, Default)]
pub(super) struct Normalization {
    /// Means over the batch.
    pub(super) mean: Vec<f32>,
    /// Variances over the batch (divided by the number of rows).
    pub(super) variance: Vec<f32>,
    /// 1 / standard deviation.
    pub(super) inverse: Vec<f32>,
    /// The learned weight over the standard deviation.
    pub(super) scale: Vec<f32>,
    /// The learned bias less the scaled mean.
    pub(super) shift: Vec<f32>,
}

impl Normalization {
    /// From the moments over a batch of `rows`.
    pub(super) fn of_batch(moments: &Sums, rows: usize, weight: &[f32], bias: &[f32]) -> Self {
        let count = rows as f64;
        let mean: Vec<f32> = moments.first.iter().map(|s| (s / count) as f32).collect();
        let variance: Vec<f32> = moments
            .first
            .iter()
            .zip(&moments.second)
            .map(|(first, second)| {
                let mean = first / count;
                (second / count - mean * mean).max(0.0) as f32
            })
            .collect();
        Self::new(mean, variance, weight, bias)
    }

    /// From means and variances that are known already.
    pub(super) fn new(mean: Vec<f32>, variance: Vec<f32>, weight: &[f32], bias: &[f32]) -> Self {
        let inverse: Vec<f32> =
            variance.iter().map(|v| (1.0 / (f64::from(*v) + EPSILON).sqrt()) as f32).collect();
        let scale: Vec<f32> = inverse.iter().zip(weight).map(|(i, w)| i * w).collect();
        let shift = bias.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        Self { mean, variance, inverse, scale, shift }
    }

    /// Adds one gradient row to the sums that [`backward`](Self::backward) needs: of the gradient, and of the gradient
    /// times the normalised value (`offset` is the first feature's index).
    pub(super) fn add_gradient(
        &self,
        values: &[f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        for (f, (value, gradient)) in values.iter().zip(gradient).enumerate() {
            first[f] += gradient;
            second[f] += gradient * ((value - self.mean[f]) * self.inverse[f]);
        }
    }

    /// The gradient of the values, given `sums` of the gradient and of the gradient times the normalised value over all
    /// `rows` of the batch. `sums` are themselves the gradients of bias and weight.
    pub(super) fn backward(&self, sums: &Sums, rows: usize) -> NormalizationGradient {
        let count = rows as f64;
        let slope: Vec<f32> = (0..self.mean.len())
            .map(|f| -self.scale[f] * self.inverse[f] * (sums.second[f] / count) as f32)
            .collect();
        let offset = (0..self.mean.len())
            .map(|f| -self.scale[f] * (sums.first[f] / count) as f32 - slope[f] * self.mean[f])
            .collect();
        NormalizationGradient { scale: self.scale.clone(), slope, offset }
    }
}

/// The gradient of a normalised value `x` given that of the result, `g`: `scale · g + slope · x + offset`.
#[derive(Debug, Clone, Default)]
pub(super) struct NormalizationGradient {
    /// Factor of the gradient of the result.
    pub(super) scale: Vec<f32>,
    /// Factor of the value.
    pub(super) slope: Vec<f32>,
    /// What is added.
    pub(super) offset: Vec<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::difference::{check_gradient, dot, noise};

    const FEATURES: usize = 3;
    const ROWS: usize = 130;

    fn normalized(values: &[f32], weight: &[f32], bias: &[f32]) -> (Normalization, Vec<f32>) {
        let moments = Sums::moments(values, FEATURES);
        let normalization = Normalization::of_batch(&moments, ROWS, weight, bias);
        let result = values
            .chunks_exact(FEATURES)
            .flat_map(|row| {
                (0..FEATURES).map(|f| row[f] * normalization.scale[f] + normalization.shift[f])
            })
            .collect();
        (normalization, result)
    }

    #[test]
    fn result_has_the_bias_as_mean_and_the_weight_as_deviation() {
        let values: Vec<f32> = noise(ROWS * FEATURES, 1).iter().map(|v| 3.0 * v + 2.0).collect();
        let (_, result) = normalized(&values, &[1.0, 2.0, 0.5], &[0.0, 1.0, -1.0]);
        let sums = Sums::moments(&result, FEATURES);
        for (f, (bias, weight)) in [(0.0, 1.0), (1.0, 2.0), (-1.0, 0.5)].into_iter().enumerate() {
            let mean = sums.first[f] / ROWS as f64;
            let variance = sums.second[f] / ROWS as f64 - mean * mean;
            assert!((mean - bias).abs() < 1e-4);
            assert!((variance.sqrt() - weight).abs() < 1e-4 * weight);
        }
    }

    #[test]
    fn gradients_equal_differences() {
        let values = noise(ROWS * FEATURES, 2);
        let (weight, bias) = (noise(FEATURES, 3), noise(FEATURES, 4));
        let upstream = noise(ROWS * FEATURES, 5);
        let value = |v: &[f32], w: &[f32], b: &[f32]| dot(&normalized(v, w, b).1, &upstream);
        let (normalization, _) = normalized(&values, &weight, &bias);
        let mut sums = Sums::new(FEATURES);
        sums.add_rows(ROWS, |row, first, second| {
            let of = row * FEATURES..(row + 1) * FEATURES;
            normalization.add_gradient(&values[of.clone()], &upstream[of], first, second);
        });
        let gradient = normalization.backward(&sums, ROWS);
        let dx: Vec<f32> = (0..ROWS * FEATURES)
            .map(|i| {
                let f = i % FEATURES;
                gradient.scale[f] * upstream[i] + gradient.slope[f] * values[i] + gradient.offset[f]
            })
            .collect();
        let single = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        check_gradient(&values, &dx, |v| value(v, &weight, &bias));
        check_gradient(&weight, &single(&sums.second), |w| value(&values, w, &bias));
        check_gradient(&bias, &single(&sums.first), |b| value(&values, &weight, b));
    }
}
