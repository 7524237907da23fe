//! What fails a stage.

use std::{fmt, io};

use crate::{
    artifact::{artifact::ArtifactError, zarr::ZarrError},
    base::interrupt::Interrupted,
    cache::CacheError,
};

/// An error that fails a stage: any error, boxed, or a sentence.
///
/// It is deliberately no [`std::error::Error`] itself, so that `?` takes every error.
#[derive(Debug)]
pub struct StageError(Box<dyn std::error::Error + Send + Sync>);

impl StageError {
    /// Wraps an error.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// Whether the stage stopped because it was told to.
    pub fn is_interrupted(&self) -> bool {
        self.0.is::<Interrupted>()
    }

    /// Whether the cache or the machine failed rather than the stage: the error or a cause of it says so.
    pub(crate) fn is_of_the_system(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*self.0);
        while let Some(error) = cause {
            let cache = error.is::<CacheError>()
                || matches!(error.downcast_ref(), Some(ArtifactError::Cache(_)))
                || matches!(error.downcast_ref(), Some(ZarrError::Cache(_)));
            if cache {
                return true;
            }
            // A transparent error stands for its cause, and then only the operating system's error is left to see.
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return crate::cache::is_of_the_system(error);
            }
            cause = error.source();
        }
        false
    }

    /// Whether leave was refused for something. A built-in stage asks for nothing but the cache's files once its inputs are
    /// hashed.
    pub(crate) fn is_refused(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&*self.0);
        while let Some(error) = cause {
            let refused = error.downcast_ref::<io::Error>().map(io::Error::kind);
            if refused == Some(io::ErrorKind::PermissionDenied) {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// What to do about it, when the cache or the machine failed.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        let system = self.is_of_the_system() || self.is_refused();
        if system { crate::cache::hint(&*self.0) } else { None }
    }

    /// The error that was wrapped, when it is an `E`.
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for StageError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for StageError {
    /// The error and its causes, from the outermost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut said = self.0.to_string();
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            // A transparent error repeats its source.
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            source = error.source();
        }
        Ok(())
    }
}
