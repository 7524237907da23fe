//! Waiting for whoever computes the same: told at first sight and then every minute, and ended by an interrupt.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{
    cache::Cache,
    error::CacheError,
    lease::{Lease, LeaseError},
    lease_file::this_process,
};
use crate::base::digest::Fingerprint;

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

/// A wait for whoever computes the same, between one look and the next.
#[derive(Debug)]
pub(crate) struct Waiting {
    began: Instant,
    seen: String,
    told: Option<(String, Instant)>,
    ours: bool,
    confirmed: bool,
}

impl Waiting {
    /// Nobody was seen yet.
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            seen: String::new(),
            told: None,
            ours: false,
            confirmed: false,
        }
    }

    /// Whether this very process was seen to compute it, for another stage.
    pub(crate) fn is_ours(&self) -> bool {
        self.ours
    }

    /// Whether another process was seen to compute it at two looks.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Takes the lease of `fingerprint` if nobody has it. If another process has, and it is time to say so, `tell` is called.
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
        self.ours |= owner == this_process();
        // Who is seen twice is the owner; at first sight it may be a former one, not yet written over.
        let is_owner = owner == self.seen && !owner.is_empty() && !self.ours;
        self.confirmed |= is_owner;
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
