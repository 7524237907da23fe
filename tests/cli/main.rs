//! The binary, used as a person uses it: one file a feature.

mod cache;
mod commands;
mod complaints;
mod cube;
mod graph;
mod help;
mod increments;
mod interrupt;
mod json;
mod out;
mod reference;
mod run;
mod show;
mod support;
