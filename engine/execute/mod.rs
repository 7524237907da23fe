//! Runs what is stale: the schedule, the parts of a stage, commands in their sandboxes, and the events that tell of it.

pub(crate) mod attempt;
pub(crate) mod child;
pub(crate) mod chunks;
pub(crate) mod command;
pub(crate) mod command_error;
pub(crate) mod events;
pub(crate) mod execute;
pub(crate) mod for_each;
pub(crate) mod item;
mod lead;
pub(crate) mod part_queue;
pub(crate) mod printed;
pub(crate) mod sandbox;
pub(crate) mod schedule;
pub(crate) mod select;
pub(crate) mod steps;
pub(crate) mod take;
pub(crate) mod take_error;
