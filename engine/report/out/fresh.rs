//! Private folders in which outputs are put together.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::error::OutError;
use crate::base::disk;

/// What the names of folders begin with in which outputs are put together; 32 hexadecimal digits follow.
const FRESH: &str = ".new-";

/// A new, private folder in which outputs are put together; it goes when it is dropped.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) path: PathBuf,
}

impl Fresh {
    /// Makes one in `folder`.
    pub(super) fn within(folder: &Path) -> Result<Self, OutError> {
        let mut bytes = [0; 16];
        let random = getrandom::fill(&mut bytes);
        random.map_err(|error| OutError::io("name a folder in", folder)(error.into()))?;
        let path = folder.join(format!("{FRESH}{:032x}", u128::from_le_bytes(bytes)));
        disk::step(&path)
            .and_then(|()| DirBuilder::new().mode(0o700).create(&path))
            .map_err(OutError::io("make a folder in", folder))?;
        Ok(Self { path })
    }

    /// Removes what killed runs left in `folder` that is older than `age`.
    pub(super) fn sweep(folder: &Path, age: Duration) {
        let us = rustix::process::geteuid().as_raw();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // No link is followed here.
            let ours = is_fresh(&entry.file_name().to_string_lossy())
                && fs::symlink_metadata(&path).is_ok_and(|meta| {
                    let old = meta.modified().ok().and_then(|time| time.elapsed().ok());
                    meta.is_dir()
                        && meta.uid() == us
                        && (age.is_zero() || old.is_some_and(|old| old >= age))
                });
            if ours {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn is_fresh(name: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.strip_prefix(FRESH).is_some_and(|rest| rest.len() == 32 && rest.bytes().all(digit))
}
