//! A stage as it is declared, before it is looked at in full.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;

use super::{
    node::{Entry, Key, Node},
    overrides::Selected,
    schema::Schema,
    user_path::UserPaths,
};
use crate::{
    base::span::{Source, Span},
    stage::{kind::Kind, registry::Registry},
};

/// What a stage is checked against.
pub(super) struct Context<'a> {
    pub(super) registry: &'a Registry,
    /// Where relative paths start.
    pub(super) root: &'a Path,
    pub(super) sources: &'a [Source],
    pub(super) paths: UserPaths,
}

/// A stage whose name, kind and outputs are known, and the rest is not yet looked at.
pub(super) struct Declaration<'a> {
    pub(super) name: String,
    pub(super) place: Span,
    pub(super) kind: Declared,
    pub(super) fields: Fields<'a>,
    /// The axes of its own matrix; `None` if they were complained about.
    pub(super) axes: Option<Vec<Axis<'a>>>,
    /// What is overridden for some of its combinations.
    pub(super) selected: Vec<Selected<'a>>,
}

/// What a stage is declared to be.
pub(super) enum Declared {
    Kind(Arc<dyn Kind>),
    /// A program, and the names of its outputs; `None` if they were complained about.
    Command(Option<Vec<String>>),
    /// A choice among combinations.
    Select,
    /// Something that was complained about.
    Unknown,
}

/// The keys of a stage and their values.
#[derive(Default)]
pub(super) struct Fields<'a>(pub(super) Vec<Entry<'a>>);

impl<'a> Fields<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&Entry<'a>> {
        self.0.iter().find(|entry| entry.key.name == key)
    }

    /// The entry under `key`, if it isn't empty.
    pub(super) fn given(&self, key: &str) -> Option<&Entry<'a>> {
        self.get(key).filter(|entry| !entry.value.is_null())
    }
}

/// An axis of a stage's own matrix: a config key, and the values that it takes.
pub(super) struct Axis<'a> {
    /// The keys that lead to the config key, with dots between them.
    pub(super) key: Key<'a>,
    pub(super) values: Vec<(Node<'a>, Value)>,
}

/// The schemas of the kinds in use: each is made once.
#[derive(Default)]
pub(super) struct Schemas {
    known: Mutex<HashMap<&'static str, Arc<Schema>>>,
}

impl Schemas {
    pub(super) fn of(&self, kind: &dyn Kind) -> Arc<Schema> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(kind.name());
        Arc::clone(known.or_insert_with(|| Arc::new(Schema::new(kind.schema()))))
    }
}
