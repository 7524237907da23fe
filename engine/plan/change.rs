//! What differs between two recipes, down to the files of an input.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    base::{
        digest::Digest,
        tree::{Entry, Tree},
    },
    cache::Recipe,
    graph::command::is_command,
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
    /// A key of the config has another value. For a command also its line (`run`), its `outputs`, its `env`.
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
        /// The content digest before.
        old: Digest,
        /// The content digest now.
        new: Digest,
        /// Which of its files changed, if it is a folder whose manifests are both known.
        #[serde(skip_serializing_if = "Option::is_none")]
        files: Option<FileChanges>,
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
    /// A file or folder that a command declares has other content.
    File {
        /// Its path.
        path: String,
        /// The content digest before.
        old: Digest,
        /// The content digest now.
        new: Digest,
        /// Which of its files changed, if it is a folder whose manifests are both known.
        #[serde(skip_serializing_if = "Option::is_none")]
        files: Option<FileChanges>,
    },
    /// A command declares one more file or folder.
    FileAdded {
        /// Its path.
        path: String,
    },
    /// A command declares a file or folder no more.
    FileRemoved {
        /// Its path.
        path: String,
    },
}

/// What the keys of a command's environment variables begin with in a canonical config.
const VARIABLE: &str = "env.";

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changed = |f: &mut fmt::Formatter<'_>, files: &Option<FileChanges>| match files {
            Some(files) => write!(f, " changed: {files}"),
            None => f.write_str(" changed"),
        };
        match self {
            Self::Kind { old, new } => write!(f, "kind {old} → {new}"),
            Self::Revision { old, new } => write!(f, "revision {old} → {new}"),
            // The values are known by their hashes only.
            Self::Config { key, .. } if key.starts_with(VARIABLE) => {
                write!(f, "env {} changed", &key[VARIABLE.len()..])
            }
            Self::Config { key, old, new } => match (old, new) {
                (Some(old), Some(new)) => write!(f, "{key} {} → {}", brief(old), brief(new)),
                (None, Some(new)) => write!(f, "{key} added: {}", brief(new)),
                (_, None) => write!(f, "{key} removed"),
            },
            Self::Input { name, files, .. } => {
                write!(f, "input {name}")?;
                changed(f, files)
            }
            Self::InputAdded { name } => write!(f, "input {name} added"),
            Self::InputRemoved { name } => write!(f, "input {name} removed"),
            Self::File { path, files, .. } => {
                write!(f, "file {path}")?;
                changed(f, files)
            }
            Self::FileAdded { path } => write!(f, "file {path} added"),
            Self::FileRemoved { path } => write!(f, "file {path} removed"),
        }
    }
}

/// What stands at a path of an artifact.
#[derive(PartialEq, Eq)]
enum Held<'t> {
    File {
        blob: Digest,
        executable: bool,
    },
    /// A folder with nothing in it.
    Folder,
    Link(&'t str),
}

impl<'t> Held<'t> {
    /// What `tree` holds, by path.
    fn all(tree: &'t Tree) -> BTreeMap<&'t str, Self> {
        let file = |entry: &'t Entry| {
            let Entry { blob, executable, .. } = *entry;
            (entry.path.as_str(), Self::File { blob, executable })
        };
        let folders = tree.folders().iter().map(|folder| (folder.as_str(), Self::Folder));
        let links = tree.links().iter();
        let links = links.map(|link| (link.path.as_str(), Self::Link(&link.target)));
        tree.files().iter().map(file).chain(folders).chain(links).collect()
    }
}

/// Which files of a folder changed; its links and empty folders count as files. Chunks of a Zarr array are files, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChanges {
    /// Those that have other content.
    pub changed: Vec<String>,
    /// Those that are new.
    pub added: Vec<String>,
    /// Those that are no more.
    pub removed: Vec<String>,
    /// The arrays among the files: their chunks are under `ARRAY/c`.
    #[serde(skip)]
    arrays: BTreeSet<String>,
    /// Whether nothing is as it was but what describes arrays.
    #[serde(skip)]
    all: bool,
}

impl FileChanges {
    /// What differs between two manifests. None where both are a single file: then that is what changed.
    pub(crate) fn between(old: &Tree, new: &Tree) -> Option<Self> {
        if old.is_file() && new.is_file() {
            return None;
        }
        let mut changes = Self {
            changed: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
            arrays: BTreeSet::new(),
            all: true,
        };
        for tree in [old, new] {
            let paths = tree.files().iter().map(|entry| entry.path.as_str());
            let arrays = paths.filter_map(|path| path.strip_suffix("/zarr.json"));
            changes.arrays.extend(arrays.map(str::to_owned));
        }
        let (before, now) = (Held::all(old), Held::all(new));
        for (path, held) in &now {
            match before.get(path) {
                Some(before) if before == held => changes.all &= path.ends_with("zarr.json"),
                Some(_) => changes.changed.push((*path).to_owned()),
                None => changes.added.push((*path).to_owned()),
            }
        }
        let removed = before.keys().filter(|path| !now.contains_key(*path));
        changes.removed.extend(removed.map(|path| (*path).to_owned()));
        Some(changes)
    }

