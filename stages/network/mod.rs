//! The networks that read a spectrum and tell its Gaussian components: the [`detector`] and the [`slots`] network.
//!
//! Start from [`Training`] to train, from [`Predictor`] to predict and from [`Checkpoint`] to store what was learned; they
//! serve both networks. Everything works on flat arrays; nothing here knows files, stages or pipelines.
//!
//! # The seam between what is learned and what computes
//!
//! - A [`Design`] is a network but for the values that it learns: which one, its shape, and what was fitted to the training
//!   rows before the first step. It is what a checkpoint's document holds.
//! - Its [`Layout`] names every tensor, with its shape and its place in one of two flat vectors: the weights, which are
//!   learned, and the statistics, which batch normalisation keeps. Optimiser, checkpoint and stored state know these vectors
//!   only.
//! - A `Learner` takes a batch: from weights and rows to the sum of the losses, the gradient of their mean, and the moments of
//!   each normalisation, each laid out so. Steps, schedule, running statistics, the best epoch and early stopping are the
//!   [`Training`]'s, written once.
//! - A [`Backend`] says whose learner that is, and who predicts: the native core, or the twin, which is the same networks on
//!   the devices of dfdx. State and checkpoint are the same from either.
//! - Losses are functions of what the heads say and of the truth, to a loss and its gradient.
//!
//! The native arithmetic is `f32` and gives the same bits for any number of threads on one kind of processor: sums over a
//! batch are sums over parts of fixed size, in their order. Every layer's gradient is tested against differences.

mod adam;
mod arithmetic;
mod backend;
mod checkpoint;
mod count;
mod design;
pub mod detector;
mod encoding;
mod error;
mod examples;
mod grid;
mod history;
mod hyperparameters;
mod layout;
mod learner;
mod normalization;
mod predictions;
mod predictor;
mod random;
mod schedule;
pub mod slots;
mod snapshot;
mod training;
#[cfg(any(test, feature = "cuda"))]
mod twin;
mod values;

pub use backend::Backend;
pub use checkpoint::{Checkpoint, Document, Provenance};
pub use design::{Architecture, Design};
pub use error::{
    ArchitectureError, CheckpointError, DeviceFault, ExamplesError, PredictionError, TrainingError,
};
pub use examples::{Examples, Unscaling};
pub use grid::Grid;
pub use history::{EpochRecord, LossParts};
pub use hyperparameters::{Hyperparameters, LossWeights};
pub use layout::{Layout, TensorPlace};
pub use predictions::Predictions;
pub use predictor::Predictor;
pub use schedule::Schedule;
pub use slots::{Link, Space, TargetTransform};
pub use training::{Progress, Training};

#[cfg(test)]
mod difference;
#[cfg(test)]
mod fixture;
