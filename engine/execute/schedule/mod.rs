//! Which stages are stale, and in which order they run.
//!
//! A fixed number of workers take ready stages, the earliest in the pipeline's order first. A stage is ready when the
//! outputs that it reads are known; then it has a recipe, and the cache may know its result already. Stages are never
//! run on the thread pool that they share for their own parallel work, where a stage that waits could hold up another.

mod run;
mod sought;
mod start;
mod state;
mod task;
mod workers;

pub use self::start::{RunOptions, run, run_then};
