//! The contract of a stage: what a kind declares, what it sees while it runs, and where it computes.

pub(crate) mod context;
pub(crate) mod device;
pub(crate) mod error;
pub(crate) mod kind;
pub(crate) mod registry;
