//! The content-addressed cache: blobs, trees and records in a folder that many processes share.
//!
//! ```text
//! CACHEDIR.TAG           tells backup programs to pass by
//! format                 the version of this layout
//! blobs/ab/cdef…         one file's bytes, named by their digest; read-only
//! trees/ab/cdef….json    an artifact's manifest, named by its content digest
//! records/ab/cdef….json  the outputs under a fingerprint, and how they came to be
//! leases/…               who is computing which fingerprint now
//! runs/WORKSPACE/…       what each run did, and which runs are pinned
//! tmp/…                  files being written, a folder a writer
//! quarantine/…           what was found broken
//! ```
//!
//! `docs/cache-format.md` describes every file.
//!
//! Whatever is published is complete: it was written under `tmp`, synced, and renamed into place, blobs and trees
//! before the record that names them.

mod advice;
mod anchor;
mod blob;
mod cache;
mod error;
mod flaw;
mod format;
#[cfg(test)]
mod format_tests;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gate;
pub mod gc;
mod heart;
mod lease;
mod live;
mod losses;
mod memo;
mod memory;
mod open;
pub(crate) mod own_folder;
mod owner;
mod pending;
mod placement;
mod prepared;
mod publisher;
mod reach;
mod record;
mod records;
mod registered;
mod roots;
mod run;
mod sight;
mod signature;
pub mod size;
mod staging;
mod under_way;
mod verified;
pub mod verify;
pub(crate) mod wait;
mod watch;
mod writer;

#[cfg(test)]
pub(crate) use self::publisher::publish;
pub use self::{
    advice::advice,
    cache::Cache,
    error::{CacheError, Conflict},
    flaw::Flaw,
    format::FORMAT,
    gate::Hold,
    lease::{Lease, LeaseError},
    record::{Part, Provenance, Recipe, Record},
    records::Publication,
    run::{RunEntry, RunFailure, RunFile, Runs, StageRun},
    under_way::{StageUnderWay, UnderWay},
};
pub(crate) use self::{
    advice::{is_broken_disk, is_of_the_system},
    live::LiveRun,
    memo::Memo,
    prepared::{Bundle, FEW},
    publisher::Publisher,
    record::fingerprint,
    signature::Signature,
    staging::{Staged, StagedPlaces, StagedWriter, Staging, hash_file},
};
