//! Runs a row-mapped stage chunk by chunk: every chunk is looked up, or executed and published, for itself.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ops::Range,
    panic,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use serde_json::{Value, json};

use super::{
    attempt::{Attempt, Parts, Unpublished, finish},
    part_queue::{PartQueue, PartTurn, Share, Taken},
};
use crate::{
    artifact::{
        artifact::Artifact,
        rows::{Cuttable, chunks, fitting, is_read, join},
    },
    base::{
        digest::{Digest, Fingerprint},
        tree::Tree,
    },
    cache::{CacheError, Part, Recipe, Staging, wait::Wait},
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
    mapping.compute(Share::All)?;
    mapping.join().map(Some)
}

/// Makes those chunks that nobody else makes, while another process puts the stage together.
pub(crate) fn help_chunks(
    attempt: &Attempt<'_, '_>,
    kind: &dyn Kind,
    config: &Value,
    map: RowMap,
    inputs: &BTreeMap<String, Artifact>,
    started: jiff::Timestamp,
) -> Result<(), StageError> {
    match Mapping::open(attempt, kind, config, map, inputs, started)? {
        Some(mapping) if mapping.chunks.len() > 1 => mapping.compute(Share::Help),
        _ => Ok(()),
    }
}

/// A chunk whose result is in the cache.
struct Done {
    fingerprint: Fingerprint,
    outputs: BTreeMap<String, Digest>,
    notes: BTreeMap<String, String>,
    known: bool,
}

/// A chunk that is to be made, as far as that is known.
struct ChunkPlan {
    recipe: Recipe,
    fingerprint: Fingerprint,
    inputs: BTreeMap<String, Artifact>,
}

#[derive(Default)]
struct ChunkResults {
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
    /// The rows of each chunk.
    chunks: Vec<Range<u64>>,
    queue: PartQueue<ChunkPlan>,
    rows_done: AtomicU64,
    state: Mutex<ChunkResults>,
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
        let chunk_rows = fitting(map.chunk_rows, row_bytes, rows);
        let chunks = chunks(rows, chunk_rows);
        Ok(Some(Self {
            attempt,
            kind,
            config,
            recipe,
            map,
            inputs,
            cut,
            rows,
            chunk_rows,
            started,
            queue: PartQueue::new(chunks.len()),
            chunks,
            rows_done: AtomicU64::new(0),
            state: Mutex::default(),
            refused: Arc::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, ChunkResults> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> Option<CacheError> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn report(&self, more: u64) {
        let done = self.rows_done.fetch_add(more, Ordering::Relaxed) + more;
        (self.attempt.progress)(done, self.rows, self.map.unit);
    }

    /// Finds the results of all chunks, or makes them.
    fn compute(&self, share: Share) -> Result<(), StageError> {
        let Attempt { jobs, threads, publisher, interrupt, .. } = *self.attempt;
        self.report(0);
        let workers = jobs.min(threads.current_num_threads()).min(self.chunks.len());
        // The chunks are taken by threads of their own, which hand the work itself to the shared ones: so no more than a few
        // chunks are ever in memory, and a stage that is parallel within a chunk finds threads, too.
        let panicked = thread::scope(|scope| {
            let handles: Vec<_> = (0..workers)
                .map(|_| {
                    scope.spawn(|| self.queue.serve(interrupt, share, |taken| self.turn(taken)))
                })
                .collect();
            let ended = handles.into_iter().map(|handle| handle.join().err());
            // All are waited for, whether one panics or not.
            ended.fold(None, Option::or)
        });
        if let Some(panic) = panicked {
            panic::resume_unwind(panic);
        }
        if let Some(error) = self.lock().failed.take() {
            return Err(error);
        }
        interrupt.check()?;
        if self.chunks.len() > 1 {
            // What the cache doesn't take is told here, rather than of the whole.
            publisher.flush();
            if let Some(error) = self.refused() {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Takes a chunk's turn. After one has failed there are no more.
    fn turn(&self, taken: &mut Taken<ChunkPlan>) -> PartTurn<ChunkPlan> {
        let rows = &self.chunks[taken.part];
        let refused = self.refused().map_or(Ok(()), |error| Err(error.into()));
        match refused.and_then(|()| self.chunk(taken, rows.clone())) {
            Ok(PartTurn::Busy(plan)) => return PartTurn::Busy(plan),
            Ok(PartTurn::Ended) => self.report(rows.end - rows.start),
            Err(error) => {
                self.queue.stop();
                self.lock().failed.get_or_insert(error);
            }
        }
        PartTurn::Ended
    }

    /// What a chunk is made of.
    fn plan(&self, chunk: usize, rows: &Range<u64>) -> Result<ChunkPlan, StageError> {
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
            let quiet = |_: u64, _: u64, _: &str| {};
            let staging = Arc::new(Staging::new(attempt.cache)?);
            let mut context =
                attempt.context(&staging, kind, inputs.clone(), &quiet, Some(self.chunk_rows));
            context.rows = Some(rows.clone());
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
        Ok(ChunkPlan { recipe, fingerprint, inputs })
    }

    /// Finds the result of a chunk, or makes it.
    fn chunk(
        &self,
        taken: &mut Taken<ChunkPlan>,
        rows: Range<u64>,
    ) -> Result<PartTurn<ChunkPlan>, StageError> {
        let Self { attempt, kind, .. } = *self;
        let (chunk, count) = (taken.part, rows.end - rows.start);
        let plan = if let Some(plan) = taken.plan.take() {
            plan
        } else {
            let plan = self.plan(chunk, &rows)?;
            if self.is_known(chunk, plan.fingerprint)? {
                return Ok(PartTurn::Ended);
            }
            plan
        };
        let tells = taken.tells;
        let tell = |wait: Wait<'_>| {
            if tells {
                (attempt.waits)(wait);
            }
        };
        let Some(lease) = taken.waiting.look(attempt.cache, plan.fingerprint, tell)? else {
            return Ok(PartTurn::Busy(plan));
        };
        // Whoever had it before may just have published.
        if self.is_known(chunk, plan.fingerprint)? {
            return Ok(PartTurn::Ended);
        }
        let ChunkPlan { recipe, fingerprint, inputs } = plan;
        let quiet = |_: u64, _: u64, _: &str| {};
        let staging = Arc::new(Staging::new(attempt.cache)?);
        let mut context = attempt.context(&staging, kind, inputs, &quiet, Some(self.chunk_rows));
        context.rows = Some(rows);
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
        // What the user's files were when they were hashed must be what the chunk has read: it is published for itself.
        for source in attempt.resolved.sources.values() {
            source.check_unchanged()?;
        }
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
        Ok(PartTurn::Ended)
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
