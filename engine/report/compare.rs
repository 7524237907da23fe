//! What differs between two runs, or two pipelines.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;

use super::numbers::{self, Numbers, holds_documents};
use crate::{
    base::digest::{Digest, Fingerprint},
    cache::{Cache, CacheError, Recipe, Record, RunFile},
    graph::{Input, Pipeline},
    plan::{
        change::{Change, changes, compare as compare_values},
        error::RunError,
        explain::{Trees, name_files},
        plan::plan_with,
        resolve::own_recipe,
    },
    stage::registry::Registry,
};

/// One of the two things that are compared: what each stage is made of, and what it made.
#[derive(Debug)]
pub struct Snapshot {
    stages: Vec<StageSnapshot>,
    /// The outputs whose documents are no longer in the cache.
    pub lost: Vec<String>,
}

#[derive(Debug)]
struct StageSnapshot {
    name: String,
    fingerprint: Option<Fingerprint>,
    /// None where the record is gone, or never came to be.
    recipe: Option<Recipe>,
    record: Option<Record>,
    /// The inputs whose content isn't known yet.
    open: BTreeSet<String>,
    /// Where each input comes from, in a pipeline.
    origins: Option<BTreeMap<String, String>>,
    outputs: BTreeMap<String, Digest>,
    numbers: Numbers,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The stages that only the second has.
    pub added: Vec<String>,
    /// The stages that only the first has.
    pub removed: Vec<String>,
    /// The stages that both have and that differ.
    pub changed: Vec<StageDifference>,
    /// The stages that are the same.
    pub same: Vec<String>,
}

/// What differs of a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageDifference {
    /// The stage.
    pub name: String,
    /// What it is made of. None where a record is gone or never came to be, so that nobody knows.
    pub changes: Option<Vec<Change>>,
    /// The outputs that differ.
    pub outputs: Vec<OutputDifference>,
    /// The numbers in its documents that differ.
    pub numbers: Vec<NumberDifference>,
}

/// An output that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputDifference {
    /// The output.
    pub name: String,
    /// Its content digest in the first, if it has one.
    pub old: Option<Digest>,
    /// Its content digest in the second, if it has one.
    pub new: Option<Digest>,
}

/// A number that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NumberDifference {
    /// Its key, as in [`Numbers`].
    pub key: String,
    /// The number in the first.
    pub old: Option<f64>,
    /// The number in the second.
    pub new: Option<f64>,
    /// The second less the first.
    pub difference: Option<f64>,
}

impl Snapshot {
    /// What a run used and made.
    ///
    /// # Errors
    /// When the cache can't be read.
    pub fn of_run(cache: &Cache, registry: &Registry, run: &RunFile) -> Result<Self, CacheError> {
        let mut snapshot = Self { stages: Vec::new(), lost: Vec::new() };
        for stage in &run.stages {
            let record = stage.fingerprint.map_or(Ok(None), |found| cache.record(found))?;
            let record = record.and_then(Result::ok);
            snapshot.stages.push(StageSnapshot {
                name: stage.name.clone(),
                fingerprint: stage.fingerprint,
                recipe: record.as_ref().map(|record| record.recipe.clone()),
                record,
                open: BTreeSet::new(),
                origins: None,
                outputs: stage.outputs.clone(),
                numbers: Numbers::new(),
            });
        }
        snapshot.read_numbers(cache, registry)?;
        Ok(snapshot)
    }

    /// What a pipeline declares, and what is known of its results.
    ///
    /// # Errors
    /// When the cache can't be read.
    pub fn of_pipeline(
        cache: Option<&Cache>,
        registry: &Registry,
        pipeline: &Pipeline,
    ) -> Result<Self, RunError> {
        let mut recipes = BTreeMap::new();
        let report = plan_with(pipeline, cache, &[], |stage, recipe| {
            recipes.insert(stage, recipe);
        })?;
        let mut snapshot = Self { stages: Vec::new(), lost: Vec::new() };
        for (&index, stage) in pipeline.order.iter().zip(report.stages) {
            let node = &pipeline.stages[index];
            let origin = |input: &Input| match input {
                Input::Output { stage, output } => {
                    format!("{}.{output}", pipeline.stages[*stage].name)
                }
                Input::Gathered { stage, output, .. } => format!("{stage}.{output}[*]"),
                Input::File { written, .. } => written.clone(),
            };
            let recipe = recipes.remove(&index).or_else(|| own_recipe(node).ok());
            let known = |name: &&String| {
                // What is gathered is there by its combinations.
                let gathered = format!("{name}[");
                recipe.as_ref().is_some_and(|recipe| {
                    let mut names = recipe.inputs.keys();
                    names.any(|other| other == *name || other.starts_with(&gathered))
                })
            };
            let record = match cache.zip(stage.fingerprint) {
                Some((cache, fingerprint)) => cache.record(fingerprint)?.and_then(Result::ok),
                None => None,
            };
            snapshot.stages.push(StageSnapshot {
                name: stage.name,
                fingerprint: stage.fingerprint,
                open: node.inputs.keys().filter(|name| !known(name)).cloned().collect(),
                recipe,
                record,
                origins: Some(
                    node.inputs.iter().map(|(name, input)| (name.clone(), origin(input))).collect(),
                ),
                outputs: stage.outputs,
                numbers: Numbers::new(),
            });
        }
        if let Some(cache) = cache {
            snapshot.read_numbers(cache, registry)?;
        }
        Ok(snapshot)
    }

