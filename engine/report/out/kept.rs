//! What of the user's was in the way, and is kept.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::error::OutError;
use crate::base::disk;

/// Something of the user's that was in the way, and where it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where it stood.
    pub path: PathBuf,
    /// Where it is kept.
    pub kept: PathBuf,
}

/// Renames what stands at `path`, if anything does, to the first free of `PATH.edited-1`, `PATH.edited-2`, …
pub(super) fn set_aside(path: &Path) -> Result<Option<Kept>, OutError> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(None);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut number = 1;
    let kept = loop {
        let kept = path.with_file_name(format!("{name}.edited-{number}"));
        if fs::symlink_metadata(&kept).is_err() {
            break kept;
        }
        number += 1;
    };
    disk::rename(path, &kept).map_err(OutError::io("set aside", path))?;
    Ok(Some(Kept { path: path.to_owned(), kept }))
}
