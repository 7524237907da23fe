//! The binary, used as a person uses it: one file a feature.

mod cache;
mod checkout;
mod commands;
mod complaints;
mod cube;
mod diff;
mod docs;
mod for_each;
mod graph;
mod help;
mod increments;
mod interrupt;
mod json;
mod log;
mod logs;
mod matrix;
mod metrics;
mod out;
mod reference;
mod run;
mod show;
mod support;
mod trace;
mod why;