    fn read_numbers(&mut self, cache: &Cache, registry: &Registry) -> Result<(), CacheError> {
        for stage in &mut self.stages {
            let kind = stage.recipe.as_ref().map(|recipe| recipe.kind.as_str());
            for (output, digest) in &stage.outputs {
                if !holds_documents(registry, kind, output) {
                    continue;
                }
                let name = format!("{}.{output}", stage.name);
                match numbers::read(cache, &name, *digest)? {
                    Some(found) => stage.numbers.extend(found),
                    None => self.lost.push(name),
                }
            }
        }
        Ok(())
    }
}

/// What differs between `old`, whose results lie in the first cache, and `new`, whose results lie in the second.
pub fn compare(
    (old, old_cache): (&Snapshot, Option<&Cache>),
    (new, new_cache): (&Snapshot, Option<&Cache>),
) -> Difference {
    let find = |snapshot: &'_ Snapshot, name: &str| {
        snapshot.stages.iter().position(|stage| stage.name == name)
    };
    let names = |of: &Snapshot, other: &Snapshot| -> Vec<String> {
        let only = of.stages.iter().filter(|stage| find(other, &stage.name).is_none());
        only.map(|stage| stage.name.clone()).collect()
    };
    let mut difference = Difference {
        added: names(new, old),
        removed: names(old, new),
        changed: Vec::new(),
        same: Vec::new(),
    };
    for after in &new.stages {
        let Some(place) = find(old, &after.name) else { continue };
        let before = &old.stages[place];
        let mut changes = recipe_changes(before, after);
        if let (Some(changes), Some((old_cache, before)), Some((new_cache, after))) = (
            &mut changes,
            old_cache.zip(before.record.as_ref()),
            new_cache.zip(after.record.as_ref()),
        ) {
            let old_trees = Trees::of_record(old_cache, before);
            let new_trees = Trees::of_record(new_cache, after);
            name_files(changes, &old_trees, &new_trees);
        }
        let stage = StageDifference {
            name: after.name.clone(),
            changes,
            outputs: output_differences(&before.outputs, &after.outputs),
            numbers: number_differences(&before.numbers, &after.numbers),
        };
        let same_recipe = stage.changes.as_ref().is_some_and(Vec::is_empty);
        if same_recipe && stage.outputs.is_empty() && stage.numbers.is_empty() {
            difference.same.push(stage.name);
        } else {
            difference.changed.push(stage);
        }
    }
    difference
}

/// What the stages are made of, and where a pipeline takes its inputs from. Inputs whose content isn't known on both
/// sides are left out.
fn recipe_changes(old: &StageSnapshot, new: &StageSnapshot) -> Option<Vec<Change>> {
    if old.fingerprint.is_some() && old.fingerprint == new.fingerprint && old.origins.is_none() {
        return Some(Vec::new());
    }
    let (mut before, mut after) = (old.recipe.clone()?, new.recipe.clone()?);
    for name in old.open.union(&new.open) {
        before.inputs.remove(name);
        after.inputs.remove(name);
    }
    let mut found = changes(&before, &after);
    if let (Some(before), Some(after)) = (&old.origins, &new.origins) {
        compare_values("inputs", Some(&json!(before)), Some(&json!(after)), &mut found);
    }
    Some(found)
}

fn output_differences(
    old: &BTreeMap<String, Digest>,
    new: &BTreeMap<String, Digest>,
) -> Vec<OutputDifference> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let pairs = names.into_iter().map(|name| OutputDifference {
        name: name.clone(),
        old: old.get(name).copied(),
        new: new.get(name).copied(),
    });
    pairs.filter(|output| output.old != output.new).collect()
}

fn number_differences(old: &Numbers, new: &Numbers) -> Vec<NumberDifference> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let pairs = keys.into_iter().map(|key| {
        let (old, new) = (old.get(key).copied(), new.get(key).copied());
        let difference = old.zip(new).map(|(old, new)| new - old);
        NumberDifference { key: key.clone(), old, new, difference }
    });
    pairs.filter(|number| number.old != number.new).collect()
}
