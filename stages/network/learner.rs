//! What a training advances, whatever the network and wherever its arithmetic runs.

use super::error::DeviceFault;
use super::history::LossParts;
use crate::network::error::TrainingError;

/// Rows that are learned from together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    /// The epoch, from 1.
    pub(super) epoch: usize,
    /// The rows, among the examples.
    pub(super) rows: &'a [usize],
}

/// A network's forward and backward pass over batches of given examples. It holds room, and no values.
pub(super) trait Learner {
    /// Takes a batch forward and backward.
    ///
    /// `weights` and `gradient` lie as in [`Layout::weights`](super::Layout::weights), `moments` as in
    /// [`Layout::statistics`](super::Layout::statistics). Writes the gradient of the mean loss of the batch, and the mean
    /// and the variance that each normalisation found; returns the sum of the losses.
    ///
    /// # Errors
    ///
    /// [`DeviceFault`] if the device fails; the native core does not.
    fn learn(
        &mut self,
        weights: &[f32],
        batch: Batch,
        gradient: &mut [f32],
        moments: &mut [f32],
    ) -> Result<LossParts, DeviceFault>;
}

/// What takes the steps of an epoch with a learner; gives the sum of the losses and the last learning rate.
pub(super) type Lesson<'a> =
    dyn FnMut(&mut dyn Learner) -> Result<(LossParts, f64), TrainingError> + 'a;
