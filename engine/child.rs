//! A program that was started as the leader of a process group of its own.

use std::{
    io,
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process_group, test_kill_process_group},
};

use crate::interrupt::Interrupt;

/// How long a program has to end when it is told to.
const GRACE: Duration = Duration::from_secs(5);
/// How late a request to stop is noticed at most.
const NOTICE: Duration = Duration::from_millis(20);

/// How a program ended.
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// Whether it was told to stop before.
    pub(crate) stopped: bool,
    /// Whether no process is left in its group.
    pub(crate) alone: bool,
}

/// Waits for `child`. When told to stop, asks its whole group to end, and after five seconds makes it.
///
/// # Errors
/// When it can't be waited for.
pub(crate) fn wait(child: &mut Child, interrupt: &Interrupt) -> io::Result<End> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut watch = Watch::new(group);
    let mut asked: Option<Instant> = None;
    let status = loop {
        // Most end while one waits; before that there is nothing to look at.
        watch.wait()?;
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if interrupt.is_requested() {
            let signal = match asked {
                None => Some(Signal::TERM),
                Some(since) if since.elapsed() > GRACE => Some(Signal::KILL),
                Some(_) => None,
            };
            if let (Some(signal), Some(group)) = (signal, group) {
                // It may have ended just now, which is what was wanted.
                let _ = kill_process_group(group, signal);
            }
            asked.get_or_insert_with(Instant::now);
        }
    };
    let alone = group.is_some_and(|group| test_kill_process_group(group) == Err(Errno::SRCH));
    Ok(End { status, stopped: asked.is_some(), alone })
}

/// What one waits with for a process to end, or to look again.
struct Watch {
    #[cfg(target_os = "linux")]
    process: Option<rustix::fd::OwnedFd>,
    pause: Duration,
}

impl Watch {
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "Linux alone has them"))]
    fn new(process: Option<Pid>) -> Self {
        Self {
            // An old kernel has none.
            #[cfg(target_os = "linux")]
            process: process.and_then(|process| {
                rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).ok()
            }),
            pause: Duration::from_micros(100),
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(process) = &self.process {
            use rustix::event::{PollFd, PollFlags, Timespec, poll};
            let most = Timespec { tv_sec: 0, tv_nsec: i64::from(NOTICE.subsec_nanos()) };
            return match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&most)) {
                Ok(_) | Err(Errno::INTR) => Ok(()),
                Err(error) => Err(error.into()),
            };
        }
        thread::sleep(self.pause);
        // Noticed late by a fifth of its time at most.
        self.pause = (self.pause * 6 / 5).min(NOTICE);
        Ok(())
    }
}
