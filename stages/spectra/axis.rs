//! The spectral axis: which velocity (or frequency) each channel stands for.

use serde::{Deserialize, Serialize};

/// A linear spectral axis.
///
/// `step` is negative when the axis runs downwards, as it does in many cubes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// The value at the centre of channel 0, in `unit`.
    pub start: f64,
    /// The difference between neighbouring channels, in `unit`; not zero.
    pub step: f64,
    /// The number of channels.
    pub channels: usize,
    /// The unit, as FITS spells it (`m/s`, `km/s`, `Hz`), or empty.
    pub unit: String,
}

impl Axis {
    /// The value at the centre of `channel`, which may be fractional.
    pub fn value(&self, channel: f64) -> f64 {
        self.start + self.step * channel
    }

    /// The (fractional) channel at which the axis has `value`.
    pub fn channel(&self, value: f64) -> f64 {
        (value - self.start) / self.step
    }

    /// The values at all channel centres.
    pub fn values(&self) -> Vec<f64> {
        (0..self.channels).map(|c| self.value(c as f64)).collect()
    }

    /// The width of one channel, in axis units; positive.
    pub fn width(&self) -> f64 {
        self.step.abs()
    }
}
