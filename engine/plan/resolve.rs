//! From a stage and the content of its inputs to its recipe, and from its recipe to what the cache knows.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use thiserror::Error;

use super::{choice_recipe, command_recipe};
use crate::{
    artifact::{
        input_error::InputFileError,
        input_file::{Detail, InputFile, Reading},
        input_files::InputFiles,
    },
    base::{
        digest::{Digest, Fingerprint},
        encoding::Json,
        exactness::Exactness,
        interrupt::Interrupt,
        tree::Tree,
    },
    cache::{self, Cache, CacheError, Flaw, Recipe, Record, StatCache},
    graph::{Combination, CommandFile, Input, StageNode, Task, command, select},
};

/// What goes wrong before a stage can be looked up.
#[derive(Debug, Error)]
pub(crate) enum ResolveError {
    /// A file of the user's can't be used.
    #[error("input `{input}`: {source}")]
    Input {
        /// The input, or the file that the stage declares.
        input: String,
        /// Why not.
        source: InputFileError,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// A stage whose inputs are all known.
pub(crate) struct Resolved {
    pub(crate) recipe: Recipe,
    pub(crate) fingerprint: Fingerprint,
    /// The user's files among the inputs, by the input's name.
    pub(crate) sources: BTreeMap<String, Arc<InputFile>>,
    /// The user's files that a command works with, by their paths.
    pub(crate) files: BTreeMap<String, Arc<InputFile>>,
}

/// What the cache knows of a fingerprint.
pub(crate) enum Known<T> {
    /// A record or its outputs, all of which are there.
    Complete(T),
    /// No record.
    Nothing,
    /// A record that can't be used.
    Broken(Flaw),
}

/// Makes the recipe of `node`; `output` gives the content digest of another stage's output.
pub(crate) fn resolve(
    node: &StageNode,
    known: &InputFiles,
    reading: Reading<'_>,
    output: impl Fn(usize, &str) -> Digest,
) -> Result<Resolved, ResolveError> {
    let Inputs { digests, sources } = Inputs::of(node, known, reading, output)?;
    let files = files(node, known, reading)?;
    let mut recipe = Own::of(node, &sources, &files).recipe();
    recipe.inputs = digests;
    let fingerprint = recipe.fingerprint();
    Ok(Resolved { recipe, fingerprint, sources, files })
}

/// The fingerprint of the recipe that [`resolve`] makes.
pub(crate) fn fingerprint(
    node: &StageNode,
    known: &InputFiles,
    reading: Reading<'_>,
    output: impl Fn(usize, &str) -> Digest,
) -> Result<Fingerprint, ResolveError> {
    let inputs = Inputs::of(node, known, reading, output)?;
    let files = files(node, known, reading)?;
    let Own { kind, revision, config } = Own::of(node, &inputs.sources, &files);
    Ok(cache::fingerprint(kind, revision, &config, &inputs.digests, None))
}

/// The recipe of `node` as far as it says itself, without the contents of its inputs.
pub(crate) fn own_recipe(node: &StageNode) -> Result<Recipe, ResolveError> {
    let files = files(node, &InputFiles::new(StatCache::none()), Reading::Yes(&Interrupt::new()))?;
    Ok(Own::of(node, &BTreeMap::new(), &files).recipe())
}

/// What a stage reads.
#[derive(Default)]
struct Inputs {
    /// The content digests, by the names in the recipe.
    digests: BTreeMap<String, Digest>,
    /// The user's files among them, by the names of the inputs.
    sources: BTreeMap<String, Arc<InputFile>>,
}

impl Inputs {
    fn of(
        node: &StageNode,
        known: &InputFiles,
        reading: Reading<'_>,
        output: impl Fn(usize, &str) -> Digest,
    ) -> Result<Self, ResolveError> {
        let mut inputs = Self::default();
        for (name, input) in &node.inputs {
            let digest = match input {
                Input::Output { stage, output: port } => output(*stage, port),
                Input::Gathered { members, output: port, .. } => {
                    for member in members {
                        let name = member_name(name, &member.combination, port);
                        inputs.digests.insert(name, output(member.stage, port));
                    }
                    continue;
                }
                Input::File { path, scope, .. } => {
                    let detail = match node.task {
                        Task::Command(_) => Detail::All,
                        Task::Kind { .. } | Task::Select(_) => Detail::Content,
                    };
                    let read = known.read(path, scope, detail, reading);
                    let source =
                        read.map_err(|source| ResolveError::Input { input: name.clone(), source })?;
                    let digest = source.tree.digest();
                    inputs.sources.insert(name.clone(), source);
                    digest
                }
            };
            inputs.digests.insert(name.clone(), digest);
        }
        Ok(inputs)
    }
}

/// The user's files that a command works with.
fn files(
    node: &StageNode,
    known: &InputFiles,
    reading: Reading<'_>,
) -> Result<BTreeMap<String, Arc<InputFile>>, ResolveError> {
    let Task::Command(command) = &node.task else { return Ok(BTreeMap::new()) };
    let read = |file: &CommandFile| {
        let read = known.read(&file.path, &file.scope, Detail::All, reading);
        let failed = |source| ResolveError::Input { input: file.written.clone(), source };
        Ok((file.written.clone(), read.map_err(failed)?))
    };
    command.files.iter().map(read).collect()
}

/// What a stage says itself of its recipe.
struct Own<'a> {
    kind: &'a str,
    revision: u32,
    config: Json<'a>,
}

impl<'a> Own<'a> {
    fn of(
        node: &'a StageNode,
        sources: &BTreeMap<String, Arc<InputFile>>,
        files: &'a BTreeMap<String, Arc<InputFile>>,
    ) -> Self {
        let (kind, revision, config) = match &node.task {
            Task::Kind { kind, config } => {
                (kind.name(), kind.revision(), Json::Value(Cow::Borrowed(config)))
            }
            Task::Command(command) => (
                command::KIND,
                command_recipe::REVISION,
                command_recipe::canonical(command, &node.inputs, sources, files),
            ),
            Task::Select(choice) => {
                let config = choice_recipe::canonical(choice, &node.inputs);
                (select::KIND, choice_recipe::REVISION, Json::Value(Cow::Owned(config)))
            }
        };
        Self { kind, revision, config }
    }

