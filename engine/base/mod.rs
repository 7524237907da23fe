//! What everything rests on: digests, trees, the disk, threads, and the words that all layers share.

pub(crate) mod artifact_path;
pub(crate) mod chain;
pub(crate) mod descendants;
pub(crate) mod digest;
pub(crate) mod disk;
pub(crate) mod encoding;
pub(crate) mod exactness;
pub(crate) mod faults;
pub(crate) mod hash;
pub(crate) mod host;
pub(crate) mod interrupt;
pub(crate) mod link;
pub(crate) mod listing;
pub(crate) mod outcome;
pub(crate) mod parallel;
pub(crate) mod permits;
pub(crate) mod reach;
pub(crate) mod regular;
pub(crate) mod shown_path;
pub(crate) mod span;
pub(crate) mod tree;
