//! What a stage reads and writes: artifacts, Zarr arrays and their rows, the user's own files, and files made of an artifact.

pub(crate) mod artifact;
pub(crate) mod format;
pub(crate) mod ignored;
pub(crate) mod input_error;
pub(crate) mod input_file;
pub(crate) mod input_files;
pub(crate) mod materialize;
pub(crate) mod output;
pub(crate) mod rows;
pub(crate) mod workspace;
pub(crate) mod zarr;
pub(crate) mod zarr_store;
