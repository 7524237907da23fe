//! Random forests that tell the components of spectra: plain functions on arrays.
//!
//! One forest tells the number of components of a spectrum. For each number, a forest for each parameter of each
//! component, in order of mean, is trained on the spectra with that number. So no parameter of a component that isn't
//! there is learnt or averaged in.
//!
//! The trees are those of `smartcore`, which knows forests of one quantity, on one thread. They are grown in batches with
//! seeds of their own, so that the result is the same for any number of threads, and a forest of ten trees is the
//! beginning of one of thirty.

mod batch;
mod forest;
mod grid;
mod settings;

pub use batch::ForestError;
pub use forest::Forest;
pub use grid::{Choice, Grid, GridScore, search};
pub use settings::ForestSettings;

use crate::spectra::Component;

/// Spectra as a forest sees them, with their components.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// The number of channels.
    pub channels: usize,
    /// The scaled spectra (rows × channels).
    pub spectra: &'a [f32],
    /// The components of each, sorted by mean, with amplitudes in units of `unit`.
    pub truth: &'a [Vec<Component>],
}
