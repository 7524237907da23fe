//! One file a subcommand.

pub(crate) mod cache;
pub(crate) mod checkout;
pub(crate) mod completions;
pub(crate) mod diff;
pub(crate) mod graph;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod logs;
pub(crate) mod metrics;
pub(crate) mod out;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod stages;
pub(crate) mod status;
pub(crate) mod trace;
pub(crate) mod trust;
pub(crate) mod why;

mod keys;
mod outputs;
mod runs;

use pipe_engine::Registry;

use super::{
    arguments::{Arguments, Command},
    error::CommandError,
    printer::Printer,
};

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
        Command::Completions(arguments) => completions::run(&arguments, printer),
    }
}
