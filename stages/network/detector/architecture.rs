//! The shape of the detector, and what shapes are allowed.

use serde::{Deserialize, Serialize};

use crate::network::error::ArchitectureError;

/// The shape of a detector: see the [module](super) for its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The greatest number of components, 1 to 8.
    pub slots: usize,
    /// Features of the layers that work at every channel; the deeper ones have twice as many.
    pub width: usize,
}

/// Limits on what a checkpoint may ask of memory; far above anything useful.
const MOST_FEATURES: usize = 256;

impl Architecture {
    /// The default network for up to `slots` components.
    pub fn new(slots: usize) -> Self {
        Self { slots, width: 8 }
    }

    /// Checks every number.
    ///
    /// # Errors
    ///
    /// [`ArchitectureError`] names the first key that is out of range.
    pub fn check(&self) -> Result<(), ArchitectureError> {
        for (key, value, most) in [("slots", self.slots, 8), ("width", self.width, MOST_FEATURES)] {
            if !(1..=most).contains(&value) {
                return Err(ArchitectureError::OutOfRange { key, value, least: 1, most });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_named() {
        let good = Architecture::new(6);
        assert_eq!(good.check(), Ok(()));
        for (key, bad) in [
            ("slots", Architecture { slots: 9, ..good }),
            ("slots", Architecture { slots: 0, ..good }),
            ("width", Architecture { width: 0, ..good }),
            ("width", Architecture { width: 257, ..good }),
        ] {
            let error = bad.check();
            assert!(
                matches!(error, Err(ArchitectureError::OutOfRange { key: found, .. }) if found == key)
            );
        }
    }
}
