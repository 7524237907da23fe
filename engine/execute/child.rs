//! A program that was started as the leader of a session of its own.

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

use crate::base::{
    descendants::{self, Leader, LeftBehind},
    interrupt::Interrupt,
};

/// How long a program has to end when it is told to.
const GRACE: Duration = Duration::from_secs(5);
/// How late a request to stop is noticed at most.
const NOTICE: Duration = Duration::from_millis(20);

/// How a program ended.
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// Whether it was told to stop before.
    pub(crate) stopped: bool,
    /// The processes that it left behind.
    pub(crate) left: LeftBehind,
}

/// Waits for `child`, the leader of a session, and ends what it leaves behind. When told to stop, asks its whole group to
/// end, and after five seconds, or when told again, makes it. `watch` is called now and then while it runs.
///
/// # Errors
/// When it can't be waited for.
pub(crate) fn wait(
    child: &mut Child,
    leader: &Leader,
    interrupt: &Interrupt,
    mut watch: impl FnMut(),
) -> io::Result<End> {
    let mut alarm = Alarm::new(leader.pid);
    let mut asked: Option<Instant> = None;
    let status = loop {
        // Most end while one waits; before that there is nothing to look at.
        alarm.wait()?;
        if let Some(status) = child.try_wait()? {
            break status;
        }
        watch();
        if interrupt.is_requested() {
            let signal = match asked {
                _ if interrupt.is_urgent() => Some(Signal::KILL),
                None => Some(Signal::TERM),
                Some(since) if since.elapsed() > GRACE => Some(Signal::KILL),
                Some(_) => None,
            };
            if let Some(signal) = signal {
                // It may have ended just now, which is what was wanted.
                let _ = kill_process_group(leader.pid, signal);
                let _ = kill_process_group(leader.pid, Signal::CONT);
            }
            asked.get_or_insert_with(Instant::now);
        }
    };
    let mut left = descendants::end_left_of(leader, interrupt);
    // Where orphans aren't seen, the group is all that is known.
    if left.is_closed() && test_kill_process_group(leader.pid) != Err(Errno::SRCH) {
        let _ = kill_process_group(leader.pid, Signal::KILL);
        left.ended.insert(format!("process group {}", leader.pid));
        let began = Instant::now();
        while test_kill_process_group(leader.pid) != Err(Errno::SRCH) {
            if began.elapsed() > GRACE {
                left.alive = std::mem::take(&mut left.ended);
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(End { status, stopped: asked.is_some(), left })
}

/// What one waits with for a process to end, or to look again.
struct Alarm {
    #[cfg(target_os = "linux")]
    process: Option<rustix::fd::OwnedFd>,
    pause: Duration,
}

impl Alarm {
    #[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "Linux alone has them"))]
    fn new(process: Pid) -> Self {
        Self {
            // An old kernel has none.
            #[cfg(target_os = "linux")]
            process: rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty())
                .ok(),
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
