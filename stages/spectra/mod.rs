//! Spectra as plain functions on arrays: Gaussian components, noise, matching, metrics, cubes.
//! Nothing here knows of stages, artifacts or files of the cache.

mod axis;
mod component;

pub use axis::Axis;
pub use component::{Component, FWHM_PER_SIGMA};
