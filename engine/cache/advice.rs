//! What to do about an error of the cache or of the machine.

use std::{error::Error, io};

use super::CacheError;

/// What to do about `error`, where its causes tell: a fragment without a full stop.
pub fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(CacheError::Newer { .. }) = error.downcast_ref() {
            return Some("use a newer pipe, or name another cache: `--set cache=PATH`");
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return of_the_system(error);
        }
        cause = error.source();
    }
    None
}

fn of_the_system(error: &io::Error) -> Option<&'static str> {
    use io::ErrorKind::{
        PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StaleNetworkFileHandle, StorageFull,
    };
    match error.kind() {
        StorageFull | QuotaExceeded => Some(
            "free some space, for example by `pipe cache gc`, and run again: what was finished is kept",
        ),
        ReadOnlyFilesystem | PermissionDenied => Some(
            "what is known can still be read; to compute more, get leave to write there or name another cache: \
             `--set cache=PATH`",
        ),
        StaleNetworkFileHandle => {
            Some("the folder was replaced on its server: run again when it is mounted anew")
        }
        _ if is_broken_disk(error) => Some(
            "the disk or the file server fails: look into the system's log, and see what is damaged by `pipe cache \
             verify`",
        ),
        _ => None,
    }
}

/// Whether the disk couldn't do what it was told to.
pub(crate) fn is_broken_disk(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
