//! One Gaussian component of a spectrum.

use serde::{Deserialize, Serialize};

/// The ratio of a Gaussian's full width at half maximum to its sigma, 2 √(2 ln 2).
pub const FWHM_PER_SIGMA: f64 = 2.354_820_045_030_949_3;

/// One Gaussian component: `amplitude · exp(−(x − mean)² / (2 sigma²))`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// Peak intensity, in the units of the spectrum.
    pub amplitude: f64,
    /// Position of the peak, in axis units.
    pub mean: f64,
    /// Standard deviation, in axis units; positive.
    pub sigma: f64,
}

impl Component {
    /// The component's value at `x` (axis units).
    ///
    /// Uses `libm`, so that the result has the same bits on every machine.
    pub fn value(&self, x: f64) -> f64 {
        let z = (x - self.mean) / self.sigma;
        self.amplitude * libm::exp(-0.5 * z * z)
    }

    /// The full width at half maximum, in axis units.
    pub fn fwhm(&self) -> f64 {
        FWHM_PER_SIGMA * self.sigma
    }

    /// The area under the component, amplitude · sigma · √(2π), in intensity times axis units.
    pub fn integral(&self) -> f64 {
        self.amplitude * self.sigma * (2.0 * std::f64::consts::PI).sqrt()
    }
}
