//! The entry of an input for which a command runs.

use std::collections::BTreeMap;

use super::entry::Entry;

/// The entry of an input for which a command runs.
pub(crate) struct Item<'a> {
    pub(crate) entry: &'a Entry,
    /// Where what is made of it stands in each output.
    pub(crate) paths: BTreeMap<&'a str, String>,
}
