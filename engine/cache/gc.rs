//! Collects what nobody needs any more.
//!
//! What is kept: everything that is reached from the kept runs of every workspace, from pins, and from the leases and
//! runs that are live; and whatever is younger than a period of grace. While something is collected the gate
//! is shut, so that whatever a run relies on is known by then. The files of runs that aren't kept go first, then
//! records, then trees, then blobs, and before each step the cache is looked at again, so that at any instant what is still named is still there, and a
//! result that a run has just looked up (which makes its record young) stays. If a run nevertheless comes to read
//! what was collected a moment before, it finds it missing and has it made again.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rayon::prelude::*;
use serde::Serialize;

use super::{
    cache::Cache,
    contents::{Found, Listing, Named, Reached, is_folder, is_young, list, names},
    error::CacheError,
    format::FORMER,
    mark::{Root, Roots, Standing},
    staging::Staging,
};
use crate::base::{
    digest::{Digest, Fingerprint},
    tree::Tree,
};

/// What is kept besides pins, live runs, and what is young.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The newest so many runs of every workspace, of every user.
    pub keep_runs: Option<u64>,
    /// The runs of the last so many days.
    pub keep_days: Option<f64>,
    /// How many bytes may stay: the oldest runs are given up for it, though never the newest of a workspace.
    pub max_size: Option<u64>,
    /// What is younger than this is kept.
    pub grace: Duration,
    /// Whether runs that bear a name are forgotten as others are.
    pub forget_named: bool,
}

/// Quarantined files are kept so long, to be looked at.
const QUARANTINE: Duration = Duration::from_hours(7 * 24);

/// How much of something there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// How many records.
    pub records: u64,
    /// How many trees.
    pub trees: u64,
    /// How many blobs.
    pub blobs: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// A workspace that has runs in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workspace {
    /// Its name in the cache.
    pub name: String,
    /// The pipeline's file, where a run tells.
    pub pipeline: Option<PathBuf>,
    /// How many runs there are.
    pub runs: u64,
    /// How many of them are kept.
    pub kept: u64,
    /// How many are pinned.
    pub pinned: u64,
    /// How many of those that aren't kept are forgotten: their files go.
    pub forgotten: u64,
}

/// What a collection removes and keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Collection {
    /// What stays.
    pub kept: Amount,
    /// What goes.
    pub removed: Amount,
    /// Whose runs were looked at.
    pub workspaces: Vec<Workspace>,
    /// How many bytes are kept beyond the size wanted, if so.
    pub over: Option<u64>,
    /// Whether it was done, and not only planned.
    pub done: bool,
}

/// What is in the cache at one moment.
struct Snapshot {
    /// By the clock of the file system.
    now: SystemTime,
    listing: Listing,
    named: HashMap<Fingerprint, Named>,
    trees: HashMap<Digest, Tree>,
    /// Size, and whether it is young, of each blob, tree and record.
    files: HashMap<PathBuf, (u64, bool)>,
    runs: Vec<Root>,
    workspaces: Vec<Workspace>,
    /// What leases name.
    live: Vec<[u8; 32]>,
}

impl Cache {
    /// Says what a collection would remove, and removes nothing.
    ///
    /// # Errors
    /// When the cache can't be read.
    pub fn plan_collection(&self, policy: &Policy) -> Result<Collection, CacheError> {
        // Where nothing can be written nothing will be removed, and our own clock will do.
        let now = Staging::new(self).and_then(|staging| staging.clock());
        let snapshot = self.snapshot(policy, now.unwrap_or_else(|_| SystemTime::now()))?;
        let (reached, kept_runs) = snapshot.mark(policy);
        let mut forgotten = vec![0; snapshot.workspaces.len()];
        for (run, _) in
            snapshot.forgettable(&kept_runs, policy).filter(|(run, _)| run.is_readable())
        {
            forgotten[run.workspace] += 1;
        }
        Ok(snapshot.tell(policy, &reached, &kept_runs, &forgotten))
    }

