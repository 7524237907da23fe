//! What is wrong with something that the cache should have.

use crate::base::digest::Digest;

/// What is wrong with something that the cache should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// A blob isn't there.
    BlobMissing(Digest),
    /// A blob's bytes are not what its name says.
    BlobCorrupt(Digest),
    /// A blob may not be read.
    BlobForbidden(Digest),
    /// A tree isn't there.
    TreeMissing(Digest),
    /// A tree's content is not what its name says.
    TreeCorrupt(Digest),
    /// A tree may not be read.
    TreeForbidden(Digest),
    /// A record can't be used.
    RecordCorrupt(String),
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BlobMissing(digest) => write!(f, "blob {} is missing", digest.short()),
            Self::BlobCorrupt(digest) => write!(f, "blob {} is corrupt", digest.short()),
            Self::BlobForbidden(digest) => write!(f, "blob {} may not be read", digest.short()),
            Self::TreeMissing(digest) => write!(f, "tree {} is missing", digest.short()),
            Self::TreeCorrupt(digest) => write!(f, "tree {} is corrupt", digest.short()),
            Self::TreeForbidden(digest) => write!(f, "tree {} may not be read", digest.short()),
            Self::RecordCorrupt(why) => write!(f, "the record is corrupt: {why}"),
        }
    }
}
