//! The detector: a convolutional network that tells at each channel whether a component's mean lies there, and of which
//! amplitude and sigma it is.
//!
//! It knows no axis: it thinks in channels and in units of the noise rms, so it reads spectra of any number of channels. A
//! spectrum y / rms enters as two planes, y / rms / 20 and asinh(y / rms) / 2. With c features (`width`), each layer being a
//! "same" convolution, batch normalisation and `ReLU`:
//!
//! | layer | resolution | features in → out | kernel | reads |
//! | --- | --- | --- | --- | --- |
//! | `full0` | 1 | 2 → c | 7 | the planes |
//! | `full1` | 1 | c → c | 5 | `full0` |
//! | `half0` | ½ | c → 2c | 5 | `full1`, the greater of each two |
//! | `half1` | ½ | 2c → 2c | 5 | `half0` |
//! | `quarter0` | ¼ | 2c → 2c | 5 | `half1`, the greater of each two |
//! | `quarter1` | ¼ | 2c → 2c | 5 | `quarter0` |
//! | `half2` | ½ | 4c → 2c | 5 | `quarter1`, each twice, beside `half1` |
//! | `full2` | 1 | 3c → 2c | 5 | `half2`, each twice, beside `full1` |
//!
//! From `full2`, a matrix at each channel tells for each of three classes of sigma: the logit of the heat, ln amplitude, the
//! mean's offset from the channel, and ln sigma. The count is decided by two dense layers (64, `ReLU`) on the greatest and the
//! mean values of `quarter1` and `full2`. It is a U-Net (Ronneberger, Fischer and Brox 2015) with the heads of `CenterNet`
//! (Zhou, Wang and Krähenbühl 2019).

pub(super) mod activations;
mod architecture;
pub(super) mod convolution;
mod decoding;
mod design;
mod elementary;
pub(super) mod inference;
pub(super) mod lanes;
mod learner;
pub(super) mod loss;
pub(super) mod model;
pub(super) mod normalization;
pub(super) mod pass;
pub(super) mod pools;
mod predictor;
pub(super) mod target;
mod throughput;
pub(super) mod validation;

#[cfg(test)]
mod reference;

pub(super) use self::predictor::DetectorPredictor;
pub use self::{architecture::Architecture, design::DetectorDesign};
