//! What of a process's beginning and end can't be said without `unsafe`: starting a program in a session of its own, which ends
//! with the thread that started it, and a last word before an abort.
//!
//! This is a crate for itself so that everything else that runs programs needs none.

mod abort;

pub use abort::speak_before_abort;

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command},
};

use rustix::process::setsid;

/// Starts `command` as the leader of a new session and of a new process group.
///
/// It has no controlling terminal, so that opening `/dev/tty` fails at once. On Linux it is killed when the thread that called this
/// ends, however that ends. Signals that this process ignores stay ignored, as by `nohup`.
///
/// # Errors
/// When it can't be started.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    #[cfg(target_os = "linux")]
    let parent = rustix::process::getpid();
    let begin = move || {
        setsid()?;
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{Signal, getppid, set_parent_process_death_signal};
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // It may have ended just before that.
            if getppid() != Some(parent) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
        }
        Ok(())
    };
    // SAFETY: between `fork` and `exec` of a process with several threads only what is safe in a signal handler may be
    // done. `begin` makes three system calls, allocates nothing, and takes no lock.
    #[expect(unsafe_code, reason = "there is no other way to act between fork and exec")]
    unsafe {
        command.pre_exec(begin);
    }
    command.spawn()
}
