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

/// How often is looked whether a lease is free.
pub(crate) const LOOK: Duration = Duration::from_millis(50);
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

/// A wait for whoever computes the same, between one look and the next.
#[derive(Debug)]
pub(crate) struct Waiting {
    began: Instant,
    seen: String,
    told: Option<(String, Instant)>,
}

impl Waiting {
    /// Nobody was seen yet.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), seen: String::new(), told: None }
    }

    /// Takes the lease of `fingerprint` if nobody else has it. If somebody has, and it is time to say so, `tell` is called.
    ///
    /// # Errors
    /// When the lease's file can't be used.
    pub(crate) fn look(
        &mut self,
        cache: &Cache,
        fingerprint: Fingerprint,
        tell: impl FnOnce(Wait<'_>),
    ) -> Result<Option<Lease>, CacheError> {
        let owner = match cache.lease(fingerprint) {
            Ok(lease) => return Ok(Some(lease)),
            Err(LeaseError::Cache(error)) => return Err(error),
            Err(LeaseError::Held(owner)) => owner,
        };
        // Who is seen twice is the owner; at first sight it may be a former one, not yet written over.
        let is_owner = owner == self.seen && !owner.is_empty();
        let told = self.told.as_ref();
        let is_news = told.is_none_or(|(whom, when)| *whom != owner || when.elapsed() >= REMIND);
        if is_owner && is_news {
            let lease = cache.lease_path(fingerprint);
            tell(Wait { owner: &owner, since: self.began.elapsed(), lease: &lease });
            self.told = Some((owner.clone(), Instant::now()));
        }
        self.seen = owner;
        Ok(None)
    }
}

/// Takes the lease of `fingerprint` as soon as nobody else has it.
pub(crate) fn wait_for_lease(
    cache: &Cache,
    fingerprint: Fingerprint,
    interrupt: &Interrupt,
    tell: impl Fn(Wait<'_>),
) -> Result<Lease, Vain> {
    let mut waiting = Waiting::new();
    loop {
        if let Some(lease) = waiting.look(cache, fingerprint, &tell).map_err(Vain::Cache)? {
            return Ok(lease);
        }
        interrupt.check().map_err(Vain::Interrupted)?;
        thread::sleep(LOOK);
    }
}
