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

mod active_run;
mod anchor;
mod blob;
mod cache;
mod contents;
mod error;
mod flaw;
mod format;
#[cfg(test)]
mod format_tests;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gate;
pub mod gc;
mod heartbeat;
mod hint;
mod lease;
mod lease_file;
mod mark;
mod memory;
mod open;
mod overlay;
pub(crate) mod own_folder;
mod publish_errors;
mod publisher;
mod record;
mod records;
mod registered;
mod run;
mod sight;
mod signature;
pub mod size;
mod staged_file;
mod staged_result;
mod staging;
mod stat_cache;
mod under_way;
mod verified;
pub mod verify;
pub(crate) mod wait;
mod watch;
mod writer;

#[cfg(test)]
pub(crate) use self::publisher::publish;
pub(crate) use self::{
    active_run::ActiveRun,
    hint::{is_broken_disk, is_of_the_system},
    publisher::Publisher,
    record::fingerprint,
    signature::Signature,
    staged_result::{Bundle, FEW},
    staging::{Staged, StagedPlaces, StagedWriter, Staging, hash_file},
    stat_cache::StatCache,
};
pub use self::{
    cache::Cache,
    error::{CacheError, Conflict},
    flaw::Flaw,
    format::FORMAT,
    gate::Hold,
    hint::hint,
    lease::{Lease, LeaseError},
    record::{Part, Provenance, Recipe, Record},
    records::Publication,
    run::{RunEntry, RunFailure, RunFile, Runs, StageRun},
    under_way::{StageUnderWay, UnderWay},
};
