//! What goes wrong with the `out` folder, and what to do about it.

use std::{
    error::Error as _,
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    artifact::materialize::MaterializeError,
    cache::{CacheError, Flaw, hint, is_broken_disk},
};

/// What goes wrong with the `out` folder.
#[derive(Debug, Error)]
pub enum OutError {
    /// The operating system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file can't be placed.
    #[error(transparent)]
    Place(#[from] MaterializeError),
    /// The cache can't be read.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// What is to stand in the folder has a name that no stage or output can have.
    #[error("`{0}` is no name of a stage's output")]
    Name(String),
    /// An output is not in the cache any more, or damaged there: its stage has to be run again.
    #[error("`{stage}.{output}` is no longer in the cache: {flaw}")]
    Gone {
        /// The stage.
        stage: String,
        /// The output.
        output: String,
        /// What is wrong.
        flaw: Flaw,
    },
    /// A link leads nowhere.
    #[error("`{}` is a link, and there is no folder where it leads", .0.display())]
    Dangling(PathBuf),
    /// Where the folder should be is something else.
    #[error("`{}` is no folder", .0.display())]
    NotAFolder(PathBuf),
    /// In the place of a file of the folder's own stands something that is no plain file.
    #[error("`{}` is no plain file, and isn't used", .0.display())]
    NotAFile(PathBuf),
    /// A link leads to where something stands that was never placed.
    #[error("`{}` leads through a link to something that pipe didn't put there", .0.display())]
    Foreign(PathBuf),
    /// What is to be placed where the user wants it is in the way of something else.
    #[error("`{}` is there already and holds something else", .0.display())]
    Taken(PathBuf),
}

impl OutError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// What the operating system said of the folder, and not of the cache.
    fn system(&self) -> Option<&io::Error> {
        match self {
            Self::Io { source, .. } | Self::Place(MaterializeError::Io { source, .. }) => {
                Some(source)
            }
            _ => None,
        }
    }

    /// Whether the folder, or the disk that it is on, can't be written to at all. What is in the cache is as good as before.
    pub fn is_read_only(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        self.system()
            .is_some_and(|error| matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem))
    }

    /// What to do about it: a fragment without a full stop.
    pub fn hint(&self) -> Option<&'static str> {
        use io::ErrorKind::{QuotaExceeded, StaleNetworkFileHandle, StorageFull};
        match self {
            Self::Dangling(_) => return Some("make the folder, or remove the link"),
            Self::NotAFolder(_) | Self::NotAFile(_) => {
                return Some("move it away: pipe makes it anew");
            }
            Self::Foreign(_) => return Some("remove the link, or move away what stands there"),
            Self::Taken(_) => {
                return Some("remove it, or name another place: `pipe out STAGE.OUTPUT DEST`");
            }
            _ => {}
        }
        let Some(error) = self.system() else { return self.source().and_then(hint) };
        match error.kind() {
            StorageFull | QuotaExceeded => Some(
                "free some space on that disk, and run again: the results are in the cache, and nothing is computed twice",
            ),
            StaleNetworkFileHandle => {
                Some("the folder was replaced on its server: run again when it is mounted anew")
            }
            _ if self.is_read_only() => Some(
                "the results are in the cache: `pipe out STAGE.OUTPUT DEST` puts one where you may write",
            ),
            _ if is_broken_disk(error) => Some(
                "the disk or the file server fails: look into the system's log; the results are in the cache",
            ),
            _ => None,
        }
    }
}
