//! What a file system shows late.
//!
//! A network's file system may remember for a while that a file was not there, and say so although another machine has made
//! it since (NFS and FUSE do). A lease tells when that matters: whoever had it before may have published the result, which was
//! looked for, and not found, before the lease was waited for.

use std::{fs, io, os::fd::AsFd as _};

use rustix::fs::fstatfs;

use super::cache::Cache;
use crate::base::{digest::Fingerprint, disk};

/// The types of file systems of this machine's own disks and memory, as `statfs` gives them: ext2 to ext4, XFS, btrfs, tmpfs,
/// ZFS, F2FS, bcachefs, ramfs. They show everything at once.
const LOCAL: [u64; 8] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x2fc1_2fc1,
    0xf2f5_2010,
    0xca45_1a4e,
    0x8584_58f6,
];

impl Cache {
    /// Lets the file system look again for the record of `fingerprint`, which may have been published a moment ago by another
    /// machine.
    pub(super) fn look_anew(&self, fingerprint: Fingerprint) {
        if *self.shared.shows_at_once.get_or_init(|| self.shows_at_once()) {
            return;
        }
        let path = self.record_path(fingerprint);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return };
        // That there is a folder already comes from the server, whatever was remembered of it; and what lists it does.
        let _ = disk::create_folder(folder);
        let Ok(mut entries) = fs::read_dir(folder) else { return };
        let is_listed = entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() == *name));
        let is_missed = || {
            fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        if is_listed && is_missed() {
            // That a name is taken comes from the server, too, and what was remembered of it is then forgotten.
            let Ok(writer) = self.writer() else { return };
            if self.publish_at(&path, |place| disk::link(writer.lock_path(), place)).is_ok() {
                // It was collected in between.
                let _ = self.remove(&path);
            }
        }
    }

    fn shows_at_once(&self) -> bool {
        let folder = fs::File::open(&self.root).ok();
        let found = folder.and_then(|folder| fstatfs(folder.as_fd()).ok());
        found.is_some_and(|found| LOCAL.contains(&(found.f_type as u64)))
    }
}
