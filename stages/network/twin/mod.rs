//! The same networks a second time, in dfdx: on an NVIDIA GPU for those who build with the feature `cuda`, and in tests on
//! dfdx's CPU device, where its automatic derivatives check the gradients that the core's layers write by hand.
//!
//! Everything is generic over the device and works on matrices whose rows are spectra or positions. What holds for every
//! layer here: sums over a batch and copies along it are products with ones rather than dfdx's own reductions, whose
//! order on a GPU changes from run to run; products don't, so a training gives the same bits on one kind of GPU. dfdx has
//! no convolution or pooling on stable Rust, so these are made of slices, products and choices.

mod convolution;
mod cross_entropy;
mod dense;
mod detector;
mod detector_loss;
mod device;
mod lanes;
mod normalization;
mod on;
mod pooling;
mod pools;
mod signal;
mod slots;
mod slots_loss;
mod upsampling;

#[cfg(feature = "cuda")]
pub(super) use self::on::CUDA;
#[cfg(test)]
pub(super) use self::on::PROCESSOR;

#[cfg(test)]
mod comparison;
