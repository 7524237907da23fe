//! A network but for the values that it learns: which it is, its shape, and what was fitted before the first step.

use serde::{Deserialize, Serialize};

use super::{
    detector::{self, DetectorDesign},
    error::{ArchitectureError, CheckpointError},
    examples::Examples,
    hyperparameters::Hyperparameters,
    layout::Layout,
    slots::{self, SlotsDesign},
};

/// The shape of either network.
#[derive(Debug, Clone, PartialEq)]
pub enum Architecture {
    /// A dense head with a slot for each component.
    Slots(slots::Architecture),
    /// Heads at each channel.
    Detector(detector::Architecture),
}

impl Architecture {
    /// Checks every number and their consequences for memory.
    ///
    /// # Errors
    ///
    /// [`ArchitectureError`] names the first key that is out of range.
    pub fn check(&self) -> Result<(), ArchitectureError> {
        match self {
            Self::Slots(architecture) => architecture.check(),
            Self::Detector(architecture) => architecture.check(),
        }
    }
}

/// A network but for the values that it learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Design {
    /// The slot network.
    Slots(SlotsDesign),
    /// The detector.
    Detector(DetectorDesign),
}

impl Design {
    /// Fits what is fitted before the first step to the training rows.
    pub(super) fn fit(
        architecture: Architecture,
        keys: &Hyperparameters,
        examples: &Examples,
        rows: &[usize],
    ) -> Self {
        match architecture {
            Architecture::Slots(shape) => {
                Self::Slots(SlotsDesign::fit(shape, keys, examples, rows))
            }
            Architecture::Detector(shape) => {
                Self::Detector(DetectorDesign::fit(shape, examples, rows))
            }
        }
    }

    /// Checks what comes from a document.
    pub(super) fn check(&self) -> Result<(), CheckpointError> {
        match self {
            Self::Slots(design) => design.check(),
            Self::Detector(design) => design.check(),
        }
    }

    /// The greatest number of components.
    pub fn slots(&self) -> usize {
        match self {
            Self::Slots(design) => design.architecture.slots,
            Self::Detector(design) => design.architecture.slots,
        }
    }

    /// The channels that spectra must have, if they must.
    pub(super) fn channels(&self) -> Option<usize> {
        match self {
            Self::Slots(design) => Some(design.architecture.channels),
            Self::Detector(_) => None,
        }
    }

    /// Where its tensors lie.
    pub fn layout(&self) -> Layout {
        match self {
            Self::Slots(design) => design.layout(),
            Self::Detector(design) => design.layout(),
        }
    }

    /// The weights before the first step.
    pub(super) fn initial_weights(&self, seed: u64) -> Vec<f32> {
        match self {
            Self::Slots(design) => design.initial_weights(seed),
            Self::Detector(design) => design.initial_weights(seed),
        }
    }
}
