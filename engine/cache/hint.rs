//! What to do about an error of the cache or of the machine.

use std::{error::Error, io};

use rustix::io::Errno;

use super::error::CacheError;

/// What to do about `error`, where its causes tell: a fragment without a full stop.
pub fn hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
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
    if let Some(limit) = limit(error) {
        return Some(limit);
    }
    match error.kind() {
        StorageFull | QuotaExceeded => Some(
            "free some space, for example by `pipe cache gc`, and run again: what was finished is kept",
        ),
        ReadOnlyFilesystem | PermissionDenied => Some(
            "what is known can still be read; to compute more, ask for write permission or name another cache: \
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

/// What to do where the system has set this process a limit.
fn limit(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error().map(Errno::from_raw_os_error)? {
        Errno::MFILE => Some(
            "more files are needed at once than this process may open: raise that, `ulimit -n 1024`",
        ),
        Errno::NFILE => {
            Some("the machine has too many files open: end some programs, and run again")
        }
        Errno::FBIG => Some(
            "a file would be larger than this process may write, or than the file system takes: raise that, `ulimit -f unlimited`",
        ),
        Errno::AGAIN => Some(
            "no more processes or threads can be started: run fewer at once (`-j 1`), or raise the limit, `ulimit -u` (or `-v`)",
        ),
        Errno::NOMEM => Some(
            "memory is short: run fewer jobs at once (`-j 1`), or raise the limit, `ulimit -v`",
        ),
        _ => None,
    }
}

/// Whether it is the machine's, and none of who asked for something: no room, a limit, a disk that fails.
pub(crate) fn is_of_the_system(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
        || is_broken_disk(error)
        || limit(error).is_some()
}

/// Whether the disk couldn't do what it was told to.
pub(crate) fn is_broken_disk(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

/// Whether a hard link failed for a reason that a rename would fail for too.
pub(super) fn is_fatal(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), QuotaExceeded | ReadOnlyFilesystem | StorageFull)
        || is_broken_disk(error)
}
