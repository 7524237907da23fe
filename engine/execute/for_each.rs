//! Runs a command for each item of an input: every item is looked up, or executed and published, for itself.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    fs, panic,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use thiserror::Error;

use super::{
    attempt::{Attempt, Failed, Parts, Unpublished},
    command::{self, Log},
    item::Item,
    item::PlacedItem,
    part_queue::{PartQueue, PartTurn, Share, Taken},
    sandbox::Furniture,
};
use crate::{
    artifact::{artifact::Artifact, input_file::InputFile},
    base::{
        digest::{Digest, Fingerprint},
        regular,
        tree::{BadPath, Listing, Tree, TreeError},
    },
    cache::{CacheError, Part, Recipe, wait::Wait},
    graph::{Command, ForEach, Piece, Run, Task, Template},
    plan::{
        resolve::{Known, look_up},
        run_report::{Failure, PartCount},
    },
};

/// A log that is larger isn't put together with the others.
const LARGEST_LOG: u64 = 64 << 20;
/// How many results wait to be published at most: each keeps the file of its lease open.
const WAITING: usize = 128;

/// What goes wrong with the items as a whole.
#[derive(Debug, Error)]
enum EachError {
    /// A placeholder names nothing of the item.
    #[error("`{{item.{word}}}` is nothing that the items of `{input}` have: they have {}", .known.join(", "))]
    NoWord { input: String, word: String, known: Vec<String> },
    /// A path is not allowed.
    #[error("what is made of `{item}` can't stand in output `{output}`")]
    Path { item: String, output: String, source: BadPath },
    /// Two items make the same file.
    #[error(
        "`{one}` and `{other}` both make `{path}` of output `{output}`: put more of the item into its path, such as \
         `{{item}}`"
    )]
    Collision { one: String, other: String, output: String, path: String },
    /// The outputs of items can't stand together.
    #[error("what is made of the items can't stand together in output `{output}`")]
    Union { output: String, source: TreeError },
    /// What was published is gone.
    #[error("what was made of `{0}` was lost while the run went on; run again")]
    Lost(String),
}

/// Runs the command of the stage for each item of an input.
pub(crate) fn run_items(
    attempt: &Attempt<'_, '_>,
    each: &ForEach,
    inputs: &BTreeMap<String, Artifact>,
    started: jiff::Timestamp,
) -> Result<Unpublished, Failed> {
    let Task::Command(command) = &attempt.node.task else {
        unreachable!("only commands run for each item")
    };
    let source = attempt.resolved.sources.get(&each.input).map(Arc::as_ref);
    let items = Item::all(&inputs[&each.input], source)?;
    let running = Running::prepare(attempt, command, each, inputs, &items, started)?;
    running.compute(Share::All)?;
    running.join()
}

/// Runs the command for those items that nobody else runs it for, while another process puts the stage together.
pub(crate) fn help_items(
    attempt: &Attempt<'_, '_>,
    each: &ForEach,
    inputs: &BTreeMap<String, Artifact>,
    started: jiff::Timestamp,
) -> Result<(), Failed> {
    let Task::Command(command) = &attempt.node.task else {
        unreachable!("only commands run for each item")
    };
    let source = attempt.resolved.sources.get(&each.input).map(Arc::as_ref);
    let items = Item::all(&inputs[&each.input], source)?;
    Running::prepare(attempt, command, each, inputs, &items, started)?.compute(Share::Help)
}

/// The work that items of equal recipes share.
struct Job {
    fingerprint: Fingerprint,
    recipe: Recipe,
    /// The first of the items.
    item: usize,
}

/// An item whose result is in the cache.
struct Done {
    outputs: BTreeMap<String, Digest>,
    log: Option<Digest>,
    known: bool,
}

#[derive(Default)]
struct ItemQueue {
    done: BTreeMap<usize, Done>,
    /// What failed, by the number of the item.
    failed: BTreeMap<usize, Failed>,
}

struct Running<'a, 'p> {
    attempt: &'a Attempt<'a, 'p>,
    command: &'a Command,
    each: &'a ForEach,
    inputs: &'a BTreeMap<String, Artifact>,
    items: &'a [Item],
    /// Where what is made of each item stands, by the name of the output.
    paths: Vec<BTreeMap<&'a str, String>>,
    jobs: Vec<Job>,
    /// The job of each item.
    job_of: Vec<usize>,
    started: jiff::Timestamp,
    queue: PartQueue<()>,
    ended: AtomicU64,
    state: Mutex<ItemQueue>,
    publication: Arc<Publication>,
}