    /// How many files changed in any way.
    pub fn count(&self) -> usize {
        self.changed.len() + self.added.len() + self.removed.len()
    }

    /// The first `most` files that changed, as one reads them: how, and which.
    pub fn first(&self, most: usize) -> Vec<(&'static str, String)> {
        let ways = [("changed", &self.changed), ("added", &self.added), ("removed", &self.removed)];
        let all = ways.into_iter().flat_map(|(how, paths)| paths.iter().map(move |p| (how, p)));
        all.take(most).map(|(how, path)| (how, self.read(path))).collect()
    }

    /// A path as one reads it: a chunk of an array is called that.
    fn read(&self, path: &str) -> String {
        let chunk = path.match_indices("/c/").find_map(|(at, separator)| {
            let array = &path[..at];
            self.arrays.contains(array).then(|| (array, &path[at + separator.len()..]))
        });
        match chunk {
            Some((array, chunk)) => format!("chunk {chunk} of {array}"),
            None => path.to_owned(),
        }
    }
}

impl fmt::Display for FileChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 3;
        if self.all && self.count() > MOST {
            return f.write_str("all of it");
        }
        let named: Vec<String> = self
            .first(MOST)
            .into_iter()
            .map(|(how, path)| if how == "changed" { path } else { format!("{path} {how}") })
            .collect();
        f.write_str(&named.join(", "))?;
        match self.count().saturating_sub(MOST) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A value in few characters.
fn brief(value: &Value) -> String {
    const LONGEST: usize = 48;
    // Text may hold anything; in a sentence it stays on its line, and controls no terminal.
    let text = match value {
        Value::String(text) => text.replace(char::is_control, " "),
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
    let (old_config, old_files) = readable(old);
    let (new_config, new_files) = readable(new);
    compare("", Some(&old_config), Some(&new_config), &mut changes);
    for (path, old, new) in pairs(&old_files, &new_files) {
        changes.push(match (old, new) {
            (Some(old), Some(new)) => Change::File { path, old, new, files: None },
            (None, _) => Change::FileAdded { path },
            (_, None) => Change::FileRemoved { path },
        });
    }
    for (name, old, new) in pairs(&old.inputs, &new.inputs) {
        changes.push(match (old, new) {
            (Some(old), Some(new)) => Change::Input { name, old, new, files: None },
            (None, _) => Change::InputAdded { name },
            (_, None) => Change::InputRemoved { name },
        });
    }
    changes
}

/// The names whose digests differ, with both of them.
fn pairs(
    old: &BTreeMap<String, Digest>,
    new: &BTreeMap<String, Digest>,
) -> Vec<(String, Option<Digest>, Option<Digest>)> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let pairs = names.into_iter().map(|name| (name, old.get(name), new.get(name)));
    let differ = pairs.filter(|(_, old, new)| old != new);
    differ.map(|(name, old, new)| (name.clone(), old.copied(), new.copied())).collect()
}

/// The config as its author thinks of it: a command's line is the text that was written, and its files are apart.
fn readable(recipe: &Recipe) -> (Value, BTreeMap<String, Digest>) {
    let mut config = recipe.config.clone();
    let Some(keys) = config.as_object_mut().filter(|_| is_command(&recipe.kind)) else {
        return (config, BTreeMap::new());
    };
    let mut files = BTreeMap::new();
    for (path, digest) in
        keys.remove("files").as_ref().and_then(Value::as_object).into_iter().flatten()
    {
        if let Some(digest) = digest.as_str().and_then(|digest| digest.parse().ok()) {
            files.insert(path.clone(), digest);
        }
    }
    if let Some(run) = keys.remove("run") {
        keys.extend(line(&run));
    }
    (config, files)
}

