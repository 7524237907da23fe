//! What an artifact is: its type and its format.

use std::fmt;

use serde::Serialize;

/// What an artifact is: its domain name, by which outputs and inputs are matched, and its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ArtifactType {
    /// The domain's word for it, such as `spectra` or `checkpoint`.
    pub name: &'static str,
    /// The format of its files.
    pub format: Format,
}

impl ArtifactType {
    /// A file or folder of any content: what the user gives, and what a command makes.
    pub const ANY: Self = Self::new("any", Format::Any);
    /// One file given by the user or made by a command; no other stage's artifact fits.
    pub const FILE: Self = Self::new("file", Format::Any);

    /// Names a type of artifact.
    pub const fn new(name: &'static str, format: Format) -> Self {
        Self { name, format }
    }

    /// Whether an output of this type may feed an input of type `wanted`.
    pub fn fits(self, wanted: Self) -> bool {
        self.name == wanted.name || self == Self::ANY || wanted == Self::ANY
    }
}

impl fmt::Display for ArtifactType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The format of an artifact's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A Zarr v3 group.
    Zarr,
    /// Weights in safetensors and a JSON document.
    Checkpoint,
    /// CSV tables.
    Table,
    /// JSON documents.
    Document,
    /// PNG and SVG pictures.
    Picture,
    /// Anything.
    Any,
}
