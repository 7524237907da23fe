//! Makes results durable, many at a time.
//!
//! A disk takes as long for a hundred small files as for one. So results are queued, and whoever commits takes all
//! that are there: first every file is made durable where it is staged, then blobs and trees are put in their places,
//! then the folders are made durable, then come the records, in the order in which they were queued, and their folders.
//! A kill at any instant leaves of each result nothing, or the whole truth.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rayon::prelude::*;

use super::{
    Cache, CacheError, Lease, Publication, Record, Staged, Staging, create_folder,
    staging::is_fatal,
};
use crate::{artifact::Tree, digest::Digest, disk, stage::Exactness};

/// How long a result waits for others to share a commit with.
const LINGER: Duration = Duration::from_millis(5);
/// How many results wait at most.
const MOST: usize = 512;
/// From how many files and folders on it is cheaper to make the whole file system durable than each.
const MANY: usize = 8;

/// Up to how many files waking other threads takes longer than the work.
pub(crate) const FEW: usize = 32;

/// A result that is staged: everything that a record needs to be published.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Where the blobs are staged. It is kept as long as the publisher is, since readers may hold paths into it.
    pub(crate) staging: Arc<Staging>,
    /// The files of the trees, and the log.
    pub(crate) blobs: Vec<Staged>,
    /// The outputs. Blobs of theirs that aren't among `blobs` must be in the cache, or queued before.
    pub(crate) trees: Vec<Tree>,
    /// Published last.
    pub(crate) record: Record,
    pub(crate) exactness: Exactness,
    /// Held until the record is published.
    pub(crate) lease: Option<Lease>,
}

/// A result that this process can read already.
#[derive(Debug)]
struct Prepared {
    staging: Arc<Staging>,
    blobs: Vec<Move>,
    trees: Vec<(Digest, Move)>,
    record: Arc<Record>,
    record_file: PathBuf,
    exactness: Exactness,
    lease: Option<Lease>,
    /// Files of our own that are published already. Should they be collected meanwhile, ours take their places.
    spares: Vec<Move>,
    /// Blobs that are published or queued already, and that must be there before the record is.
    relies_on: Vec<(Digest, u64)>,
    /// Whether another's record is there already.
    contested: bool,
    /// The folders in which something was put.
    folders: BTreeSet<PathBuf>,
    failure: Option<CacheError>,
}

/// A staged file, and where it is to be.
#[derive(Debug)]
struct Move {
    file: PathBuf,
    target: PathBuf,
    blob: Digest,
    size: u64,
}

/// What failed, on which file, and with which error of the operating system.
type Lost = (&'static str, PathBuf, i32);

type Done<'a> = Box<dyn FnOnce(Result<Publication, CacheError>) + Send + 'a>;

/// Publishes results. Any number of threads may queue them; one commits at a time.
pub(crate) struct Publisher<'a> {
    cache: Cache,
    queue: Mutex<Queue<'a>>,
    arrived: Condvar,
    /// Held by whoever commits, with the staging folders of what was published.
    committing: Mutex<Vec<Arc<Staging>>>,
    /// Why blobs and records couldn't be published: it is what keeps records from being published that name them.
    lost: Mutex<BTreeMap<[u8; 32], Lost>>,
}

