//! An artifact's manifest: which files it has, and the digest of each.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

use crate::{digest::Digest, encoding::Encoder};

/// The path of a file within an artifact: relative, `/` between its parts, checked when made.
///
/// An artifact that is one single file has that file at [`ArtifactPath::ITSELF`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactPath(String);

/// A path that must not be used in an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{path}` can't be a file's path in an artifact: {fault}")]
pub struct BadPath {
    /// The path.
    pub path: String,
    /// Why not.
    pub fault: &'static str,
}

impl ArtifactPath {
    /// The path of the only file of an artifact that is a file itself.
    pub const ITSELF: &'static str = ".";
    /// The longest path allowed, in bytes.
    pub const LONGEST: usize = 4096;

    /// Checks `path`.
    ///
    /// # Errors
    /// When it is empty, absolute or too long, or a part of it is empty, `.`, `..`, longer than 255 bytes, or holds a
    /// backslash or a NUL.
    pub fn new(path: impl Into<String>) -> Result<Self, BadPath> {
        let path = path.into();
        let fault = if path == Self::ITSELF {
            None
        } else if path.is_empty() {
            Some("it is empty")
        } else if path.len() > Self::LONGEST {
            Some("it is longer than 4096 bytes")
        } else if path.starts_with('/') {
            Some("it is absolute")
        } else if path.contains(['\\', '\0']) {
            Some("it holds a backslash or a NUL")
        } else if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            Some("a part of it is empty, `.` or `..`")
        } else if path.split('/').any(|part| part.len() > 255) {
            Some("a part of it is longer than 255 bytes")
        } else {
            None
        };
        match fault {
            None => Ok(Self(path)),
            Some(fault) => Err(BadPath { path, fault }),
        }
    }

    /// [`ArtifactPath::ITSELF`].
    pub(crate) fn itself() -> Self {
        Self(Self::ITSELF.to_owned())
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the file stands when the artifact stands at `base`.
    pub fn under(&self, base: &Path) -> PathBuf {
        if self.0 == Self::ITSELF { base.to_owned() } else { base.join(&self.0) }
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ArtifactPath {
    type Err = BadPath;

    fn from_str(path: &str) -> Result<Self, BadPath> {
        Self::new(path)
    }
}

impl Serialize for ArtifactPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ArtifactPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where it stands in the artifact.
    pub path: ArtifactPath,
    /// The digest of its bytes.
    pub blob: Digest,
    /// Its size, in bytes.
    pub size: u64,
}

/// An artifact's manifest: its files, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tree {
    format: u32,
    files: Vec<Entry>,
}

/// A list of files that is no artifact, or a manifest that can't be read.
#[derive(Debug, Error)]
pub enum TreeError {
    /// Two files share a path.
    #[error("`{0}` is there twice")]
    Twice(ArtifactPath),
    /// One file's path is a folder of another's.
    #[error("`{0}` is both a file and a folder")]
    FileAndFolder(ArtifactPath),
    /// A single-file artifact has other files too.
    #[error("an artifact that is one file has other files too")]
    NotAlone,
    /// The manifest's files aren't sorted by path.
    #[error("the files are not sorted by path")]
    Unsorted,
    /// The manifest is of another format.
    #[error("the manifest has format {0}, and this version of pipe reads format {FORMAT}")]
    Format(u32),
    /// The manifest isn't JSON of the expected shape.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

const FORMAT: u32 = 1;
const CONTEXT: &str = "pipe 2026-11 tree v1";

impl Tree {
    /// Sorts `files` and checks that they can stand together.
    ///
    /// # Errors
    /// When two share a path, or a file's path is a folder of another's.
    pub fn new(mut files: Vec<Entry>) -> Result<Self, TreeError> {
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Self::sorted(files)
    }

    fn sorted(files: Vec<Entry>) -> Result<Self, TreeError> {
        let itself = |entry: &Entry| entry.path.as_str() == ArtifactPath::ITSELF;
        if files.len() > 1 && files.iter().any(itself) {
            return Err(TreeError::NotAlone);
        }
        let mut paths = std::collections::HashSet::with_capacity(files.len());
        for pair in files.windows(2) {
            match pair[0].path.cmp(&pair[1].path) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => return Err(TreeError::Twice(pair[0].path.clone())),
                std::cmp::Ordering::Greater => return Err(TreeError::Unsorted),
            }
        }
        paths.extend(files.iter().map(|entry| entry.path.as_str()));
        for entry in &files {
            let path = entry.path.as_str();
            for (slash, _) in path.match_indices('/') {
                if paths.contains(&path[..slash]) {
                    let folder = ArtifactPath(path[..slash].to_owned());
                    return Err(TreeError::FileAndFolder(folder));
                }
            }
        }
        Ok(Self { format: FORMAT, files })
    }

    /// The manifest of an artifact that is one file.
    pub fn single(blob: Digest, size: u64) -> Self {
        let path = ArtifactPath::itself();
        Self { format: FORMAT, files: vec![Entry { path, blob, size }] }
    }

    /// The files, sorted by path.
    pub fn files(&self) -> &[Entry] {
        &self.files
    }