/// A canonical command line as it was written, under `run`, and under `shell` whether a shell reads it.
fn line(run: &Value) -> Map<String, Value> {
    let template = |pieces: &Value| -> String {
        let piece = |piece: &Value| match piece {
            Value::String(text) => text.clone(),
            other => {
                let keys = other["config"].as_array().into_iter().flatten();
                let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
                match ["input", "output", "item"].map(|of| other.get(of).map(Value::as_str)) {
                    [Some(Some(name)), ..] => format!("{{inputs.{name}}}"),
                    [_, Some(Some(name)), _] => format!("{{outputs.{name}}}"),
                    [_, _, Some(Some(word))] => format!("{{item.{word}}}"),
                    [_, _, Some(None)] => "{item}".to_owned(),
                    _ => format!("{{config.{}}}", keys.join(".")),
                }
            }
        };
        pieces.as_array().into_iter().flatten().map(piece).collect()
    };
    let line = if let Some(words) = run["words"].as_array() {
        json!({ "run": words.iter().map(template).collect::<Vec<_>>().join(" ") })
    } else {
        let words = run["interpreter"].as_array().into_iter().flatten();
        let words: Vec<&str> = words.filter_map(Value::as_str).collect();
        let is_default = words == ["/bin/sh", "-e", "-c"] && run["strict"] == true;
        let shell = if is_default { json!(true) } else { json!(words.join(" ")) };
        json!({ "run": template(&run["shell"]), "shell": shell })
    };
    match line {
        Value::Object(line) => line,
        _ => Map::new(),
    }
}

pub(crate) fn compare(
    key: &str,
    old: Option<&Value>,
    new: Option<&Value>,
    changes: &mut Vec<Change>,
) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(kind: &str, config: Value, input: &[u8]) -> Recipe {
        let inputs = [("spectra".to_owned(), Digest::of(input))].into();
        Recipe { kind: kind.into(), revision: 1, config, inputs, part: None }
    }

    #[test]
    fn the_change_is_named() {
        let old = recipe("train", json!({"rate": 0.001, "loss": {"count": 1.0}}), b"a");
        let config = json!({"rate": 0.002, "loss": {"count": 2.0, "other": true}});
        let new = recipe("train", config, b"b");
        let line = "loss.count 1.0 → 2.0; loss.other added: true; rate 0.001 → 0.002; input spectra changed";
        assert_eq!(sentence(&changes(&old, &new)), line);
        assert!(changes(&old, &old).is_empty());
    }

    #[test]
    fn a_command_is_told_as_it_was_written() {
        let config = |script: &[u8], run: Value| {
            let files = json!({ "a.sh": Digest::of(script) });
            json!({ "run": run, "config": {}, "outputs": ["o"], "files": files, "env": {"LANG": null} })
        };
        let words = json!({ "words": [["sh"], ["a.sh"], [{"config": ["a", "b"]}, ","], [{"output": "o"}]] });
        let shell = json!({ "interpreter": ["/bin/sh", "-e", "-c"], "strict": true, "shell": ["sh ", {"input": "i"}, " ", {"item": null}, {"item": "stem"}, " > ", {"output": "o"}] });
        let old = recipe("command", config(b"1", words), b"a");
        let new = recipe("command", config(b"2", shell), b"a");
        assert_eq!(
            sentence(&changes(&old, &new)),
            "run sh a.sh {config.a.b}, {outputs.o} → sh {inputs.i} {item}{item.stem} > {outputs.o}; \
             shell added: true; file a.sh changed"
        );
    }

    #[test]
    fn files_and_chunks_are_named_and_the_rest_counted() {
        let tree = |files: &[(&str, &[u8])]| {
            let entry = |(path, bytes): &(&str, &[u8])| {
                Entry::plain(path.parse().unwrap(), Digest::of(bytes), bytes.len() as u64)
            };
            Tree::new(files.iter().map(entry).collect()).unwrap()
        };
        let old = tree(&[
            ("f/zarr.json", b"1"),
            ("f/c/0/0", b"a"),
            ("f/c/1/0", b"b"),
            ("x/c/0", b"1"),
            ("y", b"1"),
        ]);
        let new = tree(&[
            ("f/zarr.json", b"1"),
            ("f/c/0/0", b"b"),
            ("f/c/2/0", b"b"),
            ("x/c/0", b"2"),
            ("y", b"1"),
        ]);
        let changes = FileChanges::between(&old, &new).unwrap();
        assert_eq!(changes.to_string(), "chunk 0/0 of f, x/c/0, chunk 2/0 of f added and 1 more");
        let moved =
            tree(&[("f/zarr.json", b"1"), ("f/c/0/0", b"c"), ("f/c/2/0", b"c"), ("x/c/1", b"3")]);
        assert_eq!(FileChanges::between(&old, &moved).unwrap().to_string(), "all of it");
        assert_eq!((changes.count(), changes.removed.as_slice()), (4, &["f/c/1/0".to_owned()][..]));
        let single = |bytes: &[u8]| Tree::single(Digest::of(bytes), 1);
        assert_eq!(FileChanges::between(&single(b"1"), &single(b"2")), None);
    }
}
