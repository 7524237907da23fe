//! The shape of the network, and what shapes are allowed.

use serde::{Deserialize, Serialize};

use crate::network::error::ArchitectureError;

/// The shape of a slot network.
///
/// `blocks` times: parallel "same" convolutions of the given `kernels` with `filters` filters each, concatenated; batch
/// normalisation; `ReLU`; max-pooling by two. Then dropout; for each width in `dense` a dense layer with batch
/// normalisation, `ReLU` and dropout; then two linear heads: three parameters for each of `slots` slots, and a softmax over
/// the counts 0 to `slots`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Channels of a spectrum.
    pub channels: usize,
    /// The greatest number of components, 1 to 8.
    pub slots: usize,
    /// Widths of the parallel kernels in channels; odd and ascending.
    pub kernels: Vec<usize>,
    /// Filters of each kernel.
    pub filters: usize,
    /// Convolution blocks, each of which halves the length (rounding down).
    pub blocks: usize,
    /// Widths of the dense layers.
    pub dense: Vec<usize>,
    /// The share of values dropped before and after each dense layer in training, 0 to less than 1.
    pub dropout: f64,
}

/// Limits on what a checkpoint may ask of memory; far above anything useful.
const MOST_CHANNELS: usize = 1 << 20;
const MOST_UNITS: usize = 1 << 14;
const MOST_LAYERS: usize = 16;
const MOST_VALUES: usize = 1 << 28;

impl Architecture {
    /// The default network for spectra of `channels` channels with up to `slots` components.
    pub fn new(channels: usize, slots: usize) -> Self {
        Self {
            channels,
            slots,
            kernels: vec![3, 7, 15],
            filters: 16,
            blocks: 4,
            dense: vec![256, 128],
            dropout: 0.0,
        }
    }

    /// Checks every number and their consequences for memory.
    ///
    /// # Errors
    ///
    /// [`ArchitectureError`] names the first key that is out of range.
    pub fn check(&self) -> Result<(), ArchitectureError> {
        let within = |key, value: usize, least, most| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(ArchitectureError::OutOfRange { key, value, least, most })
            }
        };
        within("channels", self.channels, 2, MOST_CHANNELS)?;
        within("slots", self.slots, 1, 8)?;
        within("filters", self.filters, 1, MOST_UNITS)?;
        within("blocks", self.blocks, 1, MOST_LAYERS)?;
        within("kernels", self.kernels.len(), 1, MOST_LAYERS)?;
        within("dense", self.dense.len(), 0, MOST_LAYERS)?;
        for &kernel in &self.kernels {
            within("kernels", kernel, 1, MOST_UNITS)?;
            if kernel % 2 == 0 {
                return Err(ArchitectureError::EvenKernel { kernel });
            }
        }
        if !self.kernels.is_sorted_by(|a, b| a < b) {
            return Err(ArchitectureError::UnorderedKernels);
        }
        for &width in &self.dense {
            within("dense", width, 1, MOST_UNITS)?;
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(ArchitectureError::Dropout { value: self.dropout });
        }
        if self.length(self.blocks) == 0 {
            return Err(ArchitectureError::TooDeep {
                channels: self.channels,
                blocks: self.blocks,
            });
        }
        // The factors are bounded above, so the products cannot wrap a 64-bit integer.
        let taps: usize = self.kernels.iter().sum();
        let convolution = taps * self.block_width() * self.filters * self.blocks;
        let widths: Vec<usize> = [self.features()]
            .into_iter()
            .chain(self.dense.iter().copied())
            .chain([self.outputs()])
            .collect();
        let dense: usize = widths.windows(2).map(|pair| pair[0] * pair[1]).sum();
        let total = convolution.saturating_add(dense);
        if total > MOST_VALUES {
            return Err(ArchitectureError::TooLarge { weights: total });
        }
        Ok(())
    }

    /// Filters of all kernels of a block together.
    pub(in crate::network) fn block_width(&self) -> usize {
        self.kernels.len() * self.filters
    }

    /// The length of a spectrum after `blocks` blocks.
    pub(in crate::network) fn length(&self, blocks: usize) -> usize {
        self.channels >> blocks
    }

    /// Values that the last block hands to the dense layers.
    pub(in crate::network) fn features(&self) -> usize {
        self.length(self.blocks) * self.block_width()
    }

    /// Values that the heads yield: three a slot, then one a count.
    pub(in crate::network) fn outputs(&self) -> usize {
        4 * self.slots + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_passes_and_each_fault_is_named() {
        let good = Architecture::new(140, 2);
        assert_eq!(good.check(), Ok(()));
        let mut bad = good.clone();
        bad.slots = 9;
        assert!(matches!(bad.check(), Err(ArchitectureError::OutOfRange { key: "slots", .. })));
        let mut bad = good.clone();
        bad.kernels = vec![3, 4];
        assert_eq!(bad.check(), Err(ArchitectureError::EvenKernel { kernel: 4 }));
        let mut bad = good.clone();
        bad.kernels = vec![7, 3];
        assert_eq!(bad.check(), Err(ArchitectureError::UnorderedKernels));
        let mut bad = good.clone();
        bad.blocks = 8;
        assert!(matches!(bad.check(), Err(ArchitectureError::TooDeep { .. })));
        let mut bad = good.clone();
        bad.dropout = f64::NAN;
        assert!(matches!(bad.check(), Err(ArchitectureError::Dropout { .. })));
        let mut bad = good;
        bad.filters = 1 << 14;
        bad.dense = vec![1 << 14];
        assert!(matches!(bad.check(), Err(ArchitectureError::TooLarge { .. })));
    }
}
