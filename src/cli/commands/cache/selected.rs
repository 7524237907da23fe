//! The cache that a subcommand is about, and amounts of what is in it.

use std::path::PathBuf;

use clap::Args;
use pipe_engine::{Registry, cache::Cache};

use crate::cli::{arguments::PipelineArguments, error::CommandError, project};

/// Which cache.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The cache's folder [default: that of the pipeline].
    #[arg(long, value_name = "DIR")]
    pub(super) cache: Option<PathBuf>,

    #[command(flatten)]
    pub(super) pipeline: PipelineArguments,
}

impl Which {
    pub(super) fn open(
        &self,
        before: PipelineArguments,
        registry: &Registry,
    ) -> Result<Cache, CommandError> {
        let folder = match &self.cache {
            Some(folder) => folder.clone(),
            None => project::load(&self.pipeline.clone().over(before), registry)?.cache,
        };
        project::existing_cache(&folder)?.ok_or_else(|| {
            CommandError::wrong(
                format!("there is no cache in `{}`", folder.display()),
                "name one: `--cache DIR`; the first `pipe run` makes that of a pipeline",
            )
        })
    }
}

/// `1 blob`, `2 blobs`.
pub(super) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A size for people.
pub(super) fn size_of(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
