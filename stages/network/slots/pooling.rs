//! Normalise, rectify and keep the greater of each two neighbouring positions, in one sweep.
//!
//! An odd last position is dropped; it still counts in the batch's moments.

use crate::network::normalization::{Normalization, NormalizationGradient, Sums};

/// The sizes of one pooling of `length` positions with `features` values each.
#[derive(Debug, Clone, Copy)]
pub(in crate::network) struct Pooling {
    /// Positions before pooling.
    pub(in crate::network) length: usize,
    /// Values at each position.
    pub(in crate::network) features: usize,
}

impl Pooling {
    /// Values of one result.
    pub(in crate::network) fn output_size(self) -> usize {
        self.length / 2 * self.features
    }

    /// Pools one spectrum: `values` (length × features) to `pooled` (length / 2 × features).
    pub(in crate::network) fn forward(
        self,
        by: &Normalization,
        values: &[f32],
        pooled: &mut [f32],
    ) {
        let n = self.features;
        let (scale, shift) = (&by.scale[..n], &by.shift[..n]);
        for (pair, pooled) in values.chunks_exact(2 * n).zip(pooled.chunks_exact_mut(n)) {
            let (left, right) = pair.split_at(n);
            let (left, right, pooled) = (&left[..n], &right[..n], &mut pooled[..n]);
            for f in 0..n {
                let a = left[f] * scale[f] + shift[f];
                let b = right[f] * scale[f] + shift[f];
                let greater = if b > a { b } else { a };
                pooled[f] = if greater > 0.0 { greater } else { 0.0 };
            }
        }
    }

    /// Adds one spectrum to the sums that the normalisation's backward pass needs.
    pub(in crate::network) fn add_gradient(
        self,
        by: &Normalization,
        values: &[f32],
        gradient: &[f32],
        sums: &mut Sums,
    ) {
        let n = self.features;
        let (scale, shift) = (&by.scale[..n], &by.shift[..n]);
        let (mean, inverse) = (&by.mean[..n], &by.inverse[..n]);
        sums.add_rows(self.length / 2, |row, first, second| {
            let (left, right) = values[2 * row * n..][..2 * n].split_at(n);
            let (left, right) = (&left[..n], &right[..n]);
            let gradient = &gradient[row * n..][..n];
            let (first, second) = (&mut first[..n], &mut second[..n]);
            for f in 0..n {
                let (l, r, g) = (left[f], right[f], gradient[f]);
                let a = l * scale[f] + shift[f];
                let b = r * scale[f] + shift[f];
                let winner = if b > a { r } else { l };
                let greater = if b > a { b } else { a };
                let g = if greater > 0.0 { g } else { 0.0 };
                first[f] += g;
                second[f] += g * ((winner - mean[f]) * inverse[f]);
            }
        });
    }

