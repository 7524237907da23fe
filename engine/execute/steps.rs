//! The states that an iterated stage leaves behind, each under a record of its own.
//!
//! The state after a step is named by the kind, its revision, the config without its extent, the inputs and the step. So
//! a computation that was stopped, or is to go further, finds the last one. Older states are removed as newer ones come,
//! ever more sparsely the older they are: of `n` steps about `2 log₂ n` states stay, and a few more meanwhile.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

use super::attempt::{Attempt, Parts, Unpublished};
use crate::{
    base::{digest::Fingerprint, tree::Tree},
    cache::{CacheError, Part, Recipe, Staging},
    plan::run_report::PartCount,
    stage::context::StepStore,
};

/// The name under which a state is the output of its record.
const STATE: &str = "state";

/// So many superfluous states are removed at once: who else names what they hold is looked for in the whole cache.
const AT_ONCE: usize = 8;

/// The states of one computation.
pub(crate) struct Steps<'a, 'p> {
    attempt: &'a Attempt<'a, 'p>,
    recipe: Recipe,
    started: jiff::Timestamp,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// The step that was gone on from, or 0.
    start: u64,
    /// The state that was read or kept last, and its step.
    newest: Option<(u64, Fingerprint)>,
    /// The states that have become superfluous and are still there.
    superfluous: Vec<Fingerprint>,
}

impl<'a, 'p> Steps<'a, 'p> {
    /// The states of the stage that is attempted; `extent` is the config key that says only how many steps there are.
    pub(crate) fn new(
        attempt: &'a Attempt<'a, 'p>,
        extent: Option<&str>,
        started: jiff::Timestamp,
    ) -> Self {
        let mut recipe = attempt.resolved.recipe.clone();
        if let (Some(key), Value::Object(config)) = (extent, &mut recipe.config) {
            config.remove(key);
        }
        Self { attempt, recipe, started, seen: Mutex::default() }
    }

    /// Removes what has become superfluous.
    ///
    /// # Errors
    /// When it can't be.
    pub(crate) fn thin(&self) -> Result<(), CacheError> {
        let superfluous = std::mem::take(&mut self.lock().superfluous);
        self.attempt.cache.remove_parts(&superfluous)
    }

    fn recipe(&self, step: u64) -> Recipe {
        Recipe { part: Some(Part::Step(step)), ..self.recipe.clone() }
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

impl StepStore for Steps<'_, '_> {
    fn last(&self, most: u64) -> Result<Option<Vec<u8>>, CacheError> {
        let cache = self.attempt.cache;
        for step in (1..=most).rev() {
            let fingerprint = self.recipe(step).fingerprint();
            if cache.record(fingerprint)?.is_none() {
                continue;
            }
            // Most steps have left nothing, and those aren't noted.
            cache.uses(fingerprint);
            let Some(Ok(record)) = cache.record(fingerprint)? else { continue };
            let Some(digest) = record.outputs.get(STATE) else { continue };
            let Ok(tree) = cache.tree(*digest)? else { continue };
            let Some(entry) = tree.files().first() else { continue };
            let bytes = match cache.read_blob(entry) {
                Ok(bytes) => bytes,
                Err(CacheError::Damaged(_)) => continue,
                Err(error) => return Err(error),
            };
            *self.lock() =
                Seen { start: step, newest: Some((step, fingerprint)), superfluous: Vec::new() };
            return Ok(Some(bytes));
        }
        Ok(None)
    }

    fn keep(&self, step: u64, state: &[u8]) -> Result<(), CacheError> {
        let staging = Arc::new(Staging::new(self.attempt.cache)?);
        let staged = staging.write(state)?;
        let tree = Tree::single(staged.blob, staged.size);
        let outputs = BTreeMap::from([(STATE.to_owned(), (tree, vec![staged]))]);
        let made = Unpublished { outputs, ..Unpublished::default() };
        let recipe = self.recipe(step);
        let fingerprint = recipe.fingerprint();
        let provenance = self.attempt.provenance(self.started, 0.0);
        self.attempt
            .publisher
            .publish(self.attempt.bundle(&staging, made, recipe, provenance, None))?;
        let old = superfluous(step).map(|old| self.recipe(old).fingerprint());
        let mut seen = self.lock();
        seen.newest = Some((step, fingerprint));
        seen.superfluous.extend(old);
        let many = seen.superfluous.len() >= AT_ONCE;
        drop(seen);
        if many { self.thin() } else { Ok(()) }
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
        }
    }
}
