//! The path of a file within an artifact.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

/// The path of a file within an artifact: relative, `/` between its parts, checked when made.
///
/// An artifact that is one single file has that file at [`ArtifactPath::ITSELF`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactPath(String);

/// A path that must not be used in an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{}` can't be a file's path in an artifact: {fault}", path.escape_debug())]
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
    /// NUL.
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
        } else if path.contains('\0') {
            Some("it holds a NUL")
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

    /// The path of what stands at this one in an artifact that stands at `base` in another.
    pub(crate) fn moved(&self, base: &str) -> Result<Self, BadPath> {
        if self.0 == Self::ITSELF {
            Self::new(base)
        } else {
            Self::new(format!("{base}/{}", self.0))
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

    /// The folders in which it stands, the outermost first.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(slash, _)| &self.0[..slash])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_would_leave_the_artifact_are_refused() {
        for bad in
            ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\0b", &"x".repeat(256)]
        {
            assert!(ArtifactPath::new(bad).is_err(), "{bad:?}");
        }
        for good in [".", "a", "a/b.c", "...", "c/0/1", "a\\b", "..\\b"] {
            assert!(ArtifactPath::new(good).is_ok(), "{good:?}");
        }
    }
}
