//! Runs a data pipeline declared in YAML, and never computes the same thing twice.
//!
//! This crate is what a person types and sees. A program with stages of its own is five lines:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     let mine = pipe_engine::Registry::new(); // .with::<MyStage>()
//!     pipe::Cli::new().stages(pipe_stages::builtin()).stages(mine).run()
//! }
//! ```

#![forbid(unsafe_code)]

mod cli;

pub use cli::{Cli, exit_code};
