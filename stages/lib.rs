//! The stages of `pipe`: one stage, one file.
//!
//! The science is in [`spectra`], the network in [`network`], the pictures in [`figures`]: plain functions on arrays,
//! which the stages connect to artifacts.

pub mod artifacts;
pub mod figures;
pub mod network;
pub mod spectra;

pub mod predict;
pub mod train;

use pipe_engine::Registry;

/// Every kind of stage that ships with `pipe`.
pub fn builtin() -> Registry {
    Registry::new().with::<train::Train>().with::<predict::Predict>()
}
