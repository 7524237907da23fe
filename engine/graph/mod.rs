//! The typed pipeline: a graph of stages, their inputs, and their names.

pub(crate) mod combination;
pub(crate) mod command;
pub(crate) mod environment;
pub(crate) mod name;
pub(crate) mod order;
pub(crate) mod pipeline;
pub(crate) mod scalar;
pub(crate) mod select;
pub(crate) mod template;

pub use self::{
    combination::Combination,
    command::{Command, CommandFile, Environment, ForEach, Run},
    pipeline::{Input, Member, Pipeline, StageNode, Task},
    select::{CANDIDATES, CHOICE, Goal, METRICS, Select},
    template::{Piece, Template},
};
pub(crate) use self::{
    combination::{is_stage_name, stage_folder},
    name::{RUN_RULE, is_output_name, is_run_name},
};
