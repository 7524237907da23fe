//! A stage whose result isn't known, between one turn at it and the next.

use crate::{
    cache::{Flaw, wait::Waiting},
    plan::resolve::Resolved,
};

/// A stage that isn't known, and is to be computed as soon as nobody else does.
pub(super) struct Sought {
    pub(super) resolved: Resolved,
    /// What is wrong with the result that is there.
    pub(super) damage: Option<Flaw>,
    /// Whether a stage of this run comes to the same.
    pub(super) twin: bool,
    /// Whether parts of it were computed here while another process did, too.
    pub(super) helped: bool,
    pub(super) waiting: Waiting,
}