    fn recipe(self) -> Recipe {
        let Self { kind, revision, config } = self;
        let (kind, config) = (kind.to_owned(), config.into());
        Recipe { kind, revision, config, inputs: BTreeMap::new(), part: None }
    }
}

/// The name in a recipe of one of the outputs that the input `name` gathers. A file that is gathered keeps the name of its
/// output, so that counts too.
pub(crate) fn member_name(name: &str, combination: &Combination, output: &str) -> String {
    format!("{name}[{combination}].{output}")
}

/// The class of exactness of a stage. A command promises nothing more than that its first result will do.
pub(crate) fn exactness(node: &StageNode) -> Exactness {
    match &node.task {
        Task::Kind { kind, .. } => kind.exactness(),
        Task::Command(_) => Exactness::Reproducible,
        Task::Select(_) => Exactness::Exact,
    }
}

/// Looks up what `node`, or a part of it, made under `fingerprint`, and checks that everything that its record names is
/// there, and that it names every output.
pub(crate) fn look_up(
    cache: &Cache,
    node: &StageNode,
    fingerprint: Fingerprint,
) -> Result<Known<Box<Record>>, CacheError> {
    cache.uses(fingerprint);
    find(cache, node, fingerprint, &mut Vec::new())
}

/// Looks up the outputs of `node` under `fingerprint`, and checks that they are there, the shorter way if `memo` knows one.
pub(crate) fn look_up_outputs(
    cache: &Cache,
    memo: &StatCache,
    node: &StageNode,
    fingerprint: Fingerprint,
) -> Result<Known<BTreeMap<String, Digest>>, CacheError> {
    if let Some(outputs) = memo.result(cache, fingerprint) {
        return Ok(Known::Complete(outputs));
    }
    let mut trees = Vec::new();
    Ok(match find(cache, node, fingerprint, &mut trees)? {
        Known::Complete(record) => {
            memo.learn_result(cache, fingerprint, &record, &trees);
            Known::Complete(record.outputs)
        }
        Known::Nothing => Known::Nothing,
        Known::Broken(flaw) => Known::Broken(flaw),
    })
}

fn find(
    cache: &Cache,
    node: &StageNode,
    fingerprint: Fingerprint,
    trees: &mut Vec<Tree>,
) -> Result<Known<Box<Record>>, CacheError> {
    let record = match cache.record(fingerprint)? {
        None => return Ok(Known::Nothing),
        Some(Err(flaw)) => return Ok(Known::Broken(flaw)),
        Some(Ok(record)) => record,
    };
    // Another version of the kind may have made others, if nobody raised its revision.
    let outputs: BTreeSet<String> = node.outputs().into_iter().map(|(name, _)| name).collect();
    if !record.outputs.keys().eq(&outputs) {
        let flaw = "it has other outputs than the stage".to_owned();
        return Ok(Known::Broken(Flaw::RecordCorrupt(flaw)));
    }
    for digest in record.outputs.values() {
        match cache.complete_tree(*digest)? {
            Ok(tree) => trees.push(tree),
            Err(flaw) => return Ok(Known::Broken(flaw)),
        }
    }
    Ok(Known::Complete(Box::new(record)))
}
