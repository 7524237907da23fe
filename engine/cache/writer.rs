//! What a process owns in a cache while it writes there.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use super::{lease_file::Owned, own_folder::Spare};

/// The folder under `tmp` that a process owns for one cache, and the locked file `FOLDER.lock` beside it, for as long as
/// it uses them. The leases that it holds are further names of that file.
///
/// What a dead writer left behind is removed by the next one: what a process of this machine left, as soon as its lock
/// is free; what another machine left, when its lock wasn't touched for a day.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(super) folder: PathBuf,
    pub(super) next: AtomicU64,
    pub(super) lock: Arc<Owned>,
    pub(super) lock_path: PathBuf,
    /// Folders that may be used again, by what stands in them.
    pub(super) spares: Mutex<HashMap<Vec<String>, Vec<Spare>>>,
}
