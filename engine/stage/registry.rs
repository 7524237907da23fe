//! The kinds that a pipeline may use.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    device::Probe,
    kind::{Kind, StageKind, erase},
};

/// The kinds that a pipeline may use, by name.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Arc<dyn Kind>>,
    cuda: Option<Probe>,
}

impl Registry {
    /// A registry without kinds. `command` needs no entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the kind `S`, in place of one of the same name.
    #[must_use]
    pub fn with<S: StageKind>(mut self) -> Self {
        self.kinds.insert(S::KIND, erase::<S>());
        self
    }

    /// Says that some of the kinds can compute on a GPU, where `probe` finds one.
    #[must_use]
    pub fn with_cuda(mut self, probe: Probe) -> Self {
        self.cuda = Some(probe);
        self
    }

    /// How to find out whether there is a GPU, if any kind can use one.
    pub(crate) fn cuda(&self) -> Option<Probe> {
        self.cuda
    }

    /// Adds the kinds of `other`, in place of those of the same name.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.kinds.extend(other.kinds);
        self.cuda = other.cuda.or(self.cuda);
        self
    }

    /// The kind called `name`.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Kind>> {
        self.kinds.get(name)
    }

    /// All kinds, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Kind>> {
        self.kinds.values()
    }
}
