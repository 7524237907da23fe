//! Runs a row-mapped stage chunk by chunk: every chunk is looked up, or executed and published, for itself.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::Range,
    panic,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use serde_json::{Value, json};

use super::attempt::{Attempt, Parts, Unpublished, finish};
use crate::{
    artifact::{
        artifact::Artifact,
        rows::{Cuttable, chunks, fitting, is_read, join},
    },
    base::{
        digest::{Digest, Fingerprint},
        tree::Tree,
    },
    cache::{
        CacheError, Lease, Part, Recipe, Staging,
        wait::{Vain, wait_for_lease},
    },
    plan::{
        resolve::{Known, look_up},
        run_report::PartCount,
    },
    stage::{
        error::StageError,
        kind::{Kind, RowMap, RowsFrom},
    },
};

/// Runs the stage in chunks. `None` if its inputs can't be cut: then it has to be run as a whole.
pub(crate) fn run_chunks(
    attempt: &Attempt<'_, '_>,
    kind: &dyn Kind,
    config: &Value,
    map: RowMap,
    inputs: &BTreeMap<String, Artifact>,
    started: jiff::Timestamp,
) -> Result<Option<Unpublished>, StageError> {
    let Some(mapping) = Mapping::open(attempt, kind, config, map, inputs, started)? else {
        return Ok(None);
    };
    let chunks = chunks(mapping.rows, mapping.chunk_rows);
    mapping.report(0);
    let workers = attempt.jobs.min(attempt.threads.current_num_threads()).min(chunks.len());
    // The chunks are taken by threads of their own, which hand the work itself to the shared ones: so no more than a few
    // chunks are ever in memory, and a stage that is parallel within a chunk finds threads, too.
    let panicked = thread::scope(|scope| {
        let handles: Vec<_> =
            (0..workers).map(|_| scope.spawn(|| mapping.take_chunks(&chunks))).collect();
        let mut panicked = None;
        for handle in handles {
            if let Err(panic) = handle.join() {
                panicked = Some(panic);
            }
        }
        panicked
    });
    if let Some(panic) = panicked {
        panic::resume_unwind(panic);
    }
    if let Some(error) = mapping.lock().failed.take() {
        return Err(error);
    }
    attempt.interrupt.check()?;
    if chunks.len() > 1 {
        // What the cache doesn't take is told here, rather than of the whole.
        attempt.publisher.flush();
        if let Some(error) = mapping.refused() {
            return Err(error.into());
        }
    }
    mapping.join().map(Some)
}

/// A chunk whose result is in the cache.
struct Done {
    fingerprint: Fingerprint,
    outputs: BTreeMap<String, Digest>,
    notes: BTreeMap<String, String>,
    known: bool,
}

#[derive(Default)]
struct ChunkQueue {
    done: BTreeMap<usize, Done>,
    failed: Option<StageError>,
}

struct Mapping<'a, 'p> {
    attempt: &'a Attempt<'a, 'p>,
    kind: &'a dyn Kind,
    config: &'a Value,
    /// What the recipes of all chunks share.
    recipe: Recipe,
    map: RowMap,
    inputs: &'a BTreeMap<String, Artifact>,
    cut: BTreeMap<String, Cuttable>,
    rows: u64,
    /// The number of rows in a chunk.
    chunk_rows: u64,
    started: jiff::Timestamp,
    next: AtomicUsize,
    rows_done: AtomicU64,
    stopped: AtomicBool,
    state: Mutex<ChunkQueue>,
    /// Why a chunk couldn't be published, which whoever commits tells at any later time.
    refused: Arc<Mutex<Option<CacheError>>>,
}

