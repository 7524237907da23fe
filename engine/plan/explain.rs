//! Why a stage is executed or reused.
//!
//! A stage that must be executed is compared with the nearest of its earlier results: the one whose recipe has the
//! fewest differences.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{
    change::{Change, FileChanges, changes, sentence},
    history::{History, Past},
    resolve::Resolved,
};
use crate::{
    base::{
        digest::{Digest, Fingerprint},
        outcome::Outcome,
        tree::{ArtifactPath, Entry, Tree},
    },
    cache::{Cache, Recipe, Record},
};

/// Why a stage is executed, reused, or neither yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Why {
    /// The result is that of the last run.
    Unchanged,
    /// Another run than the last one, or somebody else, made the result.
    Known,
    /// The stage has no past in this workspace.
    FirstRun {
        /// How many runs are remembered that were not looked through, since they are too long ago.
        unread: usize,
    },
    /// The stage has results, and none for what it would be made of now.
    Changed {
        /// The differences from the nearest one.
        changes: Vec<Change>,
        /// The name or id of the newest run that had the nearest one.
        since: String,
        /// How the last try to make just this ended, if there was one.
        #[serde(skip_serializing_if = "Option::is_none")]
        last: Option<Outcome>,
    },
    /// It was tried before and failed.
    Tried {
        /// How the last try ended.
        last: Outcome,
    },
    /// It was known once.
    Lost,
    /// The cache's copy of the result can't be used.
    Damaged {
        /// What is wrong with it.
        flaw: String,
    },
    /// It depends on the outputs of a stage that must be executed first.
    Waits {
        /// The stage.
        stage: String,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("nothing changed"),
            Self::Known => f.write_str("the result is known"),
            Self::FirstRun { unread: 0 } => f.write_str("first run"),
            Self::FirstRun { .. } => f.write_str("first run for a long time"),
            Self::Changed { changes, last, .. } => {
                f.write_str(&sentence(changes))?;
                last.map_or(Ok(()), |last| write!(f, "; {}", tried(last)))
            }
            Self::Tried { last } => f.write_str(tried(*last)),
            Self::Lost => f.write_str("its result is no longer in the cache"),
            Self::Damaged { flaw } => write!(f, "its result was damaged: {flaw}"),
            Self::Waits { stage } => write!(f, "depends on `{stage}`, which has no result yet"),
        }
    }
}

fn tried(last: Outcome) -> &'static str {
    if last == Outcome::Failed { "its last run failed" } else { "its last run was interrupted" }
}

/// Why a stage is reused.
pub(crate) fn why_reused(history: &History, name: &str, fingerprint: Fingerprint) -> Why {
    if history.last(name) == Some(fingerprint) { Why::Unchanged } else { Why::Known }
}

/// Why a stage isn't reused: what differs from the nearest of its earlier results.
pub(crate) fn why_executed(
    cache: Option<&Cache>,
    history: &History,
    name: &str,
    resolved: &Resolved,
) -> Why {
    let past = history.past(name);
    let Some((cache, newest)) = cache.zip(past.first()) else {
        return Why::FirstRun { unread: history.unread() };
    };
    let same = past.iter().find(|past| past.fingerprint == resolved.fingerprint);
    let last = same.map(|past| past.outcome);
    if matches!(last, Some(Outcome::Executed | Outcome::Reused)) {
        return Why::Lost;
    }
    match nearest(cache, past, &resolved.recipe) {
        Some((past, record, mut changes)) => {
            let old = Trees::of_record(cache, &record);
            let new = Trees { cache, sources: Sources::Resolved(resolved) };
            name_files(&mut changes, &old, &new);
            Why::Changed { changes, since: past.run.clone(), last }
        }
        None => match last.unwrap_or(newest.outcome) {
            Outcome::Executed | Outcome::Reused => Why::Lost,
            last => Why::Tried { last },
        },
    }
}

/// The result among `past` whose recipe differs least from `recipe`, the newest of those that differ as little.
fn nearest<'p>(
    cache: &Cache,
    past: &'p [Past],
    recipe: &Recipe,
) -> Option<(&'p Past, Record, Vec<Change>)> {
    let mut best: Option<(&Past, Record, Vec<Change>)> = None;
    for past in past {
        // A result that was collected, or never came to be, has nothing to compare with.
        let Ok(Some(Ok(record))) = cache.record(past.fingerprint) else { continue };
        let changes = changes(&record.recipe, recipe);
        if best.as_ref().is_none_or(|(_, _, least)| changes.len() < least.len()) {
            best = Some((past, record, changes));
        }
    }
    best
}

/// Where the manifests of a result's inputs are.
pub(crate) struct Trees<'a> {
    cache: &'a Cache,
    sources: Sources<'a>,
}

enum Sources<'a> {
    /// A result in the cache keeps those of the user's folders.
    Recorded(&'a BTreeMap<String, (Digest, u64)>),
    /// The user's files were just read.
    Resolved(&'a Resolved),
}

impl<'a> Trees<'a> {
    pub(crate) fn of_record(cache: &'a Cache, record: &'a Record) -> Self {
        Self { cache, sources: Sources::Recorded(&record.sources) }
    }

    /// The manifest whose content digest is `digest`: of the input or the declared file that `source` names.
    fn tree(&self, source: &str, digest: Digest) -> Option<Tree> {
        let from_source = match &self.sources {
            Sources::Recorded(sources) => {
                let manifest = |(blob, size): &(Digest, u64)| {
                    let path = ArtifactPath::itself();
                    self.cache.read_blob(&Entry::plain(path, *blob, *size)).ok()
                };
                let json = sources.get(source).and_then(manifest);
                json.and_then(|json| Tree::from_json(&json).ok())
            }
            Sources::Resolved(resolved) => {
                let found = match source.split_once('.') {
                    Some(("inputs", name)) => resolved.sources.get(name),
                    Some((_, path)) => resolved.files.get(path),
                    None => None,
                };
                found.map(|source| source.tree.clone())
            }
        };
        from_source
            .filter(|tree| tree.digest() == digest)
            .or_else(|| self.cache.tree(digest).ok().and_then(Result::ok))
    }
}

/// Adds to the changes of inputs and files which files of them changed, where both manifests are there.
pub(crate) fn name_files(changes: &mut [Change], old_trees: &Trees<'_>, new_trees: &Trees<'_>) {
    for change in changes {
        let (source, old, new, files) = match change {
            Change::Input { name, old, new, files } => (format!("inputs.{name}"), old, new, files),
            Change::File { path, old, new, files } => (format!("files.{path}"), old, new, files),
            _ => continue,
        };
        let trees = old_trees.tree(&source, *old).zip(new_trees.tree(&source, *new));
        *files = trees.and_then(|(old, new)| FileChanges::between(&old, &new));
    }
}
