//! What is seen of the owner of a lease on another machine.

use std::time::Instant;

/// What was seen of an owner on another machine, and since when it is the same.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) seen: Vec<u8>,
    pub(super) since: Instant,
}
