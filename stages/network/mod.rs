//! The slot network: a multi-scale convolutional network that reads a spectrum and tells its Gaussian components.
//!
//! Start from [`Training`] to train, from [`Predictor`] to predict and from [`Checkpoint`] to store what was learned.
//! Everything works on flat arrays; nothing here knows files, stages or pipelines. The arithmetic is `f32` on our own
//! layers over the crate `gemm`, and gives the same bits for any number of threads on one kind of processor.

mod adam;
mod architecture;
mod checkpoint;
mod convolution;
mod dense;
mod dropout;
mod encoding;
mod error;
mod examples;
mod grid;
mod history;
mod hyperparameters;
mod initialization;
mod layout;
mod loss;
mod matrix;
mod model;
mod normalization;
mod pass;
mod pooling;
mod predictor;
mod random;
mod reconstruction;
mod rectification;
mod schedule;
mod snapshot;
mod target;
mod training;
#[cfg(any(test, feature = "cuda"))]
mod twin;
mod validation;

pub use architecture::Architecture;
pub use checkpoint::{Checkpoint, Document, Provenance};
pub use error::{ArchitectureError, CheckpointError, ExamplesError, TrainingError};
pub use examples::{Examples, Unscaling};
pub use grid::Grid;
pub use history::{EpochRecord, LossParts};
pub use hyperparameters::Hyperparameters;
pub use layout::{Layout, TensorPlace};
pub use loss::LossWeights;
pub use predictor::{Predictions, Predictor};
pub use schedule::Schedule;
pub use target::{Link, Space, TargetTransform};
pub use training::{Progress, Training};

#[cfg(test)]
mod difference;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod reference;
