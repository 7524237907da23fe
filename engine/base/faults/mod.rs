//! Faults that tests ask for at the steps by which files come to stand somewhere. They are in no program but those that are built
//! for tests, with the feature `faults`; in all others nothing here does anything.
//!
//! `PIPE_FAULT=kill@7` ends the process at the seventh step, `ENOSPC@7` fails that step alone, and
//! `EROFS@1+:cache` fails every step from the first on paths that hold `cache`. `cut@7:cache` ends the process and takes
//! with it what a power cut may take. `ENOLCK@1+` fails no step but every lock, as a
//! file system without locks does. Without the variable a step costs one look at a static.

#[cfg(feature = "faults")]
mod injected;
#[cfg(feature = "faults")]
mod volatile;

#[cfg(feature = "faults")]
pub(crate) use self::asked_for::*;
#[cfg(not(feature = "faults"))]
pub(crate) use self::none::*;

#[cfg(feature = "faults")]
mod asked_for {
    use std::{fs::File, io, path::Path};

    use super::{
        injected::{Effect, fault},
        volatile,
    };

    /// The identity of the machine, where a test says it.
    pub(crate) fn machine() -> Option<String> {
        std::env::var("PIPE_MACHINE").ok()
    }

    /// Comes before every step; alone, before one that isn't done through [`crate::base::disk`].
    pub(crate) fn step(path: &Path) -> io::Result<()> {
        torn(path, || Ok(()))
    }

    /// Comes before a step of which a fault leaves `half` done.
    pub(crate) fn torn(path: &Path, half: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match fault() {
            Some(fault) if !fault.locks() && fault.hits(path) => {
                half()?;
                Err(fault.strike())
            }
            _ => Ok(()),
        }
    }

    /// Whether there are to be no locks.
    pub(crate) fn has_no_locks(path: &Path) -> bool {
        fault().is_some_and(|fault| fault.locks() && fault.hits(path))
    }

    /// Whether a power cut is asked for: then it is noted what is durable.
    fn cuts() -> bool {
        fault().is_some_and(|fault| fault.effect == Effect::Cut)
    }

    /// Notes that `file` is written to.
    pub(crate) fn wrote(file: &File) {
        if cuts() {
            volatile::wrote(file);
        }
    }

    /// Does what gives a file or folder the name `to`.
    pub(crate) fn naming<T>(to: &Path, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if cuts() { volatile::naming(to, false, act) } else { act() }
    }

    /// Does what gives a file the name `to`, which another may have.
    pub(crate) fn replacing<T>(to: &Path, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if cuts() { volatile::naming(to, to.exists(), act) } else { act() }
    }

    /// Notes that a file, or the entries of a folder, are durable.
    pub(crate) fn synced(path: &Path) {
        if cuts() {
            volatile::synced(path);
        }
    }

    /// Notes that everything is durable, with what is in the folder `staging`.
    pub(crate) fn synced_all(staging: &Path) {
        if cuts() {
            volatile::synced_all(staging);
        }
    }
}

#[cfg(not(feature = "faults"))]
#[expect(clippy::unnecessary_wraps, reason = "with faults they can fail")]
mod none {
    use std::{fs::File, io, path::Path};

    pub(crate) fn machine() -> Option<String> {
        None
    }

    pub(crate) fn step(_: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn torn(_: &Path, _: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn has_no_locks(_: &Path) -> bool {
        false
    }

    pub(crate) fn wrote(_: &File) {}

    pub(crate) fn naming<T>(_: &Path, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        act()
    }

    pub(crate) fn replacing<T>(_: &Path, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        act()
    }

    pub(crate) fn synced(_: &Path) {}

    pub(crate) fn synced_all(_: &Path) {}
}
