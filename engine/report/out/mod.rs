//! The `out` folder: the newest outputs as files, for people and their programs.
//!
//! What stands there is a copy (a clone where the file system has them). Nothing reads it back: an edited or deleted
//! file there enters no result and harms no cache. The next run puts things right, and keeps an edited output aside. What
//! no stage makes any more goes, unless somebody edited it.
//!
//! The folder, and every folder in it, may be a link to another disk. Whatever is removed there was placed there: the
//! folder's own document, `state`, tells size, inode and times of each file.

mod error;
mod folder;
mod fresh;
mod kept;
mod own;
mod place;
mod state;
mod wanted;

pub use self::{
    error::OutError,
    folder::{OutFolder, Shown},
    kept::Kept,
    place::put,
    wanted::Wanted,
};