    /// The file at `path`.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        let found = self.files.binary_search_by(|entry| entry.path.as_str().cmp(path));
        found.ok().map(|i| &self.files[i])
    }

    /// Whether the artifact is one file rather than a folder of files.
    pub fn is_file(&self) -> bool {
        self.get(ArtifactPath::ITSELF).is_some()
    }

    /// The files as they stand when the artifact stands at `base` in another: for one that is a file, that is its path.
    ///
    /// # Errors
    /// When `base` leads to a path that isn't allowed.
    pub fn under(&self, base: &str) -> Result<Vec<Entry>, BadPath> {
        let moved = |entry: &Entry| {
            let path = match entry.path.as_str() {
                ArtifactPath::ITSELF => base.to_owned(),
                path => format!("{base}/{path}"),
            };
            Ok(Entry { path: ArtifactPath::new(path)?, blob: entry.blob, size: entry.size })
        };
        self.files.iter().map(moved).collect()
    }

    /// The sum of the files' sizes, in bytes.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|entry| entry.size).sum()
    }

    /// The artifact's content digest: the hash, in a domain of its own, of the number of files and then for each its
    /// path, its blob's digest and its size, encoded as the crate's module `encoding` says.
    pub fn digest(&self) -> Digest {
        let mut encoder = Encoder::new(CONTEXT);
        encoder.number(self.files.len() as u64);
        for entry in &self.files {
            encoder.text(entry.path.as_str()).fixed(entry.blob.as_bytes()).number(entry.size);
        }
        Digest::from_bytes(encoder.finish())
    }

    /// The manifest as it is stored: JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self)
            .unwrap_or_else(|_| unreachable!("text and numbers are always JSON"))
    }

    /// Reads a stored manifest, checking every path.
    ///
    /// # Errors
    /// When it is no manifest of this format, or what it lists can't stand together.
    pub fn from_json(json: &[u8]) -> Result<Self, TreeError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Stored {
            format: u32,
            files: Vec<Entry>,
        }
        let stored: Stored = serde_json::from_slice(json)?;
        if stored.format != FORMAT {
            return Err(TreeError::Format(stored.format));
        }
        Self::sorted(stored.files)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(path: &str, bytes: &[u8]) -> Entry {
        Entry { path: path.parse().unwrap(), blob: Digest::of(bytes), size: bytes.len() as u64 }
    }

    #[test]
    fn content_digest_is_pinned() {
        let tree = Tree::new(vec![entry("b", b"2"), entry("a/x", b"1")]).unwrap();
        assert_eq!(
            tree.digest().hex(),
            "34317e35ceb0b29eae83a106ab85b81ff42f75b3ef297acac7ab6077f60901d5"
        );
    }

    #[test]
    fn paths_that_would_leave_the_artifact_are_refused() {
        for bad in [
            "",
            "/etc/passwd",
            "..",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "a\\b",
            "a\0b",
            &"x".repeat(256),
        ] {
            assert!(ArtifactPath::new(bad).is_err(), "{bad:?}");
        }
        for good in [".", "a", "a/b.c", "...", "c/0/1"] {
            assert!(ArtifactPath::new(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn files_that_can_not_stand_together_are_refused() {
        assert!(matches!(
            Tree::new(vec![entry("a", b""), entry("a", b"")]),
            Err(TreeError::Twice(_))
        ));
        let both = Tree::new(vec![entry("a", b""), entry("a.b", b""), entry("a/b", b"")]);
        assert!(matches!(both, Err(TreeError::FileAndFolder(_))));
        assert!(matches!(
            Tree::new(vec![entry(".", b""), entry("a", b"")]),
            Err(TreeError::NotAlone)
        ));
    }

    #[test]
    fn a_hostile_manifest_is_refused() {
        let blob = Digest::of(b"");
        let manifest = |files: &str| format!(r#"{{"format":1,"files":[{files}]}}"#);
        let file = |path: &str| format!(r#"{{"path":"{path}","blob":"{blob}","size":0}}"#);
        assert!(Tree::from_json(manifest(&file("a")).as_bytes()).is_ok());
        for bad in
            [file("../a"), file("/a"), format!("{},{}", file("b"), file("a")), "1".to_owned()]
        {
            assert!(Tree::from_json(manifest(&bad).as_bytes()).is_err(), "{bad}");
        }
        assert!(matches!(
            Tree::from_json(br#"{"format":2,"files":[]}"#),
            Err(TreeError::Format(2))
        ));
        assert!(Tree::from_json(b"").is_err());
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let file = ("[a-c]{1,2}(/[a-c]{1,2}){0,2}", prop::collection::vec(any::<u8>(), 0..4));
        prop::collection::vec(file, 0..8).prop_filter_map("can't stand together", |files| {
            Tree::new(files.iter().map(|(path, bytes)| entry(path, bytes)).collect()).ok()
        })
    }

    proptest! {
        #[test]
        fn a_manifest_survives_storage(tree in trees()) {
            prop_assert_eq!(Tree::from_json(&tree.to_json()).unwrap(), tree);
        }

        #[test]
        fn equal_digests_mean_equal_trees(a in trees(), b in trees()) {
            prop_assert_eq!(a.digest() == b.digest(), a == b);
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Tree::from_json(&bytes);
        }
    }
}
