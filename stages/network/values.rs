//! What a network has learned.

/// What a network has learned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    /// As in [`Layout::weights`](super::layout::Layout).
    pub(super) weights: &'a [f32],
    /// As in [`Layout::statistics`](super::layout::Layout).
    pub(super) statistics: &'a [f32],
}
