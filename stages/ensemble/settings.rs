//! How trees are grown, besides their depth and number.

/// How trees are grown, besides their depth and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForestSettings {
    /// The least number of spectra in a leaf.
    pub min_leaf: usize,
    /// How many channels, drawn anew, each split is looked for in.
    pub channels_a_split: usize,
    /// The seed of everything random.
    pub seed: u64,
}