    /// Writes the gradient of one spectrum's values in as many equal parts of the features as there are `starts`, each part to
    /// its own place: position `p` of part `i`, of `w` features, to `result[starts[i] + p * w..]`.
    pub(in crate::network) fn backward(
        self,
        by: &Normalization,
        through: &NormalizationGradient,
        values: &[f32],
        gradient: &[f32],
        starts: &[usize],
        result: &mut [f32],
    ) {
        let n = self.features;
        let filters = n / starts.len();
        for (part, &start) in starts.iter().enumerate() {
            let of = part * filters..(part + 1) * filters;
            // Slices of one known length let the compiler drop the bounds checks and work on several features at once.
            let scale = &by.scale[of.clone()][..filters];
            let shift = &by.shift[of.clone()][..filters];
            let slope = &through.slope[of.clone()][..filters];
            let offset = &through.offset[of.clone()][..filters];
            let factor = &through.scale[of.clone()][..filters];
            let result = &mut result[start..start + self.length * filters];
            let pairs = values
                .chunks_exact(2 * n)
                .zip(gradient.chunks_exact(n))
                .zip(result.chunks_exact_mut(2 * filters));
            for ((pair, gradient), result) in pairs {
                let left = &pair[of.clone()][..filters];
                let right = &pair[n + of.start..][..filters];
                let gradient = &gradient[of.clone()][..filters];
                let (to_left, to_right) = result.split_at_mut(filters);
                let to_right = &mut to_right[..filters];
                for f in 0..filters {
                    let (l, r, g) = (left[f], right[f], gradient[f]);
                    let a = l * scale[f] + shift[f];
                    let b = r * scale[f] + shift[f];
                    let greater = if b > a { b } else { a };
                    let g = factor[f] * if greater > 0.0 { g } else { 0.0 };
                    to_left[f] = slope[f] * l + offset[f] + if b > a { 0.0 } else { g };
                    to_right[f] = slope[f] * r + offset[f] + if b > a { g } else { 0.0 };
                }
            }
            if self.length % 2 == 1 {
                let last = &values[(self.length - 1) * n..][of];
                let result = &mut result[(self.length - 1) * filters..];
                for f in 0..filters {
                    result[f] = slope[f] * last[f] + offset[f];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::difference::{check_gradient, dot, noise};

    const POOLING: Pooling = Pooling { length: 41, features: 4 };
    const SPECTRA: usize = 3;

    fn pooled(values: &[f32], weight: &[f32], bias: &[f32]) -> (Normalization, Vec<f32>) {
        let moments = Sums::moments(values, 4);
        let by = Normalization::of_batch(&moments, SPECTRA * 41, weight, bias);
        let mut result = vec![0.0; SPECTRA * POOLING.output_size()];
        for (values, result) in values.chunks_exact(41 * 4).zip(result.chunks_exact_mut(20 * 4)) {
            POOLING.forward(&by, values, result);
        }
        (by, result)
    }

    /// Values far from a tie and, after normalisation, from zero, where the function has no derivative.
    fn values() -> Vec<f32> {
        let mut values: Vec<f32> =
            noise(SPECTRA * 41 * 4, 11).iter().map(|v| v.signum() * (0.3 + v.abs())).collect();
        for pair in values.chunks_exact_mut(8) {
            for f in 0..4 {
                if (pair[f] - pair[4 + f]).abs() < 0.2 {
                    pair[f] += 0.4 * pair[f].signum();
                }
            }
        }
        values
    }

    #[test]
    fn greater_neighbour_survives_and_negatives_do_not() {
        let by = Normalization::new(vec![1.0], vec![1.0 - 1e-5], &[1.0], &[0.0]);
        let pooling = Pooling { length: 5, features: 1 };
        let mut result = [9.0; 2];
        pooling.forward(&by, &[3.0, 5.0, 0.0, 0.5, 99.0], &mut result);
        assert!((result[0] - 4.0).abs() < 1e-5);
        assert!(result[1].abs() < 1e-9);
    }

    #[test]
    fn gradients_equal_differences() {
        let (values, weight, bias) = (values(), [1.0, -0.7, 0.5, 1.5], [0.05, 0.02, -0.04, 0.03]);
        let upstream = noise(SPECTRA * 80, 12);
        let value = |v: &[f32], w: &[f32], b: &[f32]| dot(&pooled(v, w, b).1, &upstream);
        let (by, _) = pooled(&values, &weight, &bias);
        let mut sums = Sums::new(4);
        let spectra = || values.chunks_exact(164).zip(upstream.chunks_exact(80));
        for (values, gradient) in spectra() {
            POOLING.add_gradient(&by, values, gradient, &mut sums);
        }
        let through = by.backward(&sums, SPECTRA * 41);
        // Two parts of two features, the second's place before the first's.
        let mut dx = vec![0.0; values.len()];
        for ((values, gradient), dx) in spectra().zip(dx.chunks_exact_mut(164)) {
            let mut parts = vec![0.0; 164];
            POOLING.backward(&by, &through, values, gradient, &[82, 0], &mut parts);
            for position in 0..41 {
                for f in 0..4 {
                    dx[position * 4 + f] = parts[[82, 0][f / 2] + position * 2 + f % 2];
                }
            }
        }
        let single = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        check_gradient(&values, &dx, |v| value(v, &weight, &bias));
        check_gradient(&weight, &single(&sums.second), |w| value(&values, w, &bias));
        check_gradient(&bias, &single(&sums.first), |b| value(&values, &weight, b));
    }
}
