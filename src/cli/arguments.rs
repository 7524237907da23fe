//! What may be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{commands, exit_code};

/// Runs a data pipeline declared in YAML, and never computes the same thing twice.
#[derive(Debug, Parser)]
#[command(name = "pipe", version, after_help = exit_code::HELP, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// When to use colours.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, global = true)]
    pub(crate) color: Color,

    #[command(flatten)]
    pub(crate) pipeline: PipelineArguments,

    #[command(subcommand)]
    pub(crate) command: Command,
}

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

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(commands::run::RunArguments),
    Plan(commands::plan::PlanArguments),
    Status(commands::status::StatusArguments),
    Why(commands::why::WhyArguments),
    Graph(commands::graph::GraphArguments),
    Out(commands::out::OutArguments),
    Show(commands::show::ShowArguments),
    Log(commands::log::LogArguments),
    Diff(commands::diff::DiffArguments),
    Metrics(commands::metrics::MetricsArguments),
    Logs(commands::logs::LogsArguments),
    Trace(commands::trace::TraceArguments),
    Checkout(commands::checkout::CheckoutArguments),
    Cache(commands::cache::CacheArguments),
    Stages(commands::stages::StagesArguments),
    Trust(commands::trust::TrustArguments),
    Init(commands::init::InitArguments),
    Completions(commands::completions::CompletionsArguments),
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
