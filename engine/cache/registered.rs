//! What the run under way registers with its cache: what it relies on, and that it publishes.

use std::{fmt, sync::Arc};

use crate::base::digest::Fingerprint;

/// A run under way, as its cache knows it.
pub(super) trait Registered: fmt::Debug + Send + Sync {
    /// Notes that the run relies on a result from here on.
    fn uses(&self, fingerprint: Fingerprint);
    /// Notes that something is being published which nothing names yet. Waits for a collector that is at work.
    fn begin_section(&self);
    /// Notes that it is published, or won't be.
    fn end_section(&self);
}

/// Something is being published, which nothing names yet: collectors wait.
#[derive(Debug)]
pub(super) struct Section(Arc<dyn Registered>);

impl Section {
    /// Begins to publish in the run.
    pub(super) fn begin(run: Arc<dyn Registered>) -> Self {
        run.begin_section();
        Self(run)
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        self.0.end_section();
    }
}
