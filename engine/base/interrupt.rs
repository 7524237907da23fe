//! How a run is told to stop.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use thiserror::Error;

/// The run was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A request to stop, shared by all who have to notice it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicU8>);

/// Nothing is asked of who has been asked more often than this.
const URGENT: u8 = 2;

impl Interrupt {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everyone to stop at the next safe point; asked again, not to wait for programs to end by themselves.
    pub fn request(&self) {
        let more = |asked: u8| Some((asked + 1).min(URGENT));
        // It is never refused.
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
    }

    /// Whether someone has asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    /// Whether someone has asked again.
    pub fn is_urgent(&self) -> bool {
        self.0.load(Ordering::SeqCst) >= URGENT
    }

    /// # Errors
    /// When someone has asked to stop.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.is_requested() { Err(Interrupted) } else { Ok(()) }
    }
}
