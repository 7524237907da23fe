//! How errors compare with the standard deviations that they should have.

use serde::{Deserialize, Serialize};

use super::{ByParameter, Component};

/// The shares of errors within one, two and three of their standard deviations.
///
/// Normal errors of the right size have 0.6827, 0.9545 and 0.9973. All are `None` where there are no errors.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Within {
    /// The share within one standard deviation.
    pub within_1: Option<f64>,
    /// The share within two standard deviations.
    pub within_2: Option<f64>,
    /// The share within three standard deviations.
    pub within_3: Option<f64>,
}

/// The shares of the errors of matched components.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// The number of matched components whose standard deviations are known.
    pub components: u64,
    /// Of the errors of amplitudes.
    pub amplitude: Within,
    /// Of the errors of means.
    pub mean: Within,
    /// Of the errors of sigmas.
    pub sigma: Within,
    /// Of all three in one pool.
    pub all: Within,
}

/// How the errors of matched components compare with standard deviations.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Calibration {
    /// Of all matched components.
    pub matched: Coverage,
    /// Of those in spectra whose number of components was found right. Where it wasn't, what was fitted is another
    /// model, and no bound on the true one's parameters applies to it.
    pub right_count: Coverage,
}

/// Counts of errors of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Errors {
    count: u64,
    within: [u64; 3],
}

impl Errors {
    /// Takes in an error and the standard deviation that it should have.
    fn push(&mut self, error: f64, deviation: f64) {
        self.count += 1;
        for (within, sigmas) in self.within.iter_mut().zip([1.0, 2.0, 3.0]) {
            // An error that is no number is within nothing.
            *within += u64::from(error.abs() <= sigmas * deviation);
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            within: std::array::from_fn(|i| self.within[i] + other.within[i]),
        }
    }

    fn shares(self) -> Within {
        let share = |within: u64| (self.count > 0).then(|| within as f64 / self.count as f64);
        let [one, two, three] = self.within.map(share);
        Within { within_1: one, within_2: two, within_3: three }
    }
}

/// Counts of the errors of components.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct ComponentErrors(ByParameter<Errors>);

impl ComponentErrors {
    /// Takes in a pair. Where a standard deviation isn't a positive number, nothing is known of the pair, and it doesn't
    /// count.
    pub(super) fn push(
        &mut self,
        truth: &Component,
        found: &Component,
        deviation: &ByParameter<f64>,
    ) {
        let ByParameter { amplitude, mean, sigma } = *deviation;
        if [amplitude, mean, sigma].iter().all(|value| value.is_finite() && *value > 0.0) {
            self.0.amplitude.push(found.amplitude - truth.amplitude, amplitude);
            self.0.mean.push(found.mean - truth.mean, mean);
            self.0.sigma.push(found.sigma - truth.sigma, sigma);
        }
    }

    pub(super) fn coverage(&self) -> Coverage {
        let ByParameter { amplitude, mean, sigma } = self.0;
        Coverage {
            components: amplitude.count,
            amplitude: amplitude.shares(),
            mean: mean.shares(),
            sigma: sigma.shares(),
            all: amplitude.plus(mean).plus(sigma).shares(),
        }
    }
}

/// Counts for a [`Calibration`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct CalibrationErrors {
    matched: ComponentErrors,
    right_count: ComponentErrors,
}

impl CalibrationErrors {
    /// Takes in a pair, of a spectrum in which the number of components `is_right` or isn't.
    pub(super) fn push(
        &mut self,
        truth: &Component,
        found: &Component,
        deviation: &ByParameter<f64>,
        is_right: bool,
    ) {
        self.matched.push(truth, found, deviation);
        if is_right {
            self.right_count.push(truth, found, deviation);
        }
    }

    /// The shares; `None` where no standard deviation was known.
    pub(super) fn finish(&self) -> Option<Calibration> {
        let matched = self.matched.coverage();
        (matched.components > 0)
            .then(|| Calibration { matched, right_count: self.right_count.coverage() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: Component = Component { amplitude: 1.0, mean: 50.0, sigma: 5.0 };
    const UNIT: ByParameter<f64> = ByParameter { amplitude: 0.1, mean: 1.0, sigma: 0.5 };

    fn off_by(sigmas: [f64; 3]) -> Component {
        Component {
            amplitude: 1.0 + 0.1 * sigmas[0],
            mean: 50.0 + sigmas[1],
            sigma: 5.0 + 0.5 * sigmas[2],
        }
    }

    #[test]
    fn errors_are_counted_in_their_own_deviations() {
        let mut errors = CalibrationErrors::default();
        errors.push(&TRUTH, &off_by([0.5, -1.5, 2.5]), &UNIT, true);
        errors.push(&TRUTH, &off_by([-3.5, 0.5, 0.5]), &UNIT, false);
        let Calibration { matched, right_count } = errors.finish().unwrap();
        assert_eq!((matched.components, right_count.components), (2, 1));
        assert_eq!(
            matched.amplitude,
            Within { within_1: Some(0.5), within_2: Some(0.5), within_3: Some(0.5) }
        );
        assert_eq!(
            right_count.mean,
            Within { within_1: Some(0.0), within_2: Some(1.0), within_3: Some(1.0) }
        );
        assert_eq!(matched.all.within_1, Some(3.0 / 6.0));
        assert_eq!(matched.all.within_2, Some(4.0 / 6.0));
        assert_eq!(matched.all.within_3, Some(5.0 / 6.0));
    }

    #[test]
    fn what_has_no_deviation_does_not_count() {
        let mut errors = CalibrationErrors::default();
        for sigma in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
            errors.push(&TRUTH, &TRUTH, &ByParameter { sigma, ..UNIT }, true);
        }
        assert_eq!(errors.finish(), None);
        let nowhere = Component { mean: f64::NAN, ..TRUTH };
        errors.push(&TRUTH, &nowhere, &UNIT, true);
        let coverage = errors.finish().unwrap().matched;
        assert_eq!((coverage.mean.within_3, coverage.amplitude.within_1), (Some(0.0), Some(1.0)));
    }
}
