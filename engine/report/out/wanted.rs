//! What is to stand in the folder.

use crate::base::digest::Digest;

/// An output that is to stand in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The stage.
    pub stage: String,
    /// The output.
    pub output: String,
    /// Its content digest.
    pub digest: Digest,
}
