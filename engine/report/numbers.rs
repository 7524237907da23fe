//! The numbers in the JSON documents among a run's outputs.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use crate::{
    artifact::format::Format,
    base::{
        digest::Digest,
        tree::{ArtifactPath, Entry, Tree},
    },
    cache::{Cache, CacheError, RunFile},
    graph::command::is_command,
    stage::registry::Registry,
};

/// Numbers by `STAGE.OUTPUT:KEY.KEY`; where an output has several documents, by `STAGE.OUTPUT/FILE:KEY.KEY`.
pub type Numbers = BTreeMap<String, f64>;

/// The largest document that is read, in bytes.
const LARGEST: u64 = 1 << 20;
/// The longest list whose items are counted as numbers of their own.
const LONGEST: usize = 16;

/// The numbers of a run, and the outputs that are no longer in the cache.
///
/// They are read from the outputs that are documents, and from any JSON that a command made, up to a megabyte a file.
/// Long lists are left out.
///
/// # Errors
/// When the cache can't be read.
pub fn numbers_of_run(
    cache: &Cache,
    registry: &Registry,
    run: &RunFile,
) -> Result<(Numbers, Vec<String>), CacheError> {
    let mut numbers = Numbers::new();
    let mut lost = Vec::new();
    for stage in &run.stages {
        let record = stage.fingerprint.map_or(Ok(None), |fingerprint| cache.record(fingerprint))?;
        let kind = match &record {
            Some(Ok(record)) => Some(record.recipe.kind.as_str()),
            _ => None,
        };
        for (output, digest) in &stage.outputs {
            if !holds_documents(registry, kind, output) {
                continue;
            }
            let name = format!("{}.{output}", stage.name);
            match read(cache, &name, *digest)? {
                Some(found) => numbers.extend(found),
                None => lost.push(name),
            }
        }
    }
    Ok((numbers, lost))
}

/// Whether an output is one whose documents count: a built-in kind says so, and of a program's outputs any may hold
/// some.
pub(crate) fn holds_documents(registry: &Registry, kind: Option<&str>, output: &str) -> bool {
    let Some(kind) = kind.filter(|kind| !is_command(kind)).and_then(|kind| registry.get(kind))
    else {
        return true;
    };
    let port = kind.outputs().iter().find(|port| port.name == output);
    port.is_some_and(|port| port.artifact.format == Format::Document)
}

/// The numbers in the artifact `digest`, called `name`. None if it isn't in the cache.
pub(crate) fn read(
    cache: &Cache,
    name: &str,
    digest: Digest,
) -> Result<Option<Numbers>, CacheError> {
    let Ok(tree) = cache.tree(digest)? else { return Ok(None) };
    let mut numbers = Numbers::new();
    let entries = documents(&tree);
    for entry in &entries {
        let bytes = match cache.read_blob(entry) {
            Ok(bytes) => bytes,
            Err(CacheError::Damaged(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        // What isn't JSON is no document.
        let Ok(document) = serde_json::from_slice::<Value>(&bytes) else { continue };
        let prefix = match entries.as_slice() {
            [_] => format!("{name}:"),
            _ => format!("{name}/{}:", entry.path),
        };
        flatten(&prefix, &document, &mut numbers);
    }
    Ok(Some(numbers))
}

/// The files that may be documents: those called so, and the file that an artifact is.
fn documents(tree: &Tree) -> Vec<&Entry> {
    let may_be = |entry: &&Entry| {
        let path = entry.path.as_str();
        let file = Path::new(path);
        // The metadata of arrays is JSON, too.
        let is_array = file.file_name().is_some_and(|name| name == "zarr.json");
        let named = file.extension().is_some_and(|ending| ending == "json") && !is_array;
        entry.size <= LARGEST && (named || path == ArtifactPath::ITSELF)
    };
    tree.files().iter().filter(may_be).collect()
}

fn flatten(key: &str, value: &Value, numbers: &mut Numbers) {
    let under = |part: &str| {
        let separator = if key.ends_with(':') { "" } else { "." };
        format!("{key}{separator}{part}")
    };
    match value {
        Value::Number(number) => {
            if let Some(number) = number.as_f64() {
                numbers.insert(key.trim_end_matches(':').to_owned(), number);
            }
        }
        Value::Object(object) => {
            for (part, value) in object {
                flatten(&under(part), value, numbers);
            }
        }
        Value::Array(items) if items.len() <= LONGEST => {
            for (i, value) in items.iter().enumerate() {
                flatten(&under(&i.to_string()), value, numbers);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leaves_are_named_by_their_keys_and_long_lists_left_out() {
        let document = json!({
            "f1": { "mean": 0.5, "note": "text" },
            "count": 3,
            "pair": [1, [2]],
            "long": vec![1; LONGEST + 1],
            "flag": true,
        });
        let mut numbers = Numbers::new();
        flatten("s.o:", &document, &mut numbers);
        flatten("s.single:", &json!(7), &mut numbers);
        let found: Vec<_> = numbers.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        assert_eq!(
            found,
            [
                ("s.o:count", 3.0),
                ("s.o:f1.mean", 0.5),
                ("s.o:pair.0", 1.0),
                ("s.o:pair.1.0", 2.0),
                ("s.single", 7.0),
            ]
        );
    }
}
