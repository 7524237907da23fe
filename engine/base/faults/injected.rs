//! The fault that a test asks for.

use std::{
    io,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::io::Errno;

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// A step fails.
    Error(Errno),
    /// The process ends.
    Kill,
    /// The process ends, and what isn't durable is lost.
    Cut,
    /// There are no locks.
    NoLocks,
}

/// A fault that a test asks for.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) effect: Effect,
    /// The number of the step.
    at: u64,
    /// Whether all steps after it fail too.
    ever_after: bool,
    /// What a path must hold to be counted.
    part: String,
    steps: AtomicU64,
}

impl Fault {
    fn parse(text: &str) -> Option<Self> {
        let (how, rest) = text.split_once('@')?;
        let (at, part) = rest.split_once(':').unwrap_or((rest, ""));
        let effect = match how {
            "kill" => Effect::Kill,
            "cut" => Effect::Cut,
            "ENOSPC" => Effect::Error(Errno::NOSPC),
            "EIO" => Effect::Error(Errno::IO),
            "EROFS" => Effect::Error(Errno::ROFS),
            "ENOLCK" => Effect::NoLocks,
            _ => return None,
        };
        let ever_after = at.ends_with('+');
        let at = at.trim_end_matches('+').parse().ok()?;
        let part = part.to_owned();
        Some(Self { effect, at, ever_after, part, steps: AtomicU64::new(0) })
    }

    pub(super) fn locks(&self) -> bool {
        self.effect == Effect::NoLocks
    }

    /// Ends the process, if that is what the fault does; else gives the error.
    pub(super) fn strike(&self) -> io::Error {
        match self.effect {
            Effect::Error(error) => error.into(),
            Effect::NoLocks => Errno::NOLCK.into(),
            Effect::Kill => kill(),
            Effect::Cut => {
                super::volatile::lose(&self.part);
                kill()
            }
        }
    }

    pub(super) fn hits(&self, path: &Path) -> bool {
        if !path.to_string_lossy().contains(&self.part) {
            return false;
        }
        let step = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
        step == self.at || (self.ever_after && step > self.at)
    }
}

/// Ends this process without a word.
fn kill() -> ! {
    loop {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

pub(super) fn fault() -> Option<&'static Fault> {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    let read = || {
        let text = std::env::var("PIPE_FAULT").ok()?;
        Some(Fault::parse(&text).unwrap_or_else(|| panic!("PIPE_FAULT={text} is not understood")))
    };
    FAULT.get_or_init(read).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_hit_where_they_should() {
        let one = Fault::parse("ENOSPC@2:cache").unwrap();
        let hits: Vec<bool> = ["cache/a", "out/b", "cache/c", "cache/d"]
            .iter()
            .map(|path| one.hits(Path::new(path)))
            .collect();
        assert_eq!(hits, [false, false, true, false]);
        let all = Fault::parse("kill@1+").unwrap();
        assert!(all.hits(Path::new("x")) && all.hits(Path::new("y")));
        assert_eq!(Fault::parse("cut@3").unwrap().effect, Effect::Cut);
        assert!(Fault::parse("ENOSPC").is_none() && Fault::parse("EWHAT@1").is_none());
    }
}
