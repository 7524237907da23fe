//! How well predicted numbers agree with true ones: R² and mean absolute error, while they stream
//! by.

use serde::{Deserialize, Serialize};

/// One value for each parameter of a component.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ByParameter<T> {
    /// For the amplitude.
    pub amplitude: T,
    /// For the mean.
    pub mean: T,
    /// For the sigma.
    pub sigma: T,
}

impl<T> ByParameter<T> {
    /// Applies `f` to each of the three.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> ByParameter<U> {
        ByParameter { amplitude: f(self.amplitude), mean: f(self.mean), sigma: f(self.sigma) }
    }
}

/// Running sums over pairs of a true and a predicted number.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Agreement {
    count: u64,
    mean: f64,
    /// The sum of squared deviations of the true numbers from their mean.
    squares: f64,
    residual_squares: f64,
    residual_moduli: f64,
}

impl Agreement {
    /// Takes in one pair, by Welford's (1962) update.
    pub(super) fn push(&mut self, truth: f64, predicted: f64) {
        self.count += 1;
        let delta = truth - self.mean;
        self.mean += delta / self.count as f64;
        self.squares += delta * (truth - self.mean);
        let residual = truth - predicted;
        self.residual_squares += residual * residual;
        self.residual_moduli += residual.abs();
    }

    /// The same with `zeros` more pairs of (0, 0), by the pairwise update of Chan et al. (1983).
    pub(super) fn with_zeros(mut self, zeros: u64) -> Self {
        let (n, m) = (self.count as f64, zeros as f64);
        if zeros > 0 {
            self.squares += self.mean * self.mean * n * m / (n + m);
            self.mean *= n / (n + m);
            self.count += zeros;
        }
        self
    }

    /// The coefficient of determination, 1 − Σ(t − p)² / Σ(t − t̄)²; `None` if the true numbers
    /// don't vary.
    pub(super) fn r2(&self) -> Option<f64> {
        let r2 = 1.0 - self.residual_squares / self.squares;
        (self.squares > 0.0 && r2.is_finite()).then_some(r2)
    }

    /// The mean of |t − p|; `None` if there are no pairs.
    pub(super) fn mean_absolute_error(&self) -> Option<f64> {
        (self.count > 0).then(|| self.residual_moduli / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(f64, f64)]) -> Agreement {
        let mut agreement = Agreement::default();
        for &(truth, predicted) in pairs {
            agreement.push(truth, predicted);
        }
        agreement
    }

    #[test]
    fn r2_and_mean_absolute_error_are_those_of_the_textbook() {
        // scikit-learn's documentation of r2_score and mean_absolute_error: 0.948… and 0.5.
        let agreement = of(&[(3.0, 2.5), (-0.5, 0.0), (2.0, 2.0), (7.0, 8.0)]);
        assert!((agreement.r2().unwrap() - 0.948_608_137_044_967_9).abs() < 1e-12);
        assert!((agreement.mean_absolute_error().unwrap() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn zeros_may_be_added_at_the_end() {
        let pairs = [(3.0, 2.5), (1250.0, 1249.0), (7.0, 8.0)];
        let mut explicit = pairs.to_vec();
        explicit.extend([(0.0, 0.0); 5]);
        let (added, explicit) = (of(&pairs).with_zeros(5), of(&explicit));
        assert!((added.r2().unwrap() - explicit.r2().unwrap()).abs() < 1e-12);
        assert_eq!(added.mean_absolute_error(), explicit.mean_absolute_error());
        assert_eq!(of(&[]).with_zeros(5).r2(), None);
    }

    #[test]
    fn nothing_to_compare_is_none() {
        assert_eq!(of(&[]).r2(), None);
        assert_eq!(of(&[]).mean_absolute_error(), None);
        assert_eq!(of(&[(2.0, 1.0), (2.0, 3.0)]).r2(), None);
        assert_eq!(of(&[(0.0, f64::NAN), (1.0, 1.0)]).r2(), None);
    }
}
