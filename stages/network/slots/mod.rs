//! The slot network: a multi-scale convolutional network with dense layers that tells the parameters of K slots.
//!
//! Its layers work on spectra that lie position by position, features adjacent, as products of matrices by the crate
//! `gemm`.

mod architecture;
pub(super) mod convolution;
pub(super) mod dense;
mod design;
pub(super) mod dropout;
mod initialization;
mod layout;
mod learner;
pub(super) mod loss;
mod matrix;
pub(super) mod model;
pub(super) mod pass;
pub(super) mod pooling;
mod predictor;
mod reconstruction;
pub(super) mod rectification;
pub(super) mod target;
pub(super) mod validation;

#[cfg(test)]
mod reference;

pub(super) use self::predictor::SlotsPredictor;
pub use self::{
    architecture::Architecture,
    design::SlotsDesign,
    target::{Link, Space, TargetTransform},
};
