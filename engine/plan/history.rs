//! The runs of a workspace: which one is meant, and what they knew of a stage.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use thiserror::Error;

use crate::{
    base::{digest::Fingerprint, outcome::Outcome},
    cache::{Cache, CacheError, RunEntry},
    graph::Pipeline,
};

/// How many earlier runs are looked through for the last fingerprint of a stage.
const LAST: usize = 20;
/// How many earlier runs are looked through for all fingerprints of a stage.
const DEEPEST: usize = 256;

/// A word that names no run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoRun {
    /// There are no runs.
    #[error("no run of this pipeline is remembered")]
    None,
    /// It goes back beyond the first run.
    #[error("`{word}` goes back beyond the first run: {count} are remembered")]
    Beyond {
        /// The word.
        word: String,
        /// How many runs there are.
        count: usize,
    },
    /// No run is called so.
    #[error("no run is called `{word}`")]
    Unknown {
        /// The word.
        word: String,
        /// The names and ids that there are, newest first, names before ids.
        known: Vec<String>,
    },
    /// Several ids begin so.
    #[error("the ids of {} runs begin with `{word}`", candidates.len())]
    Ambiguous {
        /// The word.
        word: String,
        /// The runs, newest first.
        candidates: Vec<RunEntry>,
    },
}

/// The run that `word` means: its name, its id or a unique beginning of it, `last`, or `~1`, `last~1` and so on back from the
/// last one. `entries` are newest first; those that can't be read don't count as `last`, nor from there back.
///
/// # Errors
/// When it means none, or several.
pub fn find_run<'e>(entries: &'e [RunEntry], word: &str) -> Result<&'e RunEntry, NoRun> {
    if entries.is_empty() {
        return Err(NoRun::None);
    }
    let back = match word.strip_prefix("last").unwrap_or(word).strip_prefix('~') {
        Some(number) => number.parse().ok(),
        None => (word == "last").then_some(0),
    };
    if let Some(back) = back {
        let readable = || entries.iter().filter(|entry| entry.is_readable());
        return match readable().nth(back) {
            Some(entry) => Ok(entry),
            None if readable().next().is_none() => Err(NoRun::None),
            None => Err(NoRun::Beyond { word: word.to_owned(), count: readable().count() }),
        };
    }
    let exact = |entry: &&RunEntry| entry.name.as_deref() == Some(word) || entry.id == word;
    let mut meant = entries.iter().filter(exact);
    if let Some(first) = meant.next() {
        // Names and ids can be given twice by whoever writes into the cache.
        let readable = std::iter::once(first).chain(meant).find(|entry| entry.is_readable());
        return Ok(readable.unwrap_or(first));
    }
    let begins = |entry: &&RunEntry| !word.is_empty() && entry.id.starts_with(word);
    let candidates: Vec<&RunEntry> = entries.iter().filter(begins).collect();
    match candidates.as_slice() {
        [only] => Ok(only),
        [] => {
            let names = entries.iter().filter_map(|entry| entry.name.clone());
            let ids = entries.iter().map(|entry| entry.id.clone());
            Err(NoRun::Unknown { word: word.to_owned(), known: names.chain(ids).collect() })
        }
        several => {
            let candidates = several.iter().map(|entry| (*entry).clone()).collect();
            Err(NoRun::Ambiguous { word: word.to_owned(), candidates })
        }
    }
}

/// A fingerprint that a stage had in an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) fingerprint: Fingerprint,
    /// How the stage ended in the newest run that had this fingerprint.
    pub(crate) outcome: Outcome,
    /// The name or id of that run.
    pub(crate) run: String,
}

/// What the earlier runs of a workspace knew of the stages of a pipeline.
pub(crate) struct History {
    entries: Vec<RunEntry>,
    last: BTreeMap<String, Fingerprint>,
    /// Read when it is first asked for: a run that executes nothing needs none of it.
    past: OnceLock<BTreeMap<String, Vec<Past>>>,
}

