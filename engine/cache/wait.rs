//! Waiting for whoever computes the same: told at first sight and then every minute, and ended by an interrupt.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    cache::Cache,
    error::CacheError,
    lease::{Lease, LeaseError},
};
use crate::base::{
    digest::Fingerprint,
    interrupt::{Interrupt, Interrupted},
};

/// How often is looked whether the lease is free.
const LOOK: Duration = Duration::from_millis(50);
/// How often it is told that somebody is still waited for.
const REMIND: Duration = Duration::from_mins(1);

/// Somebody is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Wait<'a> {
    /// Who computes the same.
    pub owner: &'a str,
    /// How long this has gone on.
    pub since: Duration,
    /// The file by which the owner is known.
    pub lease: &'a Path,
}

/// Why a lease was waited for in vain.
pub(crate) enum Vain {
    Cache(CacheError),
    Interrupted(Interrupted),
}

/// Takes the lease of `fingerprint` as soon as nobody else has it.
pub(crate) fn wait_for_lease(
    cache: &Cache,
    fingerprint: Fingerprint,
    interrupt: &Interrupt,
    tell: impl Fn(Wait<'_>),
) -> Result<Lease, Vain> {
    let began = Instant::now();
    let mut seen = String::new();
    let mut told: Option<(String, Instant)> = None;
    loop {
        let owner = match cache.lease(fingerprint) {
            Ok(lease) => return Ok(lease),
            Err(LeaseError::Cache(error)) => return Err(Vain::Cache(error)),
            Err(LeaseError::Held(owner)) => owner,
        };
        // Who is seen twice is the owner; at first sight it may be a former one, not yet written over.
        let is_owner = owner == seen && !owner.is_empty();
        let is_news =
            told.as_ref().is_none_or(|(whom, when)| *whom != owner || when.elapsed() >= REMIND);
        if is_owner && is_news {
            let lease = cache.lease_path(fingerprint);
            tell(Wait { owner: &owner, since: began.elapsed(), lease: &lease });
            told = Some((owner.clone(), Instant::now()));
        }
        seen = owner;
        interrupt.check().map_err(Vain::Interrupted)?;
        thread::sleep(LOOK);
    }
}
