//! The binary, used as a person uses it: one file a feature.

mod cache;
mod checkout;
#[cfg(target_os = "linux")]
mod clock;
mod commands;
mod complaints;
mod cube;
mod device;
mod diff;
mod docs;
mod faults;
mod for_each;
mod format;
mod graph;
mod help;
mod hostile_cache;
mod hostile_text;
mod ignore;
mod increments;
mod inputs;
mod interrupt;
mod json;
mod keeping;
mod late;
mod limits;
mod log;
mod logs;
mod matrix;
mod memo;
mod metrics;
#[cfg(target_os = "linux")]
mod mounts;
mod out;
mod outputs;
mod reference;
mod reported;
mod run;
#[cfg(target_os = "linux")]
mod sandbox;
mod sharing;
mod shell;
mod show;
mod sizes;
mod smooth;
mod soak;
mod support;
mod trace;
mod trust;
mod why;