    /// Collects: removes what isn't kept.
    ///
    /// # Errors
    /// When the cache can't be read, or something can't be removed.
    pub fn collect(&self, policy: &Policy) -> Result<Collection, CacheError> {
        Staging::sweep(self);
        let staging = Staging::new(self)?;
        // Nobody comes to rely on anything meanwhile that isn't known to be used.
        let _shut = self.shut();
        let now = staging.clock()?;
        let first = self.snapshot(policy, now)?;
        let (reached, kept_runs) = first.mark(policy);
        let forgotten = self.forget_runs(&first, &kept_runs, policy)?;
        let mut told = first.tell(policy, &reached, &kept_runs, &forgotten);
        told.removed = Amount::default();
        let mut bytes = 0;
        for record in &first.listing.records {
            if !reached.records.contains(&record.name)
                && self.remove_old(&record.path, now, policy, &mut bytes)?
            {
                told.removed.records += 1;
            }
        }
        // Runs go on meanwhile. What they have published or looked up since is young, and what it names is kept.
        let second = self.snapshot(policy, staging.clock()?)?;
        let (still, _) = second.mark(policy);
        for tree in &first.listing.trees {
            let kept = reached.trees.contains(&tree.name) || still.trees.contains(&tree.name);
            if !kept && self.remove_old(&tree.path, now, policy, &mut bytes)? {
                told.removed.trees += 1;
            }
        }
        for blob in &first.listing.blobs {
            let kept = reached.blobs.contains(&blob.name) || still.blobs.contains(&blob.name);
            if !kept && self.remove_old(&blob.path, now, policy, &mut bytes)? {
                told.removed.blobs += 1;
            }
        }
        for path in list(&self.root.join("quarantine"))? {
            let old = fs::metadata(&path).is_ok_and(|meta| !is_young(&meta, now, QUARANTINE));
            if old {
                self.remove(&path)?;
            }
        }
        for folder in FORMER.map(|folder| self.root.join(folder)) {
            if is_folder(&folder) {
                // What can't be removed, or comes from an earlier version that is at work, does no harm.
                list(&folder)?.iter().for_each(|path| _ = self.remove(path));
                let _ = fs::remove_dir(&folder);
            }
        }
        told.removed.bytes = bytes;
        told.done = true;
        Ok(told)
    }

    fn snapshot(&self, policy: &Policy, now: SystemTime) -> Result<Snapshot, CacheError> {
        // The live are looked at first: what they come to use after that is young.
        let live = self.live_leases(now, policy.grace)?;
        let live = live.iter().flat_map(|text| names(text)).collect();
        let Roots { workspaces, runs } = self.roots(now)?;
        let listing = self.listing()?;
        let look = |path: &Path| {
            let meta = fs::metadata(path).ok()?;
            Some((path.to_owned(), (meta.size(), is_young(&meta, now, policy.grace))))
        };
        let digests = listing.blobs.par_iter().chain(&listing.trees).map(|found| &found.path);
        let paths = digests.chain(listing.records.par_iter().map(|found| &found.path));
        let files = paths.filter_map(|path| look(path)).collect();
        let named = listing.named();
        let trees = self.all_trees(&listing);
        let workspaces = workspaces
            .into_iter()
            .enumerate()
            .map(|(number, (name, pipeline))| Workspace {
                name,
                pipeline,
                runs: runs.iter().filter(|run| run.is_readable() && run.workspace == number).count()
                    as u64,
                kept: 0,
                pinned: 0,
                forgotten: 0,
            })
            .collect();
        Ok(Snapshot { now, listing, named, trees, files, runs, workspaces, live })
    }

    /// Removes a file unless it has become young; whether it did.
    fn remove_old(
        &self,
        path: &Path,
        now: SystemTime,
        policy: &Policy,
        bytes: &mut u64,
    ) -> Result<bool, CacheError> {
        let Ok(meta) = fs::symlink_metadata(path) else { return Ok(false) };
        if is_young(&meta, now, policy.grace) {
            return Ok(false);
        }
        self.remove(path)?;
        *bytes += meta.size();
        Ok(true)
    }

    /// Forgets runs that aren't kept; says how many of each workspace.
    fn forget_runs(
        &self,
        snapshot: &Snapshot,
        kept: &[bool],
        policy: &Policy,
    ) -> Result<Vec<u64>, CacheError> {
        let mut forgotten = vec![0; snapshot.workspaces.len()];
        for (run, file) in snapshot.forgettable(kept, policy) {
            // It may have been pinned since we looked.
            if file.with_extension("pin").exists() {
                continue;
            }
            if !run.is_readable() {
                // What it was can still be looked at.
                self.quarantine(file)?;
            } else if self.remove_old(file, snapshot.now, policy, &mut 0)? {
                forgotten[run.workspace] += 1;
            }
        }
        Ok(forgotten)
    }
}

impl Snapshot {
    /// What is kept, and which runs are.
    fn mark(&self, policy: &Policy) -> (Reached, Vec<bool>) {
        let mut kept: Vec<bool> = self.runs.iter().map(|run| run.pinned).collect();
        // Nobody's runs are counted against another's.
        let mut count: HashMap<(usize, u32), u64> = HashMap::new();
        for (run, kept) in self.runs.iter().zip(&mut kept).rev() {
            if !run.is_readable() {
                continue;
            }
            let count = count.entry((run.workspace, run.owner)).or_default();
            *count += 1;
            let by_count = policy.keep_runs.is_some_and(|most| *count <= most);
            let by_days = policy.keep_days.is_some_and(|days| {
                let age = self.now.duration_since(run.ended);
                age.map_or(true, |age| age.as_secs_f64() < days * 86_400.0)
            });
            *kept |= by_count || by_days;
        }
        let Some(most) = policy.max_size else { return (self.reach(&kept), kept) };
        // The oldest are given up first, until the rest fits: the fewest that do are found by halving.
        let given: Vec<usize> = (0..self.runs.len())
            .filter(|&run| {
                kept[run] && !self.runs[run].pinned && self.runs[run].standing != Standing::Newest
            })
            .collect();
        let without = |number: usize| {
            let mut kept = kept.clone();
            given[..number].iter().for_each(|&run| kept[run] = false);
            (self.reach(&kept), kept)
        };
        let fits = |number: usize| self.amount(&without(number).0).bytes <= most;
        let (mut low, mut high) = (0, given.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if fits(middle) { high = middle } else { low = middle + 1 }
        }
        without(low)
    }

