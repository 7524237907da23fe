//! How far the bytes of a result may be relied on.

use serde::Serialize;

/// How far the bytes of a result may be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exactness {
    /// The same bits on any machine, for any number of threads.
    Exact,
    /// The same bits for any number of threads on one kind of device; another device may differ.
    Reproducible,
}
