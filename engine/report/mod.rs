//! Readers of runs that have ended: the folder of their outputs, comparisons, metrics and traces.

pub mod compare;
pub(crate) mod numbers;
pub mod out;
pub(crate) mod trace;