    /// The runs that are to be forgotten, each with its file.
    fn forgettable(&self, kept: &[bool], policy: &Policy) -> impl Iterator<Item = (&Root, &Path)> {
        let old = |path: &Path| {
            let meta = fs::metadata(path);
            meta.is_ok_and(|meta| !is_young(&meta, self.now, policy.grace))
        };
        let runs = self.runs.iter().zip(kept).filter(|(_, kept)| !**kept);
        let runs = runs.filter(|(run, _)| policy.forget_named || !run.named);
        runs.filter_map(move |(run, _)| {
            let file = run.file.as_deref().filter(|file| old(file))?;
            Some((run, file))
        })
    }

    /// What is reached from these runs, from what is live, and from what is young.
    fn reach(&self, kept: &[bool]) -> Reached {
        let mut reached = Reached::default();
        // What a damaged run may have named isn't lost with it: it stays until the next collection.
        let roots = self.runs.iter().zip(kept).filter(|(run, kept)| **kept || !run.is_readable());
        let roots = roots.flat_map(|(run, _)| run.names.iter().copied());
        reached.add(roots.chain(self.live.iter().copied()), &self.named, &self.trees);
        let young = |path: &Path| self.files.get(path).is_none_or(|(_, young)| *young);
        let records = self.listing.records.iter().filter(|found| young(&found.path));
        let records = records.map(|found| *found.name.as_bytes());
        let trees = self.listing.trees.iter().filter(|found| young(&found.path));
        let trees = trees.map(|found| *found.name.as_bytes());
        reached.add(records.chain(trees), &self.named, &self.trees);
        let blobs = self.listing.blobs.iter().filter(|found| young(&found.path));
        reached.blobs.extend(blobs.map(|found| found.name));
        // A young record that can't be read yet, or any more, is left to those who verify.
        let records = self.listing.records.iter().filter(|found| young(&found.path));
        reached.records.extend(records.map(|found| found.name));
        let trees = self.listing.trees.iter().filter(|found| young(&found.path));
        reached.trees.extend(trees.map(|found| found.name));
        reached
    }

    /// How much of what is there is among `reached`.
    fn amount(&self, reached: &Reached) -> Amount {
        let size = |path: &Path| self.files.get(path).map_or(0, |(size, _)| *size);
        let (records, a) = sum(&self.listing.records, |name| reached.records.contains(name), size);
        let (trees, b) = sum(&self.listing.trees, |name| reached.trees.contains(name), size);
        let (blobs, c) = sum(&self.listing.blobs, |name| reached.blobs.contains(name), size);
        Amount { records, trees, blobs, bytes: a + b + c }
    }

    fn tell(
        &self,
        policy: &Policy,
        reached: &Reached,
        kept_runs: &[bool],
        forgotten: &[u64],
    ) -> Collection {
        let kept = self.amount(reached);
        let all = Amount {
            records: self.listing.records.len() as u64,
            trees: self.listing.trees.len() as u64,
            blobs: self.listing.blobs.len() as u64,
            bytes: self.files.values().map(|(size, _)| size).sum(),
        };
        let removed = Amount {
            records: all.records - kept.records,
            trees: all.trees - kept.trees,
            blobs: all.blobs - kept.blobs,
            bytes: all.bytes - kept.bytes,
        };
        let mut workspaces = self.workspaces.clone();
        for (run, kept) in self.runs.iter().zip(kept_runs) {
            workspaces[run.workspace].kept += u64::from(*kept);
            workspaces[run.workspace].pinned += u64::from(run.pinned);
        }
        for (workspace, forgotten) in workspaces.iter_mut().zip(forgotten) {
            workspace.forgotten = *forgotten;
        }
        // A workspace whose last run was forgotten isn't spoken of.
        workspaces.retain(|workspace| workspace.runs > 0);
        let over = policy.max_size.and_then(|most| kept.bytes.checked_sub(most)).filter(|o| *o > 0);
        Collection { kept, removed, workspaces, over, done: false }
    }
}

/// The number and the size of what of `found` is kept.
fn sum<T>(
    found: &[Found<T>],
    keep: impl Fn(&T) -> bool,
    size: impl Fn(&Path) -> u64,
) -> (u64, u64) {
    let kept = found.iter().filter(|found| keep(&found.name));
    kept.fold((0, 0), |(count, bytes), found| (count + 1, bytes + size(&found.path)))
}
