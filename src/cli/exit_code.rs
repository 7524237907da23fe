//! The exit codes, which scripts may rely on.

/// All went well.
pub const DONE: u8 = 0;
/// A stage failed.
pub const STAGE_FAILED: u8 = 1;
/// The pipeline or the command line is wrong; nothing was run.
pub const WRONG: u8 = 2;
/// The cache or the system failed.
pub const SYSTEM_FAILED: u8 = 3;
/// The run was interrupted; what was finished is kept.
pub const INTERRUPTED: u8 = 130;

/// The codes as the help tells them.
pub(crate) const HELP: &str = "\
Exit codes:
    0  done
    1  a stage failed
    2  the pipeline or the command line is wrong; nothing was run
    3  the cache or the system failed
  130  interrupted; what was finished is kept";
