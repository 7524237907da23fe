//! The user's files as one run, or one plan, sees them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    input_error::InputFileError,
    input_file::{Detail, InputFile, Reading},
    workspace::Scope,
};
use crate::cache::StatCache;

/// The files and folders that were looked at, by how much of them counts, and what is remembered of them from before.
#[derive(Debug)]
pub(crate) struct InputFiles {
    memo: StatCache,
    seen: Mutex<HashMap<(PathBuf, Detail), Arc<InputFile>>>,
}

impl InputFiles {
    /// Nothing was looked at yet; `memo` remembers.
    pub(crate) fn new(memo: StatCache) -> Self {
        Self { memo, seen: Mutex::default() }
    }

    /// What is remembered.
    pub(crate) fn memo(&self) -> &StatCache {
        &self.memo
    }

    /// What is remembered, when nothing is looked at any more.
    pub(crate) fn into_memo(self) -> StatCache {
        self.memo
    }

    /// The file at `path`, or what is in `scope` of the folder there: hashed as far as that isn't remembered. Links are
    /// followed. Unless time may have passed, each is looked at once, however many stages read it.
    ///
    /// # Errors
    /// When it can't be read, or would have to be and mustn't.
    pub(crate) fn read(
        &self,
        path: &Path,
        scope: &Scope,
        detail: Detail,
        reading: Reading<'_>,
    ) -> Result<Arc<InputFile>, InputFileError> {
        let look = || InputFile::look_at(path, scope, detail, &self.memo, reading).map(Arc::new);
        if matches!(reading, Reading::Yes(_)) || scope.pattern.is_some() {
            return look();
        }
        let key = (path.to_owned(), detail);
        if let Some(known) = self.seen().get(&key) {
            return Ok(Arc::clone(known));
        }
        let source = look()?;
        self.seen().insert(key, Arc::clone(&source));
        Ok(source)
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<(PathBuf, Detail), Arc<InputFile>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::base::interrupt::Interrupt;

    #[test]
    fn who_looks_at_everything_at_one_time_looks_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data");
        fs::write(&file, "one").unwrap();
        let (files, interrupt) = (InputFiles::new(StatCache::none()), Interrupt::new());
        let read = |reading| {
            let source = files.read(&file, &Scope::default(), Detail::All, reading);
            source.map(|source| source.tree.digest())
        };
        let one = read(Reading::Once(&interrupt)).unwrap();
        fs::write(&file, "two").unwrap();
        assert_eq!(read(Reading::Once(&interrupt)).unwrap(), one);
        assert_eq!(read(Reading::No).unwrap(), one);
        assert_ne!(
            read(Reading::Yes(&interrupt)).unwrap(),
            one,
            "who comes back later looks again"
        );
    }
}