impl<'a, 'p> Mapping<'a, 'p> {
    fn open(
        attempt: &'a Attempt<'a, 'p>,
        kind: &'a dyn Kind,
        config: &'a Value,
        map: RowMap,
        inputs: &'a BTreeMap<String, Artifact>,
        started: jiff::Timestamp,
    ) -> Result<Option<Self>, StageError> {
        let mut recipe = attempt.resolved.recipe.clone();
        recipe.inputs.retain(|name, _| map.broadcast.contains(&name.as_str()));
        let mut cut: BTreeMap<String, Cuttable> = BTreeMap::new();
        let quiet = |_: u64, _: u64, _: &str| {};
        let context = || attempt.context(attempt.staging, kind, inputs.clone(), &quiet, None);
        let row_bytes = || attempt.threads.install(|| kind.row_bytes(config, &context()));
        let (rows, row_bytes) = match map.rows {
            RowsFrom::Key(key) => {
                if let Value::Object(config) = &mut recipe.config {
                    config.remove(key);
                }
                let rows = config[key].as_u64().ok_or_else(|| {
                    StageError::new(format!("`{key}` counts rows and must be a whole number"))
                })?;
                (rows, row_bytes()?)
            }
            RowsFrom::Arrays(arrays) => {
                for (name, arrays) in arrays {
                    let Some(artifact) = inputs.get(*name) else { continue };
                    match Cuttable::open(artifact, arrays)? {
                        Some(cuttable) => _ = cut.insert((*name).to_owned(), cuttable),
                        None => return Ok(None),
                    }
                }
                let row_bytes = cut.values().map(Cuttable::row_bytes).max().unwrap_or(0);
                let mut stored = cut.values().map(|cut| (cut.rows(), cut.chunk_rows()));
                match stored.next() {
                    Some((rows, chunk_rows))
                        if chunk_rows == fitting(map.chunk_rows, row_bytes, rows)
                            && stored.all(|other| other == (rows, chunk_rows)) =>
                    {
                        (rows, row_bytes)
                    }
                    // The stage itself says best what is wrong with inputs that don't fit each other.
                    _ => return Ok(None),
                }
            }
            RowsFrom::Inputs(_) => {
                let rows = attempt.threads.install(|| kind.count_rows(config, &context()))?;
                (rows, row_bytes()?)
            }
        };
        Ok(Some(Self {
            attempt,
            kind,
            config,
            recipe,
            map,
            inputs,
            cut,
            rows,
            chunk_rows: fitting(map.chunk_rows, row_bytes, rows),
            started,
            next: AtomicUsize::new(0),
            rows_done: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            state: Mutex::default(),
            refused: Arc::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, ChunkQueue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> Option<CacheError> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn report(&self, more: u64) {
        let done = self.rows_done.fetch_add(more, Ordering::Relaxed) + more;
        (self.attempt.progress)(done, self.rows, self.map.unit);
    }

    /// Takes chunks until there are none, or one has failed.
    fn take_chunks(&self, chunks: &[Range<u64>]) {
        loop {
            let chunk = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(rows) = chunks.get(chunk) else { return };
            if self.stopped.load(Ordering::Relaxed) || self.attempt.interrupt.is_requested() {
                return;
            }
            let refused = self.refused().map_or(Ok(()), |error| Err(error.into()));
            if let Err(error) = refused.and_then(|()| self.chunk(chunk, rows.clone())) {
                self.stopped.store(true, Ordering::Relaxed);
                self.lock().failed.get_or_insert(error);
                return;
            }
            self.report(rows.end - rows.start);
        }
    }

    /// Finds the result of a chunk, or makes it.
    fn chunk(&self, chunk: usize, rows: Range<u64>) -> Result<(), StageError> {
        let Self { attempt, kind, .. } = *self;
        let count = rows.end - rows.start;
        let mut recipe = self.recipe.clone();
        recipe.part = Some(Part::Rows { first: rows.start, rows: count });
        let mut inputs: BTreeMap<String, Artifact> = self.inputs.clone();
        inputs.retain(|name, _| self.map.broadcast.contains(&name.as_str()));
        for (name, cuttable) in &self.cut {
            let part = cuttable.chunk(chunk as u64, count)?;
            recipe.inputs.insert(name.clone(), part.tree().digest());
            inputs.insert(name.clone(), part);
        }
        if let RowsFrom::Inputs(names) = self.map.rows {
            for name in names {
                if let Some(artifact) = self.inputs.get(*name) {
                    inputs.insert((*name).to_owned(), artifact.clone());
                }
            }
        }
        let quiet = |_: u64, _: u64, _: &str| {};
        let staging = Arc::new(Staging::new(attempt.cache)?);
        let mut context = attempt.context(&staging, kind, inputs, &quiet, Some(self.chunk_rows));
        context.rows = Some(rows.clone());
        if let RowsFrom::Inputs(names) = self.map.rows {
            let mut hasher = blake3::Hasher::new_derive_key("pipe 2026-11 rows v1");
            attempt
                .threads
                .install(|| kind.hash_rows(self.config, &context, rows.clone(), &mut hasher))?;
            let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
            for name in names.iter().filter(|name| self.inputs.contains_key(**name)) {
                recipe.inputs.insert((*name).to_owned(), digest);
            }
        }
        let fingerprint = recipe.fingerprint();
        if self.is_known(chunk, fingerprint)? {
            return Ok(());
        }
        let Some(lease) = self.lease(chunk, fingerprint)? else { return Ok(()) };
        let config = match self.map.rows {
            RowsFrom::Key(key) => {
                let mut config = self.config.clone();
                config[key] = json!(count);
                Cow::Owned(config)
            }
            RowsFrom::Arrays(_) | RowsFrom::Inputs(_) => Cow::Borrowed(self.config),
        };
        let began = Instant::now();
        attempt.threads.install(|| kind.run(&config, &context))?;
        let made = finish(context)?;
        let mut provenance = attempt.provenance(self.started, began.elapsed().as_secs_f64());
        provenance.notes.clone_from(&made.notes);
        let notes = made.notes.clone();
        let bundle = attempt.bundle(&staging, made, recipe, provenance, Some(lease));
        let done =
            Done { fingerprint, outputs: bundle.record.outputs.clone(), notes, known: false };
        let refused = Arc::clone(&self.refused);
        attempt.publisher.submit(
            bundle,
            || (),
            move |published| {
                if let Err(error) = published {
                    refused.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            },
        )?;
        self.lock().done.insert(chunk, done);
        Ok(())
    }

    /// Whether the cache has the result of a chunk; then it is done.
    fn is_known(&self, chunk: usize, fingerprint: Fingerprint) -> Result<bool, StageError> {
        match look_up(self.attempt.cache, self.attempt.node, fingerprint)? {
            Known::Complete(record) if self.is_sound(&record.outputs)? => {
                let notes = record.provenance.notes;
                let done = Done { fingerprint, outputs: record.outputs, notes, known: true };
                self.lock().done.insert(chunk, done);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Takes the lease of a chunk, waiting for another stage or process that makes the same. `None` if the chunk is done
    /// then.
    fn lease(&self, chunk: usize, fingerprint: Fingerprint) -> Result<Option<Lease>, StageError> {
        let Attempt { cache, interrupt, waits, .. } = *self.attempt;
        match wait_for_lease(cache, fingerprint, interrupt, waits) {
            // Whoever had it before may just have published.
            Ok(lease) => Ok((!self.is_known(chunk, fingerprint)?).then_some(lease)),
            Err(Vain::Cache(error)) => Err(error.into()),
            Err(Vain::Interrupted(interrupted)) => Err(interrupted.into()),
        }
    }

    /// Whether those files of a chunk that joining reads, rather than refers to, are what their names say.
    fn is_sound(&self, outputs: &BTreeMap<String, Digest>) -> Result<bool, StageError> {
        for digest in outputs.values() {
            let Ok(tree) = self.attempt.cache.tree(*digest)? else { return Ok(false) };
            for entry in tree.files().iter().filter(|entry| is_read(entry.path.as_str())) {
                match self.attempt.cache.check_blob(entry.blob, entry.size) {
                    Ok(()) => {}
                    Err(CacheError::Damaged(_)) => return Ok(false),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(true)
    }

    /// Puts the chunks together.
    fn join(self) -> Result<Unpublished, StageError> {
        let Self { attempt, kind, .. } = self;
        let done = std::mem::take(&mut self.lock().done);
        let quiet = |_: u64, _: u64, _: &str| {};
        let inputs = self.inputs.clone();
        let context = attempt.context(attempt.staging, kind, inputs, &quiet, Some(self.chunk_rows));
        for port in kind.outputs() {
            let parts = done
                .values()
                .map(|done| self.tree(&done.outputs, port.name))
                .collect::<Result<Vec<_>, _>>()?;
            let output = context.output(port.name)?;
            join(output, port.artifact.format, &parts, self.rows, attempt.cache)?;
        }
        attempt.threads.install(|| kind.finish(self.config, &context))?;
        let mut made = finish(context)?;
        for done in done.values() {
            made.notes.extend(done.notes.clone());
        }
        let known = done.values().filter(|done| done.known).count() as u64;
        let count = PartCount { all: done.len() as u64, known, unit: "chunks" };
        made.parts = Parts {
            fingerprints: done.into_values().map(|done| done.fingerprint).collect(),
            count: Some(count),
        };
        Ok(made)
    }

    fn tree(&self, outputs: &BTreeMap<String, Digest>, name: &str) -> Result<Tree, StageError> {
        let lost = || {
            let message = format!("output `{name}` of a chunk was lost while the run went on");
            StageError::new(format!("{message}; run again"))
        };
        let digest = outputs.get(name).ok_or_else(lost)?;
        self.attempt.cache.tree(*digest)?.map_err(|_| lost())
    }
}
