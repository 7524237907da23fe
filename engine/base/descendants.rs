//! The processes that a command leaves behind: found and ended, so that nothing of it can touch what it made.
//!
//! On Linux a process whose parent ended becomes a child of the nearest ancestor that wants such orphans. A program that runs
//! pipelines says that it does ([`adopt_orphans`]), so whatever a command leaves behind is among its children, with all its
//! descendants, also when it began a session of its own. Which command an orphan is of is told by its session or by the
//! variable [`MARKER`] of its environment; when no other command is running, by that alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, kill_process, waitpid},
};

use super::interrupt::Interrupt;

/// The environment variable that names the folder in which a command works.
pub(crate) const MARKER: &str = "PIPE_SANDBOX";

/// How long a process has to end when it is told to.
const GRACE: Duration = Duration::from_secs(2);
/// How long it may take until a process that is killed is gone.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether all children of this process that no command started are orphans of commands.
static ADOPTS: AtomicBool = AtomicBool::new(false);
/// The commands that are running, by their process: where each works.
static LEADERS: Mutex<BTreeMap<i32, PathBuf>> = Mutex::new(BTreeMap::new());

/// Takes over what commands leave behind. To be called by a program all of whose children are commands of its runs, before the
/// first of them: every other child that it comes to have is taken for such an orphan, and ended.
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    if rustix::process::set_child_subreaper(Some(rustix::process::getpid())).is_ok() {
        ADOPTS.store(true, Ordering::SeqCst);
    }
}

fn leaders() -> MutexGuard<'static, BTreeMap<i32, PathBuf>> {
    LEADERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command that is running, or has just ended: it leads a session and a process group.
#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) pid: Pid,
    sandbox: PathBuf,
}

impl Leader {
    /// The command `pid`, which works in the folder `sandbox`.
    pub(crate) fn new(pid: Pid, sandbox: &Path) -> Self {
        leaders().insert(pid.as_raw_nonzero().get(), sandbox.to_owned());
        Self { pid, sandbox: sandbox.to_owned() }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        leaders().remove(&self.pid.as_raw_nonzero().get());
    }
}

/// What became of the processes that a command left behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftBehind {
    /// Those that were ended: name and number.
    pub(crate) ended: BTreeSet<String>,
    /// Those that may still run.
    pub(crate) alive: BTreeSet<String>,
}

impl LeftBehind {
    /// Whether nothing of the command is left that could still write anywhere.
    pub(crate) fn is_closed(&self) -> bool {
        self.alive.is_empty()
    }
}

/// A process.
#[derive(Debug, Clone)]
struct Process {
    pid: Pid,
    name: String,
    state: u8,
    parent: i32,
    session: i32,
}

impl Process {
    fn read(pid: Pid) -> Option<Self> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold any character.
        let (open, close) =
            (stat.iter().position(|b| *b == b'(')?, stat.iter().rposition(|b| *b == b')')?);
        let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
        let rest = std::str::from_utf8(stat.get(close + 2..)?).ok()?;
        let mut words = rest.split(' ');
        let state = *words.next()?.as_bytes().first()?;
        let mut number = || words.next()?.parse::<i32>().ok();
        let (parent, _group, session) = (number()?, number()?, number()?);
        Some(Self { pid, name, state, parent, session })
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// Whether its environment says that it was started for the command that works in `sandbox`.
    fn bears(&self, sandbox: &Path) -> bool {
        let variable = marked(sandbox);
        let environment = fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    }

    fn label(&self) -> String {
        format!("{} ({})", self.name, self.pid)
    }
}

fn marked(sandbox: &Path) -> OsString {
    let mut variable = OsString::from(MARKER);
    variable.push("=");
    variable.push(sandbox);
    variable
}

/// The children of a process; of this one, those that no thread started, which is where orphans come to.
fn children(pid: Pid) -> Vec<Pid> {
    let own = pid == rustix::process::getpid();
    let folder = format!("/proc/{pid}/task");
    let threads = if own {
        vec![PathBuf::from(format!("{folder}/{pid}"))]
    } else {
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let mut found = Vec::new();
    for thread in threads {
        match fs::read_to_string(thread.join("children")) {
            Ok(list) => found.extend(
                list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)),
            ),
            // A kernel without these files: whoever names it as its parent.
            Err(_) if thread.exists() => {
                return all()
                    .filter(|other| other.parent == raw(pid))
                    .map(|other| other.pid)
                    .collect();
            }
            Err(_) => {}
        }
    }
    found
}

