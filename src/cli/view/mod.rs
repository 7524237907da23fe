//! What a run looks like: readers of the engine's stream of events.

mod choice;
pub(crate) mod json;
pub(crate) mod line;
mod plain;
mod progress;
mod reader;

pub(crate) use self::{
    choice::choose,
    reader::{Detail, View},
};
