//! Why a result isn't the one that was there before.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;
use serde_json::Value;

use crate::{
    cache::{Cache, Recipe},
    digest::Fingerprint,
    resolve::Resolved,
};

/// One difference between two recipes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum Change {
    /// The stage is of another kind.
    Kind {
        /// The kind before.
        old: String,
        /// The kind now.
        new: String,
    },
    /// The kind's code has another revision.
    Revision {
        /// The revision before.
        old: u32,
        /// The revision now.
        new: u32,
    },
    /// A key of the config has another value.
    Config {
        /// The key, with dots between its parts.
        key: String,
        /// The value before, if there was one.
        old: Option<Value>,
        /// The value now, if there is one.
        new: Option<Value>,
    },
    /// An input has other content.
    Input {
        /// The input's name.
        name: String,
    },
    /// An input is new.
    InputAdded {
        /// The input's name.
        name: String,
    },
    /// An input is no more.
    InputRemoved {
        /// The input's name.
        name: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { old, new } => write!(f, "kind {old} → {new}"),
            Self::Revision { old, new } => write!(f, "revision {old} → {new}"),
            Self::Config { key, old, new } => match (old, new) {
                (Some(old), Some(new)) => write!(f, "{key} {} → {}", brief(old), brief(new)),
                (None, Some(new)) => write!(f, "{key} added: {}", brief(new)),
                (_, None) => write!(f, "{key} removed"),
            },
            Self::Input { name } => write!(f, "input {name} changed"),
            Self::InputAdded { name } => write!(f, "input {name} added"),
            Self::InputRemoved { name } => write!(f, "input {name} removed"),
        }
    }
}

/// A value in few characters.
fn brief(value: &Value) -> String {
    const LONGEST: usize = 48;
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// What differs between two recipes, in a fixed order.
pub fn changes(old: &Recipe, new: &Recipe) -> Vec<Change> {
    if old.kind != new.kind {
        return vec![Change::Kind { old: old.kind.clone(), new: new.kind.clone() }];
    }
    let mut changes = Vec::new();
    if old.revision != new.revision {
        changes.push(Change::Revision { old: old.revision, new: new.revision });
    }
    compare("", Some(&old.config), Some(&new.config), &mut changes);
    let names: BTreeSet<_> = old.inputs.keys().chain(new.inputs.keys()).collect();
    for name in names {
        let name = name.clone();
        match (old.inputs.get(&name), new.inputs.get(&name)) {
            (Some(old), Some(new)) if old == new => {}
            (Some(_), Some(_)) => changes.push(Change::Input { name }),
            (None, _) => changes.push(Change::InputAdded { name }),
            (_, None) => changes.push(Change::InputRemoved { name }),
        }
    }
    changes
}

fn compare(key: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    if old == new {
        return;
    }
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (old, new) {
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for part in keys {
            let key = if key.is_empty() { part.clone() } else { format!("{key}.{part}") };
            compare(&key, old.get(part), new.get(part), changes);
        }
        return;
    }
    changes.push(Change::Config { key: key.to_owned(), old: old.cloned(), new: new.cloned() });
}

/// The changes as one line.
pub fn sentence(changes: &[Change]) -> String {
    const MOST: usize = 4;
    let mut parts: Vec<_> = changes.iter().take(MOST).map(ToString::to_string).collect();
    if changes.len() > MOST {
        parts.push(format!("{} more changes", changes.len() - MOST));
    }
    parts.join("; ")
}

/// Why a stage is reused.
pub(crate) fn why_reused(
    last: &BTreeMap<String, Fingerprint>,
    name: &str,
    fingerprint: Fingerprint,
) -> String {
    match last.get(name) {
        Some(last) if *last == fingerprint => "nothing changed".to_owned(),
        _ => "the result is known".to_owned(),
    }
}

/// Why a stage isn't reused: what differs from its last recipe.
pub(crate) fn why_executed(
    cache: Option<&Cache>,
    last: &BTreeMap<String, Fingerprint>,
    name: &str,
    resolved: &Resolved,
) -> String {
    let Some((cache, fingerprint)) = cache.zip(last.get(name)) else {
        return "first run".to_owned();
    };
    if *fingerprint == resolved.fingerprint {
        return "its last run left no result".to_owned();
    }
    let recipe = match cache.record(*fingerprint) {
        Ok(Some(Ok(record))) => record.recipe,
        _ => return "its last run left no result".to_owned(),
    };
    sentence(&changes(&recipe, &resolved.recipe))
}

/// An error and its causes, from the outermost, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::digest::Digest;

    fn recipe(config: Value, input: &[u8]) -> Recipe {
        let inputs = [("spectra".to_owned(), Digest::of(input))].into();
        Recipe { kind: "train".into(), revision: 1, config, inputs, part: None }
    }

    #[test]
    fn the_change_is_named() {
        let old = recipe(json!({"rate": 0.001, "loss": {"count": 1.0}}), b"a");
        let new = recipe(json!({"rate": 0.002, "loss": {"count": 2.0, "other": true}}), b"b");
        let line = "loss.count 1.0 → 2.0; loss.other added: true; rate 0.001 → 0.002; input spectra changed";
        assert_eq!(sentence(&changes(&old, &new)), line);
        assert!(changes(&old, &old).is_empty());
    }
}