#[derive(Default)]
struct Queue<'a> {
    jobs: Vec<(Prepared, Done<'a>)>,
    closed: bool,
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(cache: &Cache) -> Self {
        Self {
            cache: cache.clone(),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            committing: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue<'a>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a result. Somebody has to [`serve`](Self::serve) or [`flush`](Self::flush).
    ///
    /// `readable` is called, on this thread, as soon as this process finds the result as if it were published, which
    /// may be never. `done` is called when it is durable and complete, or came to nothing, on whichever thread commits
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
        let prepared = self.prepare(bundle)?;
        let contested = prepared.contested;
        // Who finds the result must not be queued before it.
        let mut queue = self.queue();
        self.cache
            .pending
            .hold_record(prepared.record.recipe.fingerprint(), Arc::clone(&prepared.record));
        if !contested {
            readable();
        }
        queue.jobs.push((prepared, Box::new(done)));
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

    /// Makes what `bundle` names readable in this process: its trees and blobs are found from here on.
    fn prepare(&self, bundle: Bundle) -> Result<Prepared, CacheError> {
        let Bundle { staging, blobs, trees, record, exactness, lease } = bundle;
        let cache = &self.cache;
        let json = serde_json::to_vec_pretty(&record)
            .unwrap_or_else(|_| unreachable!("a record has text keys only"));
        let record_file = staging.write_document(&json)?;
        let fingerprint = record.recipe.fingerprint();
        let mut prepared = Prepared {
            contested: cache.record_path(fingerprint).exists(),
            staging,
            blobs: Vec::new(),
            trees: Vec::new(),
            record: Arc::new(record),
            record_file,
            exactness,
            lease,
            spares: Vec::new(),
            relies_on: Vec::new(),
            folders: BTreeSet::new(),
            failure: None,
        };
        let own: BTreeSet<Digest> = blobs.iter().map(|staged| staged.blob).collect();
        for entry in trees.iter().flat_map(Tree::files) {
            if !own.contains(&entry.blob) {
                prepared.relies_on.push((entry.blob, entry.size));
            }
        }
        // Whether each is in the cache already; those that aren't are protected.
        let protect = |staged: &Staged| {
            if cache.holds_blob(staged.blob, staged.size) {
                return Ok(true);
            }
            let file = File::open(&staged.file).map_err(CacheError::io("open", &staged.file))?;
            disk::protect(&file, &staged.file, cache.mode(0o444))
                .map_err(CacheError::io("protect", &staged.file))?;
            Ok(false)
        };
        let there: Vec<bool> = if blobs.len() > FEW {
            blobs.par_iter().map(protect).collect::<Result<_, CacheError>>()?
        } else {
            blobs.iter().map(protect).collect::<Result<_, CacheError>>()?
        };
        cache.pending.begin();
        for (staged, there) in blobs.into_iter().zip(there) {
            let Staged { file, blob, size } = staged;
            if there {
                let target = cache.published_path(blob);
                prepared.folders.extend(target.parent().map(Path::to_owned));
                prepared.spares.push(Move { file, target, blob, size });
            } else {
                cache.pending.hold_blob(blob, file.clone());
                prepared.blobs.push(Move { file, target: cache.published_path(blob), blob, size });
            }
        }
        for tree in trees {
            let (digest, json) = (tree.digest(), tree.to_json());
            let (target, size) = (cache.tree_path(digest), json.len() as u64);
            let sound = fs::read(&target).is_ok_and(|there| there == json);
            if sound && disk::touch(&target) {
                cache.note_tree(digest);
                prepared.folders.extend(target.parent().map(Path::to_owned));
                continue;
            }
            let file = match prepared.staging.write_document(&json) {
                Ok(file) => file,
                Err(error) => {
                    self.forget(&prepared);
                    return Err(error);
                }
            };
            cache.pending.hold_tree(digest, Arc::new(tree));
            prepared.trees.push((digest, Move { file, target, blob: digest, size }));
        }
        Ok(prepared)
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

    fn commit(&self, jobs: Vec<(Prepared, Done<'a>)>) -> Vec<Arc<Staging>> {
        let (mut jobs, done): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        Self::sync(&mut jobs, |job| {
            let moves = job.blobs.iter().chain(job.trees.iter().map(|(_, tree)| tree));
            let files = moves.map(|staged| staged.file.clone());
            files.chain([job.record_file.clone()]).collect()
        });
        self.place(&mut jobs);
        Self::sync(&mut jobs, |job| std::mem::take(&mut job.folders).into_iter().collect());
        let mut published: Vec<Option<Publication>> = Vec::with_capacity(jobs.len());
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        for job in &mut jobs {
            let part = job.record.parts.iter().find_map(|part| lost.get(part.as_bytes()));
            let ended = match (job.failure.take(), part) {
                (Some(failure), _) => Err(failure),
                (None, Some(why)) => Err(told_again(why)),
                (None, None) => job.place_record(&self.cache),
            };
            if let Some(why) = ended.as_ref().err().and_then(lost_by) {
                lost.insert(*job.record.recipe.fingerprint().as_bytes(), why);
            }
            published.push(ended.map_err(|error| job.failure = Some(error)).ok());
        }
        drop(lost);
        Self::sync(&mut jobs, |job| std::mem::take(&mut job.folders).into_iter().collect());
        let mut kept = Vec::with_capacity(jobs.len());
        for ((mut job, done), published) in jobs.into_iter().zip(done).zip(published) {
            self.forget(&job);
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
    fn place(&self, jobs: &mut [Prepared]) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        for job in jobs {
            if job.failure.is_none() {
                job.failure = job.place(&self.cache, &lost).err();
            }
            if let Some(why) = job.failure.as_ref().and_then(lost_by) {
                lost.extend(job.blobs.iter().map(|staged| (*staged.blob.as_bytes(), why.clone())));
            }
        }
    }

    /// Makes files and folders durable.
    fn sync(jobs: &mut [Prepared], paths: impl Fn(&mut Prepared) -> Vec<PathBuf>) {
        let well = jobs.iter_mut().filter(|job| job.failure.is_none());
        let paths: Vec<(&mut Prepared, Vec<PathBuf>)> = well
            .map(|job| {
                let paths = paths(job);
                (job, paths)
            })
            .collect();
        let count: usize = paths.iter().map(|(_, paths)| paths.len()).sum();
        // When the file system as a whole reports an error, it may be another's.
        if count > MANY && paths[0].0.staging.sync_file_system().is_ok() {
            return;
        }
        for (job, paths) in paths {
            job.failure = paths.iter().try_for_each(|path| sync_path(path)).err();
        }
    }

    /// From here on, what isn't published isn't found.
    fn forget(&self, job: &Prepared) {
        let blobs = job.blobs.iter().map(|staged| staged.blob);
        let trees = job.trees.iter().map(|(digest, _)| *digest);
        self.cache.pending.end(blobs, trees, job.record.recipe.fingerprint());
    }
}

impl Prepared {
    /// Puts blobs and trees in their places.
    fn place(&mut self, cache: &Cache, lost: &BTreeMap<[u8; 32], Lost>) -> Result<(), CacheError> {
        let Self { staging, blobs, trees, spares, relies_on, folders, .. } = self;
        for spare in spares {
            if !fs::metadata(&spare.target).is_ok_and(|meta| meta.len() == spare.size) {
                sync_path(&spare.file)?;
                folders.extend(spare.link(cache, staging)?);
            }
        }
        for made in in_parallel(blobs, |staged| staged.link(cache, staging))? {
            folders.extend(made);
        }
        for (_, tree) in &*trees {
            folders.extend(tree.rename()?);
            cache.note_tree(tree.blob);
        }
        for staged in blobs.iter().chain(trees.iter().map(|(_, tree)| tree)) {
            folders.extend(staged.target.parent().map(Path::to_owned));
        }
        in_parallel(relies_on, |(blob, size)| {
            let path = cache.published_path(*blob);
            let found = fs::metadata(&path).and_then(|meta| {
                if meta.len() == *size { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
            });
            found.map_err(|error| match lost.get(blob.as_bytes()) {
                Some(why) => told_again(why),
                None => CacheError::io("find the blob", &path)(error),
            })
        })?;
        Ok(())
    }

    fn place_record(&mut self, cache: &Cache) -> Result<Publication, CacheError> {
        let target = cache.record_path(self.record.recipe.fingerprint());
        if let Some(folder) = target.parent() {
            if let Some(above) = make_folder(folder)? {
                self.folders.insert(above);
            }
            self.folders.insert(folder.to_owned());
        }
        cache.place_record(&self.record_file, &self.record, self.exactness)
    }
}

impl Move {
    /// Gives the staged file its place too; the old one stays, since readers may know it. Gives the folder above the
    /// target's, if the target's had to be made.
    fn link(&self, cache: &Cache, staging: &Staging) -> Result<Option<PathBuf>, CacheError> {
        let made = self.put(cache, staging)?;
        staging.note_published(self.blob);
        Ok(made)
    }

    fn put(&self, cache: &Cache, staging: &Staging) -> Result<Option<PathBuf>, CacheError> {
        let link = || disk::link(&self.file, &self.target);
        let mut made = None;
        let mut linked = link();
        if is_missing(&linked) {
            made = self.target.parent().map(make_folder).transpose()?.flatten();
            linked = link();
        }
        match linked {
            Ok(()) => return Ok(made),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if cache.holds_blob(self.blob, self.size) {
                    return Ok(made);
                }
            }
            Err(error) if is_fatal(&error) => {
                return Err(CacheError::io("publish", &self.target)(error));
            }
            Err(_) => {}
        }
        // Something broken stands there, or the file system has no hard links.
        let copy = staging.fresh();
        if fs::hard_link(&self.file, &copy).is_err() {
            disk::step(&copy).map_err(CacheError::io("copy", &self.file))?;
            fs::copy(&self.file, &copy).map_err(CacheError::io("copy", &self.file))?;
            sync_path(&copy)?;
        }
        disk::rename(&copy, &self.target).map_err(CacheError::io("publish", &self.target))?;
        Ok(made)
    }

    /// Moves the staged file to its place.
    fn rename(&self) -> Result<Option<PathBuf>, CacheError> {
        let rename = || disk::rename(&self.file, &self.target);
        let mut made = None;
        let mut renamed = rename();
        if is_missing(&renamed) {
            made = self.target.parent().map(make_folder).transpose()?.flatten();
            renamed = rename();
        }
        renamed.map(|()| made).map_err(CacheError::io("publish", &self.target))
    }
}

/// Why something couldn't be published, when the operating system refused.
fn lost_by(error: &CacheError) -> Option<Lost> {
    match error {
        CacheError::Io { action, path, source } => {
            source.raw_os_error().map(|code| (*action, path.clone(), code))
        }
        _ => None,
    }
}

fn told_again((action, path, code): &Lost) -> CacheError {
    CacheError::io(action, path)(io::Error::from_raw_os_error(*code))
}

fn is_missing(done: &io::Result<()>) -> bool {
    done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Makes `folder`; gives the folder above it if it wasn't there.
fn make_folder(folder: &Path) -> Result<Option<PathBuf>, CacheError> {
    if folder.is_dir() {
        return Ok(None);
    }
    create_folder(folder)?;
    Ok(folder.parent().map(Path::to_owned))
}

fn sync_path(path: &Path) -> Result<(), CacheError> {
    disk::sync_path(path).map_err(CacheError::io("sync", path))
}

/// Does `act` to all items, on several threads when there are many. They are threads of its own: a commit must not
/// wait for what runs on the stages' threads.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    act: impl Fn(&T) -> Result<R, CacheError> + Sync,
) -> Result<Vec<R>, CacheError> {
    const SHARE: usize = 256;
    if items.len() <= SHARE {
        return items.iter().map(act).collect();
    }
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(threads).max(SHARE);
    let done: Vec<Vec<R>> = thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> = items
            .chunks(share)
            .map(|items| scope.spawn(move || items.iter().map(act).collect::<Result<_, _>>()))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect::<Result<_, CacheError>>()
    })?;
    Ok(done.into_iter().flatten().collect())
}

/// Publishes `tree` alone, for tests that read it back.
#[cfg(test)]
pub(crate) fn publish(
    cache: &Cache,
    staging: Arc<Staging>,
    blobs: Vec<Staged>,
    tree: Tree,
) -> Tree {
    let bundle = tests::bundle(staging, blobs, vec![tree.clone()], &tree.digest().hex());
    Publisher::new(cache).publish(bundle).unwrap();
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{FORMAT, Provenance, Recipe};

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