/// How the publication of items goes, which whoever commits tells at any later time.
#[derive(Default)]
struct Publication {
    waiting: AtomicUsize,
    refused: Mutex<Option<CacheError>>,
}

impl<'a, 'p> Running<'a, 'p> {
    fn prepare(
        attempt: &'a Attempt<'a, 'p>,
        command: &'a Command,
        each: &'a ForEach,
        inputs: &'a BTreeMap<String, Artifact>,
        items: &'a [Item],
        started: jiff::Timestamp,
    ) -> Result<Self, EachError> {
        if let Some(first) = items.first() {
            check_words(command, each, first)?;
        }
        let paths = items
            .iter()
            .map(|item| item_paths(command, each, item))
            .collect::<Result<Vec<_>, _>>()?;
        for output in &command.outputs {
            let mut seen = HashMap::with_capacity(items.len());
            for (item, paths) in items.iter().zip(&paths) {
                let path = paths[output.as_str()].as_str();
                if let Some(one) = seen.insert(path, &item.name) {
                    return Err(EachError::Collision {
                        one: one.clone(),
                        other: item.name.clone(),
                        output: output.clone(),
                        path: path.to_owned(),
                    });
                }
            }
        }
        let mut shared = attempt.resolved.recipe.clone();
        let gathered = format!("{}[", each.input);
        shared.inputs.retain(|name, _| *name != each.input && !name.starts_with(&gathered));
        let numbered = uses_number(command, each);
        let (mut jobs, mut job_of) = (Vec::<Job>::new(), Vec::with_capacity(items.len()));
        let mut known = HashMap::with_capacity(items.len());
        for (number, item) in items.iter().enumerate() {
            let mut recipe = shared.clone();
            recipe.inputs.insert(each.input.clone(), item.digest());
            // A row is what it holds, wherever in the table it stands.
            let name = if item.has_own_name() || numbered { item.name.as_str() } else { "" };
            recipe.part = Some(Part::Entry(name.to_owned()));
            let fingerprint = recipe.fingerprint();
            let job = *known.entry(fingerprint).or_insert_with(|| {
                jobs.push(Job { fingerprint, recipe, item: number });
                jobs.len() - 1
            });
            job_of.push(job);
        }
        let queue = PartQueue::new(jobs.len());
        Ok(Self {
            attempt,
            command,
            each,
            inputs,
            items,
            paths,
            jobs,
            job_of,
            started,
            queue,
            ended: AtomicU64::new(0),
            state: Mutex::default(),
            publication: Arc::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, ItemQueue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the cache didn't take what was made, if it didn't.
    fn refused(&self) -> Option<CacheError> {
        self.publication.refused.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn report(&self, more: u64) {
        let done = self.ended.fetch_add(more, Ordering::Relaxed) + more;
        (self.attempt.progress)(done, self.jobs.len() as u64, "items");
    }

    /// Finds the results of all items, or makes them.
    fn compute(&self, share: Share) -> Result<(), Failed> {
        let Attempt { jobs, publisher, interrupt, .. } = *self.attempt;
        self.report(0);
        let workers = jobs.min(self.jobs.len());
        let panicked = thread::scope(|scope| {
            let workers: Vec<_> = (0..workers)
                .map(|_| {
                    scope.spawn(|| self.queue.serve(interrupt, share, |taken| self.turn(taken)))
                })
                .collect();
            let ended = workers.into_iter().map(|worker| worker.join().err());
            // All are waited for, whether one panics or not.
            ended.fold(None, Option::or)
        });
        // What was made is kept, however the rest ended.
        publisher.flush();
        if let Some(panic) = panicked {
            panic::resume_unwind(panic);
        }
        if let Some(error) = self.refused() {
            return Err(error.into());
        }
        if let Some(failed) = self.failure() {
            return Err(failed);
        }
        Ok(interrupt.check()?)
    }

    /// Takes an item's turn.
    fn turn(&self, taken: &mut Taken<()>) -> PartTurn<()> {
        let job = &self.jobs[taken.part];
        match self.item(taken, job) {
            Ok(PartTurn::Busy(())) => return PartTurn::Busy(()),
            Ok(PartTurn::Ended) => {}
            Err(failed) => {
                // What fails for reasons of the system fails for all.
                let all = failed.failure.system || failed.interrupted;
                self.lock().failed.entry(job.item).or_insert(failed);
                if all || !self.attempt.keep_going {
                    self.queue.stop();
                    return PartTurn::Ended;
                }
            }
        }
        self.report(1);
        PartTurn::Ended
    }

    /// Whether the result of a job is in the cache.
    fn is_known(&self, number: usize, job: &Job) -> Result<bool, Failed> {
        match look_up(self.attempt.cache, self.attempt.node, job.fingerprint)? {
            Known::Complete(record) => {
                let log = record.log.map(|(log, _)| log);
                let done = Done { outputs: record.outputs, log, known: true };
                self.lock().done.insert(number, done);
                Ok(true)
            }
            Known::Nothing => Ok(false),
            Known::Broken(_) => {
                self.attempt.cache.quarantine_record(job.fingerprint)?;
                Ok(false)
            }
        }
    }

    /// Finds the result of an item, or makes it.
    fn item(&self, taken: &mut Taken<()>, job: &Job) -> Result<PartTurn<()>, Failed> {
        let number = taken.part;
        if taken.plan.is_none() && self.is_known(number, job)? {
            return Ok(PartTurn::Ended);
        }
        let Attempt { cache, waits, .. } = *self.attempt;
        let tells = taken.tells;
        let tell = |wait: Wait<'_>| {
            if tells {
                waits(wait);
            }
        };
        let Some(lease) = taken.waiting.look(cache, job.fingerprint, tell)? else {
            return Ok(PartTurn::Busy(()));
        };
        // Someone else may have made it just before.
        if self.is_known(number, job)? {
            return Ok(PartTurn::Ended);
        }
        let Self { attempt, command, each, .. } = *self;
        let began = Instant::now();
        let item = &self.items[job.item];
        let row = Row(attempt.staging.fresh());
        let mut inputs = self.inputs.clone();
        inputs.insert(each.input.clone(), item.artifact(&each.input, &row.0)?);
        let placed = PlacedItem { item, paths: self.paths[job.item].clone() };
        let resolved = attempt.resolved;
        let files = &resolved.files;
        let common = resolved.sources.iter().filter(|(name, _)| **name != each.input);
        let sources = common.map(|(_, source)| source).chain(files.values());
        let sources: Vec<&InputFile> = sources.map(Arc::as_ref).chain(item.source()).collect();
        let furniture = Furniture {
            command,
            item: Some(&placed),
            inputs: &inputs,
            files,
            sources: &sources,
            cache: attempt.cache,
        };
        let made = attempt.run_command(furniture, attempt.staging, job.fingerprint)?;
        let provenance = attempt.provenance(self.started, began.elapsed().as_secs_f64());
        let made =
            Unpublished { outputs: made.outputs, log: Some(made.log), ..Unpublished::default() };
        let recipe = job.recipe.clone();
        let bundle = attempt.bundle(attempt.staging, made, recipe, provenance, Some(lease));
        let log = bundle.record.log.map(|(log, _)| log);
        let done = Done { outputs: bundle.record.outputs.clone(), log, known: false };
        if self.publication.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            attempt.publisher.flush();
        }
        let publication = Arc::clone(&self.publication);
        attempt.publisher.submit(
            bundle,
            || (),
            move |published| {
                publication.waiting.fetch_sub(1, Ordering::Relaxed);
                if let Err(error) = published {
                    let refused = publication.refused.lock();
                    refused.unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            },
        )?;
        self.lock().done.insert(number, done);
        Ok(PartTurn::Ended)
    }

    /// Why the stage as a whole failed, if it did.
    fn failure(&self) -> Option<Failed> {
        const MOST: usize = 5;
        let mut failed = std::mem::take(&mut self.lock().failed);
        let interrupted = failed.values().all(|failed| failed.interrupted);
        failed.retain(|_, failed| interrupted || !failed.interrupted);
        let name = |item: &usize| format!("`{}`", self.items[*item].name);
        let named: Vec<String> = failed.keys().take(MOST).map(name).collect();
        let count = failed.len();
        let (_, first) = failed.pop_first()?;
        let message = first.failure.message.clone();
        let of = self.items.len();
        let message = match named.as_slice() {
            [only] if count == 1 => format!("for {only}: {message}"),
            [one, ..] => {
                let more = if count > MOST { ", …" } else { "" };
                let all = named.join(", ");
                format!("{count} of {of} items failed: {all}{more}; for {one}: {message}")
            }
            [] => message,
        };
        Some(Failed { failure: Failure { message, ..first.failure }, interrupted })
    }

    /// Puts what was made of the items together.
    fn join(self) -> Result<Unpublished, Failed> {
        let Self { attempt, command, items, .. } = self;
        let done = std::mem::take(&mut self.lock().done);
        let lost = |item: &Item| EachError::Lost(item.name.clone());
        let mut made = Unpublished::default();
        for output in &command.outputs {
            let mut listing = Listing::default();
            let mut owners = HashMap::new();
            for (number, item) in items.iter().enumerate() {
                let base = &self.paths[number][output.as_str()];
                let digest = done
                    .get(&self.job_of[number])
                    .and_then(|done| done.outputs.get(output))
                    .ok_or_else(|| lost(item))?;
                let tree = attempt.cache.tree(*digest)?.map_err(|_| lost(item))?;
                let under = tree.under(base).map_err(|source| EachError::Path {
                    item: item.name.clone(),
                    output: output.clone(),
                    source,
                })?;
                // What several make of one folder stands in it together.
                let files = under.files.iter().map(|item| &item.path);
                for path in files.chain(under.links.iter().map(|link| &link.path)) {
                    if let Some(one) = owners.insert(path.clone(), &item.name) {
                        return Err(EachError::Collision {
                            one: one.clone(),
                            other: item.name.clone(),
                            output: output.clone(),
                            path: path.to_string(),
                        }
                        .into());
                    }
                }
                listing.append(under);
            }
            let tree = Tree::of(listing)
                .map_err(|source| EachError::Union { output: output.clone(), source })?;
            made.outputs.insert(output.clone(), (tree, Vec::new()));
        }
        let mut log = String::new();
        for (number, item) in items.iter().enumerate() {
            let blob = done.get(&self.job_of[number]).and_then(|done| done.log);
            // What was printed is for people: if it is gone, so be it.
            let path = blob.map(|blob| attempt.cache.blob_path(blob));
            let printed = path.and_then(|path| regular::read(&path, LARGEST_LOG).ok());
            let printed = printed.unwrap_or_default();
            if !printed.is_empty() {
                let text = String::from_utf8_lossy(&printed);
                let _ = writeln!(log, "==> {} <==\n{}", item.name, text.trim_end());
            }
        }
        made.log = Some(Log::Staged(attempt.staging.write(log.as_bytes())?));
        let known = done.values().filter(|done| done.known).count() as u64;
        made.parts = Parts {
            fingerprints: self.jobs.iter().map(|job| job.fingerprint).collect(),
            count: Some(PartCount { all: self.jobs.len() as u64, known, unit: "items" }),
        };
        Ok(made)
    }
}

/// A folder of an item's own, which goes when the item is done.
struct Row(PathBuf);

impl Drop for Row {
    fn drop(&mut self) {
        // It may never have been made; what can't be removed goes with the staging folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The templates of a command in which an item may stand.
fn templates<'a>(command: &'a Command, each: &'a ForEach) -> impl Iterator<Item = &'a Template> {
    let run = match &command.run {
        Run::Words(words) => words.as_slice(),
        Run::Shell { script, .. } => std::slice::from_ref(script),
    };
    run.iter().chain(each.paths.values())
}

/// Whether the number of a row is anywhere in what a command sees.
fn uses_number(command: &Command, each: &ForEach) -> bool {
    templates(command, each).any(|template| template.pieces().contains(&Piece::Item(None)))
}

/// Checks that the items have all that placeholders ask for.
fn check_words(command: &Command, each: &ForEach, item: &Item) -> Result<(), EachError> {
    for piece in templates(command, each).flat_map(Template::pieces) {
        if let Piece::Item(Some(word)) = piece
            && item.value(Some(word)).is_none()
        {
            let (input, word) = (each.input.clone(), word.clone());
            return Err(EachError::NoWord { input, word, known: item.words() });
        }
    }
    Ok(())
}

/// Where what is made of `item` stands, by the name of the output.
fn item_paths<'a>(
    command: &Command,
    each: &'a ForEach,
    item: &Item,
) -> Result<BTreeMap<&'a str, String>, EachError> {
    let mut paths = BTreeMap::new();
    for (output, template) in &each.paths {
        let mut path = String::new();
        for piece in template.pieces() {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Config(keys) => path.push_str(&command::config_value(command, keys)),
                Piece::Item(word) => {
                    path.push_str(&item.value(word.as_deref()).unwrap_or_default());
                }
                Piece::Input(_) | Piece::Output(_) => {
                    unreachable!("refused when the pipeline is read")
                }
            }
        }
        let bad =
            |source| EachError::Path { item: item.name.clone(), output: output.clone(), source };
        let path = crate::base::artifact_path::ArtifactPath::new(path).map_err(bad)?;
        paths.insert(output.as_str(), path.to_string());
    }
    Ok(paths)
}
