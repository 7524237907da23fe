//! What tells, without reading it, that a file was written to.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    time::{Duration, SystemTime},
};

use rustix::fs::Stat;

/// A file that changed so recently may change once more with its times staying the same: some file systems keep times
/// to two seconds only.
const RACY: Duration = Duration::from_secs(2);

/// What tells, without reading it, that a file was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Signature {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) modified: (i64, i64),
    pub(super) changed: (i64, i64),
}

impl Signature {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Times of `stat` have other types on other systems.
    #[allow(clippy::unnecessary_cast)]
    pub(super) fn of_stat(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    /// When the file was written to.
    pub(super) fn modified(&self) -> SystemTime {
        let (seconds, nanos) = self.modified;
        SystemTime::UNIX_EPOCH + Duration::new(seconds.max(0) as u64, nanos as u32)
    }

    /// The file's size, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether it is the same file, and nothing was written to it: names may have been given to it and taken away since.
    pub(crate) fn has_content_of(&self, other: &Self) -> bool {
        self.is_of_file(other) && self.modified == other.modified
    }

    /// Whether it is the same file of the same size.
    pub(crate) fn is_of_file(&self, other: &Self) -> bool {
        (self.device, self.inode, self.size) == (other.device, other.inode, other.size)
    }

    /// Whether a write right after `moment` could leave the signature as it is.
    pub(super) fn is_racy(&self, moment: SystemTime) -> bool {
        let moment = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let safe = moment.saturating_sub(RACY);
        let safe = (safe.as_secs() as i64, i64::from(safe.subsec_nanos()));
        self.modified >= safe || self.changed >= safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{base::digest::Digest, cache::StatCache};

    #[test]
    fn nothing_recent_is_remembered() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let at = |modified, changed| Signature {
            device: 1,
            inode: 1,
            size: 1,
            modified: (modified, 0),
            changed: (changed, 0),
        };
        let memo = StatCache::none();
        let digest = Digest::of(b"x");
        for racy in [at(998, 900), at(900, 999), at(2000, 900), at(900, 1000)] {
            memo.learn(racy, digest, now);
            assert_eq!(memo.digest(&racy), None, "{racy:?}");
        }
        memo.learn(at(997, 997), digest, now);
        assert_eq!(memo.digest(&at(997, 997)), Some(digest));
    }
}
