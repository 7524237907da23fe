//! The classical decomposition: components fitted to a spectrum by least squares, their number chosen by evidence.
//!
//! [`Fitter::search`] finds components from nothing, [`Fitter::refine`] from a proposal (a network's, a neighbour's),
//! [`Fitter::fit`] fits a given number of them; [`cramer_rao`] tells how well anyone could. Amplitudes may be in any unit:
//! everything inside is in units of the noise and in channels.
//!
//! All of it is exact: the same bits on any machine, for any number of threads.

mod candidate;
mod channels;
mod cramer_rao;
mod evidence;
mod exponential;
mod fitted_spectrum;
mod fitter;
mod flags;
mod kernels;
mod least_squares;
mod matrix;
mod parameters;
mod population;
mod population_learning;
mod settings;
mod shape;
mod starts;
mod table;
#[cfg(test)]
mod tests;
mod whitening;

pub use candidate::Tried;
pub use channels::NoiseModel;
pub use cramer_rao::{CramerRao, cramer_rao};
pub use fitted_spectrum::FittedSpectrum;
pub use fitter::{FittedComponent, Fitter, Refined, SpectrumFit};
pub use flags::Flags;
pub use population::Population;
pub use settings::{FitSettings, Selection};
pub use table::{FIT_COLUMNS, FitTable};
