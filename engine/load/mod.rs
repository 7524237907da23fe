//! From the text of a pipeline to a checked, typed graph, with the place of every word. Nothing is run, and every
//! complaint is made at once: [`load`] gives a [`Pipeline`](crate::graph::Pipeline) that is sound, or [`Complaints`].

mod command;
mod command_line;
mod complaint;
mod config;
mod declaration;
mod declare;
mod entries;
mod expand;
mod expectation;
mod find;
mod inputs;
mod interpreter;
mod keys;
mod load;
mod matrix;
mod named;
mod node;
mod overrides;
mod reference;
mod schema;
mod select;
mod spans;
mod stages;
mod suggestion;
mod template;
#[cfg(test)]
mod tests;
mod texts;
mod user_path;
mod variables;
mod yaml;

pub use self::{
    complaint::{Complaint, Complaints, Label},
    find::{FILE_NAME, find},
    keys::{ConfigKey, config_keys},
    load::{load, load_text},
    named::NotFound,
    suggestion::closest,
};
