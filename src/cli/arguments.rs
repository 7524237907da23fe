//! What may be typed with every subcommand.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Which pipeline.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PipelineArguments {
    /// The pipeline's file [default: the nearest pipeline.yaml, from here upwards].
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Overrides a value of the pipeline: `STAGE.KEY=VALUE`, `vars.NAME=VALUE`, `cache=PATH` or `device=DEVICE`. May be
    /// repeated; the last one wins.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

impl PipelineArguments {
    /// These, put over those given before the subcommand.
    pub(crate) fn over(self, before: Self) -> Self {
        let mut set = before.set;
        set.extend(self.set);
        Self { file: self.file.or(before.file), set }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}
