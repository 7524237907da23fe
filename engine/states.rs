//! The states that an iterated stage leaves behind, each under a record of its own.
//!
//! The state after a step is named by the kind, its revision, the config without its extent, the inputs and the step. So
//! a computation that was stopped, or is to go further, finds the last one. Older states are removed as newer ones come,
//! ever more sparsely the older they are: of `n` steps about `2 log₂ n` states stay.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

use crate::{
    artifact::Tree,
    cache::{Bundle, Cache, CacheError, FORMAT, Part, Provenance, Recipe, Record, Staging},
    digest::Fingerprint,
    execute::Parts,
    report::PartCount,
    stage::Exactness,
};

/// The name under which a state is the output of its record.
const STATE: &str = "state";

/// The states of one computation.
pub(crate) struct States<'a> {
    cache: &'a Cache,
    staging: &'a Arc<Staging>,
    recipe: Recipe,
    provenance: Provenance,
    exactness: Exactness,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The step that was gone on from, or 0.
    start: u64,
    /// The state that was read or kept last, and its step.
    newest: Option<(u64, Fingerprint)>,
}

impl<'a> States<'a> {
    /// The states of the stage whose result has the recipe `whole`.
    pub(crate) fn new(
        cache: &'a Cache,
        staging: &'a Arc<Staging>,
        whole: &Recipe,
        extent: Option<&str>,
        provenance: Provenance,
        exactness: Exactness,
    ) -> Self {
        let mut recipe = whole.clone();
        if let (Some(key), Value::Object(config)) = (extent, &mut recipe.config) {
            config.remove(key);
        }
        Self { cache, staging, recipe, provenance, exactness, seen: Mutex::default() }
    }

    fn recipe(&self, step: u64) -> Recipe {
        Recipe { part: Some(Part::Step(step)), ..self.recipe.clone() }
    }

    /// The newest state at or before `most` that is there unharmed.
    pub(crate) fn last(&self, most: u64) -> Result<Option<Vec<u8>>, CacheError> {
        for step in (1..=most).rev() {
            let fingerprint = self.recipe(step).fingerprint();
            let Some(Ok(record)) = self.cache.record(fingerprint)? else { continue };
            let Some(digest) = record.outputs.get(STATE) else { continue };
            let Ok(tree) = self.cache.tree(*digest)? else { continue };
            let Some(entry) = tree.files().first() else { continue };
            if self.cache.verify_blob(entry.blob)?.is_err() {
                continue;
            }
            let path = self.cache.blob_path(entry.blob);
            let bytes = std::fs::read(&path).map_err(CacheError::io("read", &path))?;
            *self.lock() = Seen { start: step, newest: Some((step, fingerprint)) };
            return Ok(Some(bytes));
        }
        Ok(None)
    }

    /// Keeps the state after `step` steps, and removes the one that has become superfluous.
    pub(crate) fn keep(&self, step: u64, state: &[u8]) -> Result<(), CacheError> {
        let staged = self.staging.write(state)?;
        let tree = Tree::single(staged.blob, staged.size);
        let record = Record {
            format: FORMAT,
            recipe: self.recipe(step),
            outputs: BTreeMap::from([(STATE.to_owned(), tree.digest())]),
            parts: Vec::new(),
            log: None,
            sources: BTreeMap::new(),
            provenance: self.provenance.clone(),
        };
        let fingerprint = record.recipe.fingerprint();
        let bundle =
            Bundle { blobs: vec![staged], trees: vec![tree], record, exactness: self.exactness };
        self.cache.publish(self.staging, vec![bundle])?;
        self.lock().newest = Some((step, fingerprint));
        for old in superfluous(step) {
            self.cache.remove_part(self.recipe(old).fingerprint())?;
        }
        Ok(())
    }

    /// What the result was put together from: the last state.
    pub(crate) fn into_parts(self) -> Parts {
        let seen = self.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        Parts {
            fingerprints: seen.newest.iter().map(|(_, fingerprint)| *fingerprint).collect(),
            count: seen.newest.map(|(all, _)| PartCount { all, known: seen.start, unit: "steps" }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The steps whose states are no more needed once that of `step` is kept: a step that 2ᵏ divides, and no higher power
/// of 2, goes after 2ᵏ⁺¹ more steps.
fn superfluous(step: u64) -> impl Iterator<Item = u64> {
    (0..63_u32)
        .map_while(move |k| step.checked_sub((2 << k) + 1).map(|old| (k, old)))
        .filter(|(k, old)| *old > 0 && old.trailing_zeros() == *k)
        .map(|(_, old)| old)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn few_states_stay_and_the_last_ones_are_among_them() {
        let mut kept = BTreeSet::new();
        for step in 1..=1000_u64 {
            kept.insert(step);
            for old in superfluous(step) {
                assert!(kept.remove(&old), "{old} is removed once, after {step}");
            }
            assert!(kept.contains(&step.saturating_sub(1).max(1)));
            assert!(kept.len() <= 2 * (step.ilog2() as usize + 2), "{kept:?}");
            // Half-way back there is a state not far before.
            let half = (step / 2).max(1);
            let before = kept.range(..=half).next_back();
            assert!(step < 4 || before.is_some_and(|before| half - before <= step / 4), "{kept:?}");
        }
    }
}
