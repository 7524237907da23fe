//! What couldn't be published, and why.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::error::{CacheError, Conflict};

#[derive(Debug, Clone)]
enum Reason {
    /// What failed, on which file, and with which error of the operating system.
    Io(&'static str, PathBuf, i32),
    /// The record that is there differs.
    Conflict(Box<Conflict>),
}

/// Why blobs and records couldn't be published, by their names: it is what keeps records from being published that rely
/// on them.
#[derive(Debug, Default)]
pub(super) struct PublishErrors(Mutex<BTreeMap<[u8; 32], Reason>>);

impl PublishErrors {
    fn reasons(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Reason>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that `names` couldn't be published because of `error`, when it was the operating system that refused, or
    /// another's record that differs.
    pub(super) fn note<'n>(
        &self,
        names: impl IntoIterator<Item = &'n [u8; 32]>,
        error: &CacheError,
    ) {
        let reason = match error {
            CacheError::Io { action, path, source } => {
                source.raw_os_error().map(|code| Reason::Io(action, path.clone(), code))
            }
            CacheError::Conflict(conflict) => Some(Reason::Conflict(conflict.clone())),
            _ => None,
        };
        let Some(reason) = reason else { return };
        self.reasons().extend(names.into_iter().map(|name| (*name, reason.clone())));
    }

    /// Why `name` couldn't be published, if it couldn't.
    pub(super) fn told_again(&self, name: &[u8; 32]) -> Option<CacheError> {
        Some(match self.reasons().get(name)? {
            Reason::Io(action, path, code) => {
                CacheError::io(action, path)(io::Error::from_raw_os_error(*code))
            }
            Reason::Conflict(conflict) => CacheError::Conflict(conflict.clone()),
        })
    }
}
