//! `kind: select`: takes the best of a matrix's combinations, as it is.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::{
    artifact::artifact::{Artifact, ArtifactError},
    base::tree::{ArtifactPath, Tree},
    cache::{CacheError, Staged, Staging},
    graph::{CANDIDATES, Combination, Goal, Input, METRICS, Member, Select},
    plan::choice_recipe::members,
};

/// The file of the output `choice`.
const CHOICE_FILE: &str = "choice.json";

/// What keeps a choice from being made.
#[derive(Debug, Error)]
pub(crate) enum SelectError {
    /// There is no document, or none that is named.
    #[error("the metrics of `{combination}` have no file `{file}`; they have {}", list(.known))]
    NoFile { combination: String, file: String, known: Vec<String> },
    /// It isn't clear which document is meant.
    #[error(
        "the metrics of `{combination}` are no single JSON document but {}: name one with `file: NAME`",
        list(.known)
    )]
    Unclear { combination: String, known: Vec<String> },
    /// The document lacks the metric.
    #[error("the metrics of `{combination}` have no `{metric}`{}", keys(.known))]
    Missing { combination: String, metric: String, known: Vec<String> },
    /// The metric is no number.
    #[error(
        "`{metric}` of `{combination}` is {found}, and only numbers can be compared: drop the combination from the \
         matrix, or choose by another metric"
    )]
    NotANumber { combination: String, metric: String, found: String },
    /// A document can't be read.
    #[error("the metrics of `{combination}`")]
    Read { combination: String, source: ArtifactError },
    /// The choice can't be written.
    #[error(transparent)]
    Write(#[from] CacheError),
}

fn list(names: &[String]) -> String {
    match names {
        [] => "no files".to_owned(),
        names => names.join(", "),
    }
}

fn keys(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("; the keys there are {}", names.join(", ")),
    }
}

/// What the choice was.
#[derive(Serialize)]
struct Choice<'a> {
    metric: &'a str,
    goal: &'static str,
    best: &'a Row<'a>,
    table: &'a [Row<'a>],
}

#[derive(Serialize)]
struct Row<'a> {
    combination: String,
    values: BTreeMap<&'a str, &'a Value>,
    metric: &'a Value,
}

/// What a choice made.
type Chosen = BTreeMap<String, (Tree, Vec<Staged>)>;

/// Chooses. `artifact` gives the artifact of a member of an input.
pub(crate) fn choose<E: From<SelectError>>(
    select: &Select,
    inputs: &BTreeMap<String, Input>,
    artifact: impl Fn(&str, &Member) -> Result<Artifact, E>,
    staging: &Staging,
) -> Result<Chosen, E> {
    let candidates = members(inputs);
    let Some(Input::Gathered { members: metrics, .. }) = inputs.get(METRICS) else {
        unreachable!("a choice without metrics is refused when the pipeline is read")
    };
    let mut found: Vec<(Value, f64)> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let of = |member: &&Member| member.combination.is(&candidate.combination);
        let Some(member) = metrics.iter().find(of) else {
            unreachable!("candidates without metrics are refused when the pipeline is read")
        };
        found.push(metric(select, &candidate.combination, &artifact(METRICS, member)?)?);
    }
    let mut best = 0;
    for (i, (_, value)) in found.iter().enumerate() {
        let better = match select.goal {
            Goal::Max => *value > found[best].1,
            Goal::Min => *value < found[best].1,
        };
        if better {
            best = i;
        }
    }
    let table: Vec<Row<'_>> = candidates
        .iter()
        .zip(&found)
        .map(|(candidate, (metric, _))| {
            let values = candidate.combination.values.iter();
            let values = values.map(|(axis, value)| (axis.as_str(), value)).collect();
            Row { combination: candidate.combination.to_string(), values, metric }
        })
        .collect();
    let choice = Choice {
        metric: &select.metric,
        goal: select.goal.word(),
        best: &table[best],
        table: &table,
    };
    let mut json = serde_json::to_vec_pretty(&choice)
        .unwrap_or_else(|_| unreachable!("a choice has text keys only"));
    json.push(b'\n');
    let staged = staging.write(&json).map_err(SelectError::from)?;
    let path = ArtifactPath::new(CHOICE_FILE)
        .unwrap_or_else(|_| unreachable!("the name is a path of an artifact"));
    let tree = Tree::new(vec![crate::base::tree::Entry::plain(path, staged.blob, staged.size)])
        .unwrap_or_else(|_| unreachable!("one file stands alone"));
    let chosen = artifact(CANDIDATES, &candidates[best])?;
    Ok(BTreeMap::from([
        // Its blobs are in the cache already.
        ("best".to_owned(), (Tree::clone(chosen.tree()), Vec::new())),
        ("choice".to_owned(), (tree, vec![staged])),
    ]))
}

fn only<'p>(paths: &[&'p str]) -> Option<&'p str> {
    match paths {
        [only] => Some(only),
        _ => None,
    }
}

/// The metric of one combination, as it stands in its document and as a number.
fn metric(
    select: &Select,
    combination: &Combination,
    metrics: &Artifact,
) -> Result<(Value, f64), SelectError> {
    let name = || combination.to_string();
    let paths: Vec<&str> = metrics.tree().files().iter().map(|entry| entry.path.as_str()).collect();
    let known = || paths.iter().map(|path| (*path).to_owned()).collect();
    let is_document = |path: &&&str| {
        std::path::Path::new(path).extension().is_some_and(|ending| ending == "json")
    };
    let path = match &select.file {
        Some(file) if paths.contains(&file.as_str()) => file.as_str(),
        Some(file) => {
            let file = file.clone();
            return Err(SelectError::NoFile { combination: name(), file, known: known() });
        }
        None => {
            let documents: Vec<&str> = paths.iter().filter(is_document).copied().collect();
            only(&paths)
                .or_else(|| only(&documents))
                .ok_or_else(|| SelectError::Unclear { combination: name(), known: known() })?
        }
    };
    let document: Value = metrics
        .document(path)
        .map_err(|source| SelectError::Read { combination: name(), source })?;
    let mut value = &document;
    for key in select.metric.split('.') {
        let next = match value {
            Value::Object(map) => map.get(key),
            Value::Array(items) => key.parse().ok().and_then(|i: usize| items.get(i)),
            _ => None,
        };
        let Some(next) = next else {
            let known = match value {
                Value::Object(map) => map.keys().cloned().collect(),
                _ => Vec::new(),
            };
            let metric = select.metric.clone();
            return Err(SelectError::Missing { combination: name(), metric, known });
        };
        value = next;
    }
    match value.as_f64() {
        Some(number) if !number.is_nan() => Ok((value.clone(), number)),
        _ => {
            let found = match value {
                // JSON has no other way to write it.
                Value::Null => "null (not a number)".to_owned(),
                Value::Object(_) => "a mapping".to_owned(),
                Value::Array(_) => "a list".to_owned(),
                other => format!("`{other}`"),
            };
            let metric = select.metric.clone();
            Err(SelectError::NotANumber { combination: name(), metric, found })
        }
    }
}
