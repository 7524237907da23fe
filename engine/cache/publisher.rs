//! Makes results durable, many at a time.
//!
//! A disk takes as long for a hundred small files as for one. So results are queued, and whoever commits takes all
//! that are there: first every file is made durable where it is staged, then blobs and trees are put in their places,
//! then the folders are made durable, then come the records, in the order in which they were queued, and their folders.
//! A kill at any instant leaves of each result nothing, or the whole truth.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use super::{
    cache::Cache,
    error::CacheError,
    publish_errors::PublishErrors,
    records::Publication,
    staged_file::sync_path,
    staged_result::{Bundle, StagedResult},
    staging::Staging,
};

/// How long a result waits for others to share a commit with.
const LINGER: Duration = Duration::from_millis(20);
/// How many results wait at most.
const MOST: usize = 512;
/// From how many files and folders on it is cheaper to make the whole file system durable than each.
const MANY: usize = 8;

type Done<'a> = Box<dyn FnOnce(Result<Publication, CacheError>) + Send + 'a>;

/// Publishes results. Any number of threads may queue them; one commits at a time.
pub(crate) struct Publisher<'a> {
    cache: Cache,
    queue: Mutex<Queue<'a>>,
    arrived: Condvar,
    /// Held by whoever commits, with the staging folders of what was published.
    committing: Mutex<Vec<Arc<Staging>>>,
    errors: PublishErrors,
}

