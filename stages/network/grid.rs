//! Where the channels of a spectrum lie on the physical axis.

use serde::{Deserialize, Serialize};

use super::error::ExamplesError;

/// An axis of equally spaced channels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// The value of channel 0, in axis units.
    pub start: f64,
    /// The difference between neighbouring channels, in axis units; negative where the axis falls.
    pub step: f64,
    /// The number of channels.
    pub channels: usize,
}

impl Grid {
    /// Checks that every channel has a place of its own.
    ///
    /// # Errors
    ///
    /// [`ExamplesError::Grid`] if start or step is not finite or the step is zero.
    pub fn check(&self) -> Result<(), ExamplesError> {
        if self.start.is_finite() && self.step.is_finite() && self.step != 0.0 {
            Ok(())
        } else {
            Err(ExamplesError::Grid { start: self.start, step: self.step })
        }
    }

    /// The signed distance from the first to the last channel, in axis units.
    pub(super) fn extent(&self) -> f64 {
        self.step * (self.channels.max(2) - 1) as f64
    }

    /// A position in axis units as a fraction of the axis: 0 at the first channel, 1 at the last.
    pub(super) fn fraction(&self, position: f64) -> f64 {
        (position - self.start) / self.extent()
    }

    /// The position in axis units of a fraction of the axis.
    pub(super) fn position(&self, fraction: f64) -> f64 {
        self.start + fraction * self.extent()
    }
}
