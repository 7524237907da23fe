//! What would run, and why; nothing is written.

pub(crate) mod change;
pub(crate) mod choice_recipe;
pub(crate) mod command_recipe;
pub(crate) mod error;
pub(crate) mod explain;
pub(crate) mod history;
pub(crate) mod needed;
pub(crate) mod plan;
pub(crate) mod resolve;
pub(crate) mod run_report;
