//! Symbolic links within an artifact.
//!
//! A target is a text of one shape: as many `..` as there are folders above the link at most, and then ordinary names. A
//! `..` after a name could lead out of the artifact by way of another link, though its text doesn't look like it; one at
//! the beginning climbs real folders, since no entry stands in a link. So wherever the artifact is put, no link of it
//! leads out of it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::tree::{ArtifactPath, Entry, Tree};

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

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached<'t> {
    File(&'t Entry),
    Folder,
}

/// How many links are followed on the way to a file: as many as Linux follows.
const MOST_LINKS: usize = 40;

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

impl Tree {
    /// What is at `path`, links followed; nothing at the end of a circle of them.
    pub(crate) fn reach(&self, path: &str) -> Option<Reached<'_>> {
        if path == ArtifactPath::ITSELF {
            return self.get(path).map(Reached::File);
        }
        let mut left: Vec<&str> = path.rsplit('/').collect();
        let mut at = String::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part {
                "." => continue,
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let above = at.len();
            if above > 0 {
                at.push('/');
            }
            at.push_str(part);
            if at.len() > ArtifactPath::LONGEST {
                return None;
            }
            if let Some(link) = self.link(&at) {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                at.truncate(above);
                left.extend(link.target.rsplit('/'));
            }
        }
        if let Some(entry) = self.get(&at) {
            return Some(Reached::File(entry));
        }
        self.has_folder(&at).then_some(Reached::Folder)
    }
}
