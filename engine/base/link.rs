//! Symbolic links within an artifact.
//!
//! A target is a text of one shape: as many `..` as there are folders above the link at most, and then ordinary names. A
//! `..` after a name could lead out of the artifact by way of another link, though its text doesn't look like it; one at
//! the beginning climbs real folders, since no entry stands in a link. So wherever the artifact is put, no link of it
//! leads out of it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::artifact_path::ArtifactPath;

/// A symbolic link of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Where it stands in the artifact.
    pub path: ArtifactPath,
    /// What it says: a path that starts in the link's folder.
    pub target: String,
}

/// A target that a link must not have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the link `{}` can't have the target `{}`: {fault}", link.path, link.target.escape_debug())]
pub struct TargetError {
    /// The link.
    pub link: Link,
    /// Why not.
    pub fault: &'static str,
}

impl Link {
    /// Checks that the target is a path of the only shape that targets have, and doesn't lead out of the artifact.
    ///
    /// # Errors
    /// When it isn't, or does.
    pub(crate) fn check(&self) -> Result<(), TargetError> {
        let depth = self.path.folders().count();
        let climbs = self.target.split('/').take_while(|part| *part == "..").count();
        let mut names = self.target.split('/').skip(climbs);
        let fault = if self.path.as_str() == ArtifactPath::ITSELF {
            Some("an artifact is no link")
        } else if self.target == "." {
            None
        } else if self.target.len() > ArtifactPath::LONGEST {
            Some("it is longer than 4096 bytes")
        } else if self.target.starts_with('/') {
            Some("it is absolute")
        } else if self.target.contains('\0') {
            Some("it holds a NUL")
        } else if climbs > depth {
            Some("it leads out of the artifact")
        } else if names.any(|part| ["", ".", ".."].contains(&part) || part.len() > 255) {
            Some("after its first `..`s, a part of it is empty, `.`, `..` or longer than 255 bytes")
        } else {
            None
        };
        match fault {
            None => Ok(()),
            Some(fault) => Err(TargetError { link: self.clone(), fault }),
        }
    }
}
