//! What is in an artifact, as text on a terminal.

pub(crate) mod array;
pub(crate) mod document;
pub(crate) mod table;
