//! The version of the layout, and the folders that it has.

/// The version of the cache's layout that this program reads and writes.
pub const FORMAT: u32 = 1;
/// More than this, in bytes, is no format.
pub(super) const LARGEST_FORMAT: u64 = 64;

/// The folders of a cache.
pub(super) const FOLDERS: [&str; 7] =
    ["blobs", "trees", "records", "leases", "runs", "tmp", "quarantine"];
/// Folders in which earlier versions kept what is now [remembered](super::memory) elsewhere. Nothing is read there.
pub(super) const FORMER: [&str; 2] = ["memos", "verified"];
