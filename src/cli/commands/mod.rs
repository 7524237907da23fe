//! The subcommands: what may be typed, and one file each for what it does.

mod cache;
mod checkout;
mod completions;
mod diff;
mod graph;
mod init;
mod log;
mod logs;
mod metrics;
mod out;
mod plan;
mod run;
mod show;
mod stages;
mod status;
mod trace;
mod trust;
mod why;

mod keys;
mod outputs;
mod runs;

use clap::{CommandFactory as _, Parser, Subcommand};
use pipe_engine::Registry;

use super::{
    arguments::{Color, PipelineArguments},
    error::CommandError,
    exit_code,
    printer::Printer,
};

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

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(run::RunArguments),
    Plan(plan::PlanArguments),
    Status(status::StatusArguments),
    Why(why::WhyArguments),
    Graph(graph::GraphArguments),
    Out(out::OutArguments),
    Show(show::ShowArguments),
    Log(log::LogArguments),
    Diff(diff::DiffArguments),
    Metrics(metrics::MetricsArguments),
    Logs(logs::LogsArguments),
    Trace(trace::TraceArguments),
    Checkout(checkout::CheckoutArguments),
    Cache(cache::CacheArguments),
    Stages(stages::StagesArguments),
    Trust(trust::TrustArguments),
    Init(init::InitArguments),
    Completions(completions::CompletionsArguments),
}

/// Does what was asked for, and gives the exit code.
pub(crate) fn run(
    arguments: Arguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let before = arguments.pipeline;
    match arguments.command {
        Command::Run(arguments) => run::run(arguments, before, registry, printer),
        Command::Plan(arguments) => plan::run(&arguments, before, registry, printer),
        Command::Status(arguments) => status::run(arguments, before, registry, printer),
        Command::Why(arguments) => why::run(arguments, before, registry, printer),
        Command::Graph(arguments) => graph::run(arguments, before, registry, printer),
        Command::Out(arguments) => out::run(arguments, before, registry, printer),
        Command::Show(arguments) => show::run(&arguments, before, registry, printer),
        Command::Log(arguments) => log::run(arguments, before, registry, printer),
        Command::Diff(arguments) => diff::run(&arguments, before, registry, printer),
        Command::Metrics(arguments) => metrics::run(arguments, before, registry, printer),
        Command::Logs(arguments) => logs::run(arguments, before, registry, printer),
        Command::Trace(arguments) => trace::run(arguments, before, registry, printer),
        Command::Checkout(arguments) => checkout::run(arguments, before, registry, printer),
        Command::Cache(arguments) => cache::run(arguments, before, registry, printer),
        Command::Stages(arguments) => stages::run(&arguments, registry, printer),
        Command::Trust(arguments) => trust::run(&arguments, printer),
        Command::Init(arguments) => init::run(&arguments, printer),
        Command::Completions(arguments) => {
            completions::run(&arguments, Arguments::command(), printer)
        }
    }
}