impl History {
    /// The history of the stages `wanted`. Without a cache there is none.
    pub(crate) fn open(
        cache: Option<&Cache>,
        pipeline: &Pipeline,
        wanted: &[usize],
    ) -> Result<Self, CacheError> {
        let entries = match cache {
            Some(cache) => cache.runs(&pipeline.file).entries()?,
            None => Vec::new(),
        };
        let mut open: BTreeSet<&str> =
            wanted.iter().map(|stage| pipeline.stages[*stage].name.as_str()).collect();
        let mut last = BTreeMap::new();
        // What is no run doesn't count, but isn't looked at without end either.
        let stages = entries.iter().take(DEEPEST).filter_map(RunEntry::fingerprints);
        for stages in stages.take(LAST) {
            if open.is_empty() {
                break;
            }
            for (name, (fingerprint, _)) in stages {
                if open.remove(name.as_str()) {
                    last.insert(name, fingerprint);
                }
            }
        }
        Ok(Self { entries, last, past: OnceLock::new() })
    }

    /// The fingerprint that the stage had last.
    pub(crate) fn last(&self, stage: &str) -> Option<Fingerprint> {
        self.last.get(stage).copied()
    }

    /// The fingerprints that the stage had, each once, newest first.
    pub(crate) fn past(&self, stage: &str) -> &[Past] {
        let read = || {
            let mut past: BTreeMap<String, Vec<Past>> = BTreeMap::new();
            let mut seen = BTreeSet::new();
            for entry in self.entries.iter().take(DEEPEST) {
                for (name, (fingerprint, outcome)) in entry.fingerprints().into_iter().flatten() {
                    if seen.insert((name.clone(), fingerprint)) {
                        let run = entry.label().to_owned();
                        past.entry(name).or_default().push(Past { fingerprint, outcome, run });
                    }
                }
            }
            past
        };
        self.past.get_or_init(read).get(stage).map_or(&[], Vec::as_slice)
    }

    /// How many runs there are that were not looked through.
    pub(crate) fn unread(&self) -> usize {
        self.entries.len().saturating_sub(DEEPEST)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cache::{FORMAT, RunFile};

    fn entries(names: &[Option<&str>]) -> (tempfile::TempDir, Vec<RunEntry>) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let runs = cache.runs(Path::new("/p.yaml"));
        for name in names {
            let run = RunFile {
                format: FORMAT,
                name: name.map(str::to_owned),
                version: "0".into(),
                started: String::new(),
                host: String::new(),
                pipeline: "/p.yaml".into(),
                targets: Vec::new(),
                ok: true,
                interrupted: false,
                seconds: 0.0,
                stages: Vec::new(),
            };
            runs.add(&run).unwrap();
        }
        let entries = runs.entries().unwrap();
        (folder, entries)
    }

    #[test]
    fn a_run_has_many_ways_to_be_named() {
        let (_folder, entries) = entries(&[Some("first"), None, Some("abc")]);
        let place = |word: &str| {
            let found = find_run(&entries, word).unwrap();
            entries.iter().position(|entry| entry == found).unwrap()
        };
        for (word, expected) in [
            ("last", 0),
            ("~0", 0),
            ("last~0", 0),
            ("~1", 1),
            ("last~2", 2),
            ("abc", 0),
            ("first", 2),
        ] {
            assert_eq!(place(word), expected, "{word}");
        }
        assert_eq!(place(&entries[1].id), 1);
        assert_eq!(place(&entries[1].id[..7]), 1);
    }

    #[test]
    fn what_names_no_run_is_told_with_what_there_is() {
        assert_eq!(find_run(&[], "last"), Err(NoRun::None));
        let (_folder, mut entries) = entries(&[Some("base"), None]);
        assert!(matches!(find_run(&entries, "~2"), Err(NoRun::Beyond { count: 2, .. })));
        for word in ["bas", "", "~x", "zzz"] {
            let Err(NoRun::Unknown { known, .. }) = find_run(&entries, word) else {
                panic!("{word:?}")
            };
            assert_eq!(known[0], "base");
        }
        "ab1".clone_into(&mut entries[0].id);
        "ab2".clone_into(&mut entries[1].id);
        let Err(NoRun::Ambiguous { candidates, .. }) = find_run(&entries, "ab") else { panic!() };
        assert_eq!(candidates, entries);
    }
}
