//! Runs what is stale: the schedule, the parts of a stage, commands in their sandboxes, and the events that tell of it.

pub(crate) mod attempt;
pub(crate) mod child;
pub(crate) mod command;
pub(crate) mod command_error;
pub(crate) mod entries;
pub(crate) mod entry;
pub(crate) mod events;
pub(crate) mod execute;
pub(crate) mod item;
pub(crate) mod mapped;
pub(crate) mod printed;
pub(crate) mod sandbox;
pub(crate) mod schedule;
pub(crate) mod select;
pub(crate) mod states;
pub(crate) mod take;