fn raw(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

/// All processes that can be looked at.
fn all() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Process::read(Pid::from_raw(pid)?)
    })
}

/// What is left of the command that `leader` led, with whether each is known to be of it. Orphans that have ended are reaped.
fn left_of(leader: &Leader) -> Vec<(Process, bool)> {
    let mut left = Vec::new();
    let me = rustix::process::getpid();
    for orphan in children(me) {
        let (is_leader, alone) = {
            let leaders = leaders();
            (leaders.contains_key(&raw(orphan)), leaders.len() <= 1)
        };
        if is_leader {
            continue;
        }
        let Some(process) = Process::read(orphan) else { continue };
        if process.parent != raw(me) {
            continue;
        }
        if process.has_ended() {
            if ADOPTS.load(Ordering::SeqCst) {
                // Nobody else waits for it.
                let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
            }
            continue;
        }
        let ours = process.session == raw(leader.pid) || process.bears(&leader.sandbox);
        let others = || {
            leaders().iter().any(|(pid, sandbox)| {
                *pid != raw(leader.pid) && (process.session == *pid || process.bears(sandbox))
            })
        };
        if !ours && (!ADOPTS.load(Ordering::SeqCst) || others()) {
            continue;
        }
        let mut open = vec![process];
        while let Some(process) = open.pop() {
            open.extend(children(process.pid).into_iter().filter_map(Process::read));
            if !process.has_ended() {
                left.push((process, ours || alone));
            }
        }
    }
    left
}

/// Ends what the command that `leader` led has left behind, now that it has ended itself.
pub(crate) fn end_left_of(leader: &Leader, interrupt: &Interrupt) -> LeftBehind {
    let mut told = LeftBehind::default();
    let mut began: Option<Instant> = None;
    let mut asked = BTreeSet::new();
    loop {
        let left = left_of(leader);
        told.alive = left.iter().map(|(process, _)| process.label()).collect();
        if left.is_empty() {
            return told;
        }
        let waited = began.get_or_insert_with(Instant::now).elapsed();
        if waited > GRACE + PATIENCE || left.iter().all(|(_, ours)| !ours) {
            told.ended.retain(|label| !told.alive.contains(label));
            return told;
        }
        let kill = waited > GRACE || interrupt.is_urgent();
        for (process, _) in left.iter().filter(|(_, ours)| *ours) {
            told.ended.insert(process.label());
            if kill {
                let _ = kill_process(process.pid, Signal::KILL);
            } else if asked.insert(raw(process.pid)) {
                // Who is stopped can't end until it goes on.
                let _ = kill_process(process.pid, Signal::TERM);
                let _ = kill_process(process.pid, Signal::CONT);
            }
        }
        thread::sleep(if waited < Duration::from_millis(50) {
            Duration::from_millis(2)
        } else {
            Duration::from_millis(20)
        });
    }
}

/// Ends the processes of commands whose owner is dead and that worked in the folder `sandbox`; whether none is left.
pub(crate) fn end_all_in(sandbox: &Path) -> bool {
    let marked = marked(sandbox);
    let find = || -> Vec<Pid> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let found = entries.filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            // Of another user's processes nothing can be read.
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let bears = environment.split(|byte| *byte == 0).any(|one| one == marked.as_bytes());
            (bears && Process::read(pid).is_some_and(|process| !process.has_ended())).then_some(pid)
        });
        found.collect()
    };
    let began = Instant::now();
    loop {
        let left = find();
        if left.is_empty() {
            return true;
        }
        if began.elapsed() > GRACE + PATIENCE {
            return false;
        }
        let signal = if began.elapsed() > GRACE { Signal::KILL } else { Signal::TERM };
        for pid in left {
            match kill_process(pid, signal) {
                Err(Errno::PERM) => return false,
                _ => _ = kill_process(pid, Signal::CONT),
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}
