//! The file that declares a pipeline.

use std::path::{Path, PathBuf};

/// The name of the file that [`find`] looks for.
pub const FILE_NAME: &str = "pipeline.yaml";

/// The `pipeline.yaml` of the folder `start` or of the nearest folder above it that has one.
pub fn find(start: &Path) -> Option<PathBuf> {
    start.ancestors().map(|folder| folder.join(FILE_NAME)).find(|file| file.is_file())
}
