//! A last word, and an exit code, for a process that is ended from within: where memory can't be had, or a panic can't be
//! unwound.

use std::io;

use rustix::{io::write, stdio::stderr};
use signal_hook::{
    consts::SIGABRT,
    low_level::{exit, register},
};

/// From now on, when this process aborts, writes `word` to stderr and ends with `code` rather than by the signal.
///
/// # Errors
/// When the system doesn't let it.
pub fn speak_before_abort(word: &'static str, code: u8) -> io::Result<()> {
    let last = move || {
        // Without the standard library's lock, which an interrupted thread may hold. Nobody can be told when this can't be
        // written.
        let _ = write(stderr(), word.as_bytes());
        exit(i32::from(code));
    };
    // SAFETY: `last` makes two system calls, allocates nothing, and takes no lock.
    #[expect(unsafe_code, reason = "it is run in a signal handler")]
    unsafe { register(SIGABRT, last) }.map(drop)
}
