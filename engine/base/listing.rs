//! What an artifact holds, before it is a manifest.

use serde::{Deserialize, Serialize};

use super::{artifact_path::ArtifactPath, digest::Digest, link::Link};

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
    /// Whether its owner may run it as a program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

impl Entry {
    /// A file that is no program.
    pub fn plain(path: ArtifactPath, blob: Digest, size: u64) -> Self {
        Self { path, blob, size, executable: false }
    }
}

/// What an artifact holds, in any order, before it is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Its files.
    pub files: Vec<Entry>,
    /// Folders of it. Only those count that have nothing in them, and that the artifact itself is one needs no saying.
    pub folders: Vec<ArtifactPath>,
    /// Its symbolic links.
    pub links: Vec<Link>,
}

impl Listing {
    /// Every path that it names.
    pub fn paths(&self) -> impl Iterator<Item = &ArtifactPath> {
        let files = self.files.iter().map(|entry| &entry.path);
        files.chain(&self.folders).chain(self.links.iter().map(|link| &link.path))
    }

    /// Adds what `other` holds.
    pub fn append(&mut self, mut other: Self) {
        self.files.append(&mut other.files);
        self.folders.append(&mut other.folders);
        self.links.append(&mut other.links);
    }
}