#[derive(Default)]
struct Queue<'a> {
    jobs: Vec<(StagedResult, Done<'a>)>,
    closed: bool,
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(cache: &Cache) -> Self {
        Self {
            cache: cache.clone(),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            committing: Mutex::default(),
            errors: PublishErrors::default(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<'a>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a result. Somebody has to [`serve`](Self::serve) or [`flush`](Self::flush).
    ///
    /// `readable` is called, on this thread, as soon as this process finds the result as if it were published, which
    /// may be never. `done` is called when it is durable and complete, or has failed, on whichever thread commits
    /// it: it must not publish anything itself. The results of one publisher are published in the order in which they
    /// were queued, and none whose blobs aren't there.
    ///
    /// # Errors
    /// When the cache can't be written; `done` is not called then.
    pub(crate) fn submit(
        &self,
        bundle: Bundle,
        readable: impl FnOnce(),
        done: impl FnOnce(Result<Publication, CacheError>) + Send + 'a,
    ) -> Result<(), CacheError> {
        let result = StagedResult::new(bundle, &self.cache)?;
        let contested = result.contested;
        // Who finds the result must not be queued before it.
        let mut queue = self.queue();
        self.cache
            .overlay
            .hold_record(result.record.recipe.fingerprint(), Arc::clone(&result.record));
        if !contested {
            readable();
        }
        queue.jobs.push((result, Box::new(done)));
        let waiting = queue.jobs.len();
        drop(queue);
        if contested {
            // The other's record may stand, and then nobody should have read this one.
            self.flush();
        } else if waiting == 1 || waiting == MOST {
            self.arrived.notify_all();
        }
        Ok(())
    }

    /// Publishes a result, and what was queued before it: durable and complete when this returns.
    ///
    /// # Errors
    /// When it can't be written, or the record that is there differs though the stage is exact.
    pub(crate) fn publish(&self, bundle: Bundle) -> Result<Publication, CacheError> {
        let (sender, receiver) = mpsc::channel();
        let done = move |ended| {
            // This very function waits for it.
            let _ = sender.send(ended);
        };
        self.submit(bundle, || (), done)?;
        self.flush();
        receiver.recv().unwrap_or_else(|_| unreachable!("a commit tells how it ended"))
    }

    /// Commits what is queued.
    pub(crate) fn flush(&self) {
        let mut kept = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = std::mem::take(&mut self.queue().jobs);
        if !jobs.is_empty() {
            kept.extend(self.commit(jobs));
        }
    }

    /// Commits what is queued as it comes, until [`close`](Self::close) is called and nothing is left.
    pub(crate) fn serve(&self) {
        let mut committed: Option<Instant> = None;
        loop {
            let idle = |queue: &mut Queue<'a>| queue.jobs.is_empty() && !queue.closed;
            let queue = self.arrived.wait_while(self.queue(), idle);
            let queue = queue.unwrap_or_else(PoisonError::into_inner);
            if queue.jobs.is_empty() {
                return;
            }
            let few = |queue: &mut Queue<'a>| queue.jobs.len() < MOST && !queue.closed;
            // A result that comes alone is published at once.
            if committed.is_some_and(|last| last.elapsed() < 4 * LINGER) {
                drop(self.arrived.wait_timeout_while(queue, LINGER, few));
            } else {
                drop(queue);
            }
            self.flush();
            committed = Some(Instant::now());
        }
    }

    /// Nothing more will come.
    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.arrived.notify_all();
    }

    fn commit(&self, jobs: Vec<(StagedResult, Done<'a>)>) -> Vec<Arc<Staging>> {
        let (mut jobs, done): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        Self::sync(&mut jobs, |job| {
            let blobs = job.blobs.iter().map(|staged| &staged.file);
            let trees = job.trees.iter().map(|tree| &tree.file);
            blobs.chain(trees).chain([&job.record_file]).cloned().collect()
        });
        self.place(&mut jobs);
        Self::sync(&mut jobs, |job| std::mem::take(&mut job.folders).into_iter().collect());
        let mut published: Vec<Option<Publication>> = Vec::with_capacity(jobs.len());
        for job in &mut jobs {
            let mut parts = job.record.parts.iter();
            let part = || parts.find_map(|part| self.errors.told_again(part.as_bytes()));
            let ended = match job.failure.take().or_else(part) {
                Some(failure) => Err(failure),
                None => job.place_record(&self.cache),
            };
            if let Err(error) = &ended {
                self.errors.note([job.record.recipe.fingerprint().as_bytes()], error);
            }
            published.push(ended.map_err(|error| job.failure = Some(error)).ok());
        }
        Self::sync(&mut jobs, |job| std::mem::take(&mut job.folders).into_iter().collect());
        let mut kept = Vec::with_capacity(jobs.len());
        for ((mut job, done), published) in jobs.into_iter().zip(done).zip(published) {
            job.forget(&self.cache);
            drop(job.lease.take());
            done(match (job.failure, published) {
                (None, Some(published)) => Ok(published),
                (Some(failure), _) => Err(failure),
                (None, None) => unreachable!("what isn't published has failed"),
            });
            kept.push(job.staging);
        }
        kept
    }

    /// Puts the blobs and trees of all in their places.
    fn place(&self, jobs: &mut [StagedResult]) {
        for job in jobs {
            if job.failure.is_none() {
                job.failure = job.place(&self.cache, &self.errors).err();
            }
            if let Some(why) = &job.failure {
                self.errors.note(job.blobs.iter().map(|staged| staged.blob.as_bytes()), why);
            }
        }
    }

    /// Makes files and folders durable.
    fn sync(jobs: &mut [StagedResult], paths: impl Fn(&mut StagedResult) -> Vec<PathBuf>) {
        let well = jobs.iter_mut().filter(|job| job.failure.is_none());
        let paths: Vec<(&mut StagedResult, Vec<PathBuf>)> = well
            .map(|job| {
                let paths = paths(job);
                (job, paths)
            })
            .collect();
        let all: HashSet<&PathBuf> = paths.iter().flat_map(|(_, paths)| paths).collect();
        // When the file system as a whole reports an error, it may be another's.
        if all.len() > MANY && paths[0].0.staging.sync_file_system().is_ok() {
            return;
        }
        // Results that come together share folders.
        let mut synced = HashSet::new();
        for (job, paths) in paths {
            job.failure = paths
                .into_iter()
                .try_for_each(|path| {
                    if !synced.contains(&path) {
                        sync_path(&path)?;
                        synced.insert(path);
                    }
                    Ok(())
                })
                .err();
        }
    }
}

/// Publishes `tree` alone, for tests that read it back.
#[cfg(test)]
pub(crate) fn publish(
    cache: &Cache,
    staging: Arc<Staging>,
    blobs: Vec<super::Staged>,
    tree: crate::base::tree::Tree,
) -> crate::base::tree::Tree {
    try_publish(cache, staging, blobs, &tree).unwrap();
    tree
}

/// The same, if it can be.
#[cfg(test)]
pub(super) fn try_publish(
    cache: &Cache,
    staging: Arc<Staging>,
    blobs: Vec<super::Staged>,
    tree: &crate::base::tree::Tree,
) -> Result<Publication, CacheError> {
    let bundle = tests::bundle(staging, blobs, vec![tree.clone()], &tree.digest().hex());
    Publisher::new(cache).publish(bundle)
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;
    use crate::{
        base::{digest::Digest, exactness::Exactness, tree::Tree},
        cache::{FORMAT, Provenance, Recipe, Record, Staged},
    };

    /// What the stage `name` made.
    pub(super) fn bundle(
        staging: Arc<Staging>,
        blobs: Vec<Staged>,
        trees: Vec<Tree>,
        name: &str,
    ) -> Bundle {
        let recipe = Recipe {
            kind: name.to_owned(),
            revision: 1,
            config: serde_json::Value::Null,
            inputs: std::collections::BTreeMap::default(),
            part: None,
        };
        let provenance = Provenance {
            stage: name.to_owned(),
            host: String::new(),
            version: String::new(),
            started: String::new(),
            seconds: 0.0,
            notes: std::collections::BTreeMap::default(),
        };
        let outputs = trees.iter().enumerate().map(|(i, tree)| (i.to_string(), tree.digest()));
        let record = Record {
            format: FORMAT,
            recipe,
            outputs: outputs.collect(),
            parts: Vec::new(),
            sources: std::collections::BTreeMap::default(),
            log: None,
            provenance,
        };
        Bundle { staging, blobs, trees, record, exactness: Exactness::Exact, lease: None }
    }

    fn made(cache: &Cache, name: &str, bytes: &[u8]) -> Bundle {
        let staging = Arc::new(Staging::new(cache).unwrap());
        let staged = staging.write(bytes).unwrap();
        let tree = Tree::single(staged.blob, staged.size);
        bundle(staging, vec![staged], vec![tree], name)
    }

    #[test]
    fn a_part_that_is_removed_leaves_what_others_name() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let publish = |name: &str, path: &str| {
            let staging = Arc::new(Staging::new(&cache).unwrap());
            let staged = staging.write(b"what all have").unwrap();
            let path = path.parse().unwrap();
            let entry = crate::base::tree::Entry::plain(path, staged.blob, staged.size);
            let bundle = bundle(staging, vec![staged], vec![Tree::new(vec![entry]).unwrap()], name);
            let fingerprint = bundle.record.recipe.fingerprint();
            Publisher::new(&cache).publish(bundle).unwrap();
            fingerprint
        };
        let count = || {
            let listing = cache.listing().unwrap();
            (listing.records.len(), listing.trees.len(), listing.blobs.len())
        };
        let [a, b, c, d] = [("a", "."), ("b", "."), ("c", "x"), ("d", "x")]
            .map(|(name, path)| publish(name, path));
        assert_eq!(count(), (4, 2, 1));
        cache.remove_parts(&[a, a]).unwrap();
        assert_eq!(count(), (3, 2, 1), "`b` names the tree");
        cache.remove_parts(&[b]).unwrap();
        assert_eq!(count(), (2, 1, 1), "another tree names the blob");
        cache.remove_parts(&[a, c, d]).unwrap();
        assert_eq!(count(), (0, 0, 0), "what only those name that go goes with them");
    }

    #[test]
    fn a_result_is_readable_before_it_is_published_and_after() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let ended = Mutex::new(Vec::new());
        let publisher = Publisher::new(&cache);
        for number in 0..40_u8 {
            let bundle = made(&cache, &number.to_string(), &[number]);
            let done = |published: Result<Publication, CacheError>| {
                ended.lock().unwrap().push(matches!(published, Ok(Publication::First)));
            };
            publisher.submit(bundle, || (), done).unwrap();
        }
        let fingerprint =
            |number: u8| made(&cache, &number.to_string(), b"").record.recipe.fingerprint();
        let check = |published: bool| {
            for number in 0..40_u8 {
                let record = cache.record(fingerprint(number)).unwrap().unwrap().unwrap();
                let tree = cache.complete_tree(record.outputs["0"]).unwrap().unwrap();
                let path = cache.blob_path(tree.files()[0].blob);
                assert_eq!(fs::read(&path).unwrap(), [number]);
                assert_eq!(path.starts_with(folder.path().join("blobs")), published);
                assert_eq!(cache.record_path(fingerprint(number)).exists(), published);
            }
        };
        check(false);
        publisher.flush();
        check(true);
        assert_eq!(*ended.lock().unwrap(), [true; 40]);
        // A path that a reader took while the result was pending is good for as long as the publisher is.
        drop(publisher);
        drop(cache);
        assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn a_record_whose_blob_went_is_not_published() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let results = Mutex::new(Vec::new());
        let publisher = Publisher::new(&cache);
        let lost = made(&cache, "lost", b"bytes");
        let file = lost.blobs[0].file.clone();
        // Its tree names the blob of the first, which never arrives.
        let mut relying = made(&cache, "relying", b"bytes");
        relying.blobs.clear();
        let sound = made(&cache, "sound", b"others");
        let fingerprints =
            [&lost, &relying, &sound].map(|bundle| bundle.record.recipe.fingerprint());
        for bundle in [lost, relying, sound] {
            let done = |published: Result<Publication, CacheError>| {
                results.lock().unwrap().push(published.is_ok());
            };
            publisher.submit(bundle, || (), done).unwrap();
        }
        fs::remove_file(file).unwrap();
        publisher.flush();
        assert_eq!(*results.lock().unwrap(), [false, false, true]);
        let there = fingerprints.map(|fingerprint| cache.record(fingerprint).unwrap().is_some());
        assert_eq!(there, [false, false, true]);
    }

    #[test]
    fn what_differs_from_a_record_that_is_there_is_never_readable() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let (mut readable, ended) = (false, Mutex::new(None));
        let publisher = Publisher::new(&cache);
        publisher.publish(made(&cache, "stage", b"one")).unwrap();
        let done = |published| *ended.lock().unwrap() = Some(published);
        publisher.submit(made(&cache, "stage", b"two"), || readable = true, done).unwrap();
        assert!(!readable);
        let ended = ended.lock().unwrap().take().unwrap();
        assert!(matches!(ended, Err(CacheError::Conflict(_))), "{ended:?}");
    }

    #[test]
    fn what_differs_from_a_record_whose_outputs_are_gone_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let publisher = Publisher::new(&cache);
        for kind in ["trees", "blobs"] {
            publisher.publish(made(&cache, kind, b"one")).unwrap();
            let fingerprint = made(&cache, kind, b"").record.recipe.fingerprint();
            let record = cache.record(fingerprint).unwrap().unwrap().unwrap();
            let tree = cache.tree(record.outputs["0"]).unwrap().unwrap();
            if kind == "trees" {
                cache.remove_tree(tree.digest()).unwrap();
            } else {
                cache.remove_blob(tree.files()[0].blob).unwrap();
            }
            let ours = made(&cache, kind, b"two");
            let outputs = ours.record.outputs.clone();
            assert!(matches!(publisher.publish(ours), Ok(Publication::First)), "{kind}");
            let record = cache.record(fingerprint).unwrap().unwrap().unwrap();
            assert_eq!(record.outputs, outputs, "{kind}");
        }
    }

    #[test]
    fn what_is_put_together_from_a_part_that_conflicts_is_not_published() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let ended = Mutex::new(Vec::new());
        let publisher = Publisher::new(&cache);
        publisher.publish(made(&cache, "part", b"one")).unwrap();
        let part = made(&cache, "part", b"two");
        let mut whole = made(&cache, "whole", b"two");
        whole.record.parts = vec![part.record.recipe.fingerprint()];
        for bundle in [part, whole] {
            let done = |published| ended.lock().unwrap().push(published);
            publisher.submit(bundle, || (), done).unwrap();
        }
        publisher.flush();
        let ended = ended.lock().unwrap();
        assert_eq!(ended.len(), 2);
        for ended in &*ended {
            assert!(matches!(ended, Err(CacheError::Conflict(_))), "{ended:?}");
        }
    }

    #[test]
    fn many_files_and_a_broken_blob_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let staging = Arc::new(Staging::new(&cache).unwrap());
        let blobs: Vec<Staged> =
            (0..700_u32).map(|i| staging.write(&i.to_le_bytes()).unwrap()).collect();
        let names: Vec<(Digest, u64)> = blobs.iter().map(|blob| (blob.blob, blob.size)).collect();
        let broken = cache.published_path(names[0].0);
        fs::create_dir_all(broken.parent().unwrap()).unwrap();
        fs::write(&broken, "").unwrap();
        let trees = names.iter().map(|(blob, size)| Tree::single(*blob, *size)).collect();
        Publisher::new(&cache).publish(bundle(staging, blobs, trees, "many")).unwrap();
        for (blob, size) in names {
            let meta = fs::metadata(cache.published_path(blob)).unwrap();
            assert_eq!(meta.len(), size);
            assert!(meta.permissions().readonly());
            assert_eq!(cache.verify_blob(blob).unwrap(), Ok(()));
        }
    }

    #[test]
    fn threads_share_commits() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let ended = Mutex::new(0);
        let publisher = Publisher::new(&cache);
        thread::scope(|scope| {
            scope.spawn(|| publisher.serve());
            thread::scope(|scope| {
                for thread in 0..4_u8 {
                    let (cache, publisher, ended) = (&cache, &publisher, &ended);
                    scope.spawn(move || {
                        for number in 0..20_u8 {
                            let bundle = made(cache, &format!("{thread}.{number}"), &[number]);
                            let done = |published: Result<_, _>| {
                                published.unwrap();
                                *ended.lock().unwrap() += 1;
                            };
                            publisher.submit(bundle, || (), done).unwrap();
                        }
                    });
                }
            });
            publisher.close();
        });
        assert_eq!(*ended.lock().unwrap(), 80);
    }
}
