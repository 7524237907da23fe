//! What turns correlated noise into white noise.

/// The most by which neighbouring channels may correlate here: at one half, the covariance of long spectra is no
/// longer invertible.
pub(super) const MOST_CORRELATION: f64 = 0.49;

/// How small what is left of a column's end must have become for it to be cut.
const LEFT_OVER: f64 = 1e-9;

/// The inverse of the Cholesky factor of the noise's covariance.
///
/// In units of its rms, the noise has variance 1 in every channel, correlates by ρ between neighbours, and not beyond
/// them: its covariance C is tridiagonal, that of a moving average of two. C = L Lᵀ with L lower bidiagonal, of
/// diagonal dᵢ and below it ρ/dᵢ₋₁, where dᵢ² = 1 − ρ²/dᵢ₋₁² and the first is 1 (Golub & Van Loan 2013, §4.3.6). So
/// z = L⁻¹ v is the recursion zᵢ = (vᵢ − (ρ/dᵢ₋₁) zᵢ₋₁)/dᵢ, and rᵀ C⁻¹ r = Σ zᵢ² exactly. As C has no entry two off the
/// diagonal, a missing channel cuts the noise in two independent pieces, and the recursion starts afresh behind it.
#[derive(Debug, Clone, Default)]
pub(super) struct Whitening {
    /// 1/dᵢ, and 0 where a channel is missing.
    pub(super) own: Vec<f64>,
    /// (ρ/dᵢ₋₁)/dᵢ, and 0 behind a gap.
    pub(super) before: Vec<f64>,
    /// How many channels behind its end a column still matters; 0 for white noise.
    pub(super) tail: usize,
}

impl Whitening {
    /// For channels of which some are `present`, correlated by `correlation`.
    pub(super) fn set(&mut self, present: impl Iterator<Item = bool>, correlation: f64) {
        self.own.clear();
        self.before.clear();
        let mut last = None;
        for present in present {
            let (own, before) = match (present, last) {
                (false, _) => (0.0, 0.0),
                (true, None) => (1.0, 0.0),
                (true, Some(last)) => {
                    let below: f64 = correlation * last;
                    let own = 1.0 / (1.0 - below * below).sqrt();
                    (own, below * own)
                }
            };
            last = present.then_some(own);
            self.own.push(own);
            self.before.push(before);
        }
        // Far from a start, every step takes a factor (1 − √(1 − 4ρ²)) / 2ρ.
        let root = (1.0 - 4.0 * correlation * correlation).sqrt();
        let factor = (2.0 * correlation / (1.0 + root)).abs();
        self.tail = if factor > 0.0 {
            (libm::log(LEFT_OVER) / libm::log(factor)).ceil().max(1.0) as usize
        } else {
            0
        };
    }

    /// Whitens three columns of the channels from `start` on, before which they are zero. Does nothing for white
    /// noise: there, a column is whitened by the factors `own` that it already holds.
    pub(super) fn apply(&self, start: usize, columns: [&mut [f64]; 3]) {
        let n = columns[0].len();
        let (own, before) = (&self.own[start..start + n], &self.before[start..start + n]);
        let [a, b, c] = columns;
        let (b, c) = (&mut b[..n], &mut c[..n]);
        let [mut x, mut y, mut z] = [0.0; 3];
        for i in 0..n {
            x = own[i] * a[i] - before[i] * x;
            y = own[i] * b[i] - before[i] * y;
            z = own[i] * c[i] - before[i] * z;
            (a[i], b[i], c[i]) = (x, y, z);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_covariance_is_inverted_exactly_gaps_and_all() {
        let (n, correlation) = (12, 0.37);
        let present = |i: usize| i != 4 && i != 5;
        let mut whitening = Whitening::default();
        whitening.set((0..n).map(present), correlation);
        // L⁻¹ column by column; then L⁻¹ C L⁻ᵀ must be the identity on the present channels.
        let inverse: Vec<Vec<f64>> = (0..n)
            .map(|column| {
                let [mut a, mut b, mut c] = [(); 3].map(|()| vec![0.0; n]);
                a[column] = 1.0;
                whitening.apply(0, [&mut a, &mut b, &mut c]);
                a
            })
            .collect();
        let covariance = |i: usize, j: usize| match i.abs_diff(j) {
            0 => 1.0,
            1 => correlation,
            _ => 0.0,
        };
        for i in 0..n {
            for j in 0..n {
                let mut sum = 0.0;
                for k in (0..n).filter(|&k| present(k)) {
                    for l in (0..n).filter(|&l| present(l)) {
                        sum += inverse[k][i] * covariance(k, l) * inverse[l][j];
                    }
                }
                let expected = if i == j && present(i) { 1.0 } else { 0.0 };
                assert!((sum - expected).abs() < 1e-12, "({i}, {j}): {sum}");
            }
        }
    }

    #[test]
    fn a_column_has_ended_behind_its_tail() {
        for correlation in [0.37, -0.3, 0.49] {
            let mut whitening = Whitening::default();
            whitening.set((0..400).map(|_| true), correlation);
            let [mut a, mut b, mut c] = [(); 3].map(|()| vec![0.0; 400]);
            a[100] = 1.0;
            whitening.apply(0, [&mut a, &mut b, &mut c]);
            assert!(a[101 + whitening.tail].abs() < 2.0 * LEFT_OVER, "{correlation}");
            assert!(whitening.tail < 150, "{}", whitening.tail);
        }
    }

    #[test]
    fn white_noise_is_left_alone() {
        let mut whitening = Whitening::default();
        whitening.set([true, false, true].into_iter(), 0.0);
        assert_eq!(whitening.own, [1.0, 0.0, 1.0]);
        assert_eq!((whitening.before.as_slice(), whitening.tail), (&[0.0; 3][..], 0));
    }
}
