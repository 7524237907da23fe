//! What is known of the outputs that stand in the `out` folder: a document in the folder itself.

use std::{collections::BTreeMap, fs::Metadata, os::unix::fs::MetadataExt as _};

use serde::{Deserialize, Serialize};

use crate::{
    base::digest::Digest,
    graph::{is_output_name, is_stage_name},
};

/// The version of the document. The first one was the map alone, and told no owners.
const FORMAT: u32 = 2;

/// What was placed, so that it is known again without reading it. The keys are `STAGE/OUTPUT`.
#[derive(Debug, Default)]
pub(super) struct State(pub(super) BTreeMap<String, PlacedOutput>);

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    outputs: BTreeMap<String, PlacedOutput>,
}

/// An output that was placed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PlacedOutput {
    /// The name of the pipeline's file that had it placed; in a document of before, nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    pub(super) digest: Digest,
    /// Its files as they were right after; none where that wasn't noted.
    pub(super) files: Vec<PlacedFile>,
}

/// Path, size, inode, and times of modification and change of a file, in nanoseconds. Who brings a document from elsewhere
/// can't foretell them, so it makes no file of the user's ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlacedFile(String, u64, u64, i64, i64);

impl PlacedFile {
    pub(super) fn new(path: String, meta: &Metadata) -> Self {
        let time =
            |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        let modified = time(meta.mtime(), meta.mtime_nsec());
        Self(path, meta.size(), meta.ino(), modified, time(meta.ctime(), meta.ctime_nsec()))
    }
}

impl State {
    /// Reads a document of this version or of the one before. None if it is something else.
    pub(super) fn parse(json: &[u8]) -> Option<Self> {
        let mut outputs = match serde_json::from_slice::<Document>(json) {
            Ok(document) if document.format == FORMAT => document.outputs,
            Ok(_) => return None,
            Err(_) => serde_json::from_slice(json).ok()?,
        };
        outputs.retain(|key, _| Self::names(key).is_some());
        Some(Self(outputs))
    }

    /// Adds what the version before noted elsewhere: the arrays that were asked for, and their digests.
    pub(super) fn add_requested(&mut self, json: &[u8]) {
        let requested = serde_json::from_slice::<BTreeMap<String, Digest>>(json);
        for (key, digest) in requested.into_iter().flatten() {
            if Self::names(&key).is_some() {
                let placed = PlacedOutput { owner: None, digest, files: Vec::new() };
                self.0.entry(key).or_insert(placed);
            }
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let document = Document { format: FORMAT, outputs: self.0.clone() };
        serde_json::to_vec(&document)
            .unwrap_or_else(|_| unreachable!("the state has text keys only"))
    }

    /// The key of an output.
    pub(super) fn key(stage: &str, output: &str) -> String {
        format!("{stage}/{output}")
    }

    /// The stage and the output of a key that can't lead out of the folder.
    pub(super) fn names(key: &str) -> Option<(&str, &str)> {
        key.rsplit_once('/')
            .filter(|(stage, output)| is_stage_name(stage) && is_output_name(output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(key: &str) -> State {
        let files = vec![PlacedFile("a/b".into(), 3, 9, 1, 2)];
        let placed = PlacedOutput { owner: Some("p.yaml".into()), digest: Digest::of(b"x"), files };
        State(BTreeMap::from([(key.to_owned(), placed)]))
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let read = State::parse(&state("a[x=1]/b.c").to_json()).unwrap();
        assert_eq!(read.0["a[x=1]/b.c"].owner.as_deref(), Some("p.yaml"));
        assert_eq!(read.0["a[x=1]/b.c"].files, state("-").0["-"].files);
    }

    #[test]
    fn one_of_the_version_before_is_read_and_one_of_a_later_version_is_not() {
        let map = serde_json::to_vec(&state("a/b").0).unwrap();
        let mut read = State::parse(&map).unwrap();
        read.add_requested(
            format!("{{\"c/d\":\"{}\",\"../e\":\"{0}\"}}", Digest::of(b"y")).as_bytes(),
        );
        assert_eq!(read.0.keys().collect::<Vec<_>>(), ["a/b", "c/d"]);
        assert!(State::parse(br#"{"format":3,"outputs":{}}"#).is_none());
        assert!(State::parse(b"[1]").is_none());
    }

    #[test]
    fn a_key_that_leads_out_of_the_folder_is_passed_over() {
        for key in ["../a/b", "a/../../b", "/etc/passwd", "a/.lock", "a", "./a"] {
            assert!(State::parse(&state(key).to_json()).unwrap().0.is_empty(), "{key}");
        }
    }
}
