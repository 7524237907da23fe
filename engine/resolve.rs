//! From a stage and the content of its inputs to its recipe, and from its recipe to what the cache knows.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::{
    cache::{Cache, CacheError, Flaw, Memo, Recipe, Record},
    command,
    digest::{Digest, Fingerprint},
    pipeline::{Combination, Input, StageNode, Task},
    select,
    source::{Reading, Source, SourceError},
    stage::Exactness,
    tree::Tree,
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
        source: SourceError,
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
    pub(crate) sources: BTreeMap<String, Source>,
    /// The user's files that a command works with, by their paths.
    pub(crate) files: BTreeMap<String, Source>,
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
    memo: &Memo,
    reading: Reading,
    output: impl Fn(usize, &str) -> Digest,
) -> Result<Resolved, ResolveError> {
    let mut inputs = BTreeMap::new();
    let mut sources = BTreeMap::new();
    for (name, input) in &node.inputs {
        let digest = match input {
            Input::Output { stage, output: port } => output(*stage, port),
            Input::Gathered { members, output: port, .. } => {
                for member in members {
                    let name = member_name(name, &member.combination, port);
                    inputs.insert(name, output(member.stage, port));
                }
                continue;
            }
            Input::File { path, .. } => {
                let read = Source::read(path, memo, reading);
                let source =
                    read.map_err(|source| ResolveError::Input { input: name.clone(), source })?;
                let digest = source.tree.digest();
                sources.insert(name.clone(), source);
                digest
            }
        };
        inputs.insert(name.clone(), digest);
    }
    let (mut recipe, files) = own(node, memo, reading)?;
    recipe.inputs = inputs;
    let fingerprint = recipe.fingerprint();
    Ok(Resolved { recipe, fingerprint, sources, files })
}

/// The recipe of `node` as far as it says itself, without the contents of its inputs.
pub(crate) fn own_recipe(node: &StageNode) -> Result<Recipe, ResolveError> {
    own(node, &Memo::none(), Reading::Yes).map(|(recipe, _)| recipe)
}

/// The recipe without inputs, and the user's files that a command works with.
fn own(
    node: &StageNode,
    memo: &Memo,
    reading: Reading,
) -> Result<(Recipe, BTreeMap<String, Source>), ResolveError> {
    let mut files = BTreeMap::new();
    let (kind, revision, config) = match &node.task {
        Task::Kind { kind, config } => (kind.name(), kind.revision(), config.clone()),
        Task::Command(command) => {
            for file in &command.files {
                let read = Source::read(&file.path, memo, reading);
                let source = read.map_err(|source| ResolveError::Input {
                    input: file.written.clone(),
                    source,
                })?;
                files.insert(file.written.clone(), source);
            }
            (command::KIND, command::REVISION, command::canonical(command, &files))
        }
        Task::Select(choice) => {
            (select::KIND, select::REVISION, select::canonical(choice, &node.inputs))
        }
    };
    let kind = kind.to_owned();
    Ok((Recipe { kind, revision, config, inputs: BTreeMap::new(), part: None }, files))
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
    find(cache, node, fingerprint, &mut Vec::new())
}

/// Looks up the outputs of `node` under `fingerprint`, and checks that they are there, the shorter way if `memo` knows one.
pub(crate) fn look_up_outputs(
    cache: &Cache,
    memo: &Memo,
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
    // The fingerprint tells that a recipe is as it was written; nothing tells it of the names of outputs.
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
