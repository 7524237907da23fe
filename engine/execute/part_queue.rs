//! The parts of a stage, taken one by one by several threads. A part that somebody else computes is put aside for others, and
//! looked at again.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use crate::{
    base::interrupt::Interrupt,
    cache::wait::{LOOK, Waiting},
};

/// What came of a turn at a part.
pub(crate) enum PartTurn<P> {
    /// Its result is known, or there will be none.
    Ended,
    /// Somebody else computes it now; with what is known of it.
    Busy(P),
}

/// Which share of the parts is to be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// All, whoever computes them.
    All,
    /// Those that nobody else computes.
    Help,
}

/// A part that is taken.
pub(crate) struct Taken<P> {
    /// Its number.
    pub(crate) part: usize,
    /// What an earlier turn found out.
    pub(crate) plan: Option<P>,
    pub(crate) waiting: Waiting,
    /// Whether it is to be said who computes it.
    pub(crate) tells: bool,
}

/// A part that somebody else computes.
struct Aside<P> {
    plan: P,
    waiting: Waiting,
    /// When to look at it again.
    due: Instant,
}

struct Queue<P> {
    next: usize,
    aside: BTreeMap<usize, Aside<P>>,
    stopped: bool,
}

/// The parts that are left.
pub(crate) struct PartQueue<P> {
    count: usize,
    queue: Mutex<Queue<P>>,
}

impl<P> PartQueue<P> {
    /// All of `count` parts.
    pub(crate) fn new(count: usize) -> Self {
        let queue = Queue { next: 0, aside: BTreeMap::new(), stopped: false };
        Self { count, queue: Mutex::new(queue) }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<P>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets no more parts be taken.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
    }

    /// Gives each part to `turn`, as often as it needs, until there are none left to take; for a [share](Share::Help) only, until
    /// all that are left are computed by somebody else.
    pub(crate) fn serve(
        &self,
        interrupt: &Interrupt,
        share: Share,
        turn: impl Fn(&mut Taken<P>) -> PartTurn<P>,
    ) {
        while !interrupt.is_requested() {
            let mut taken = match self.take() {
                Ok(Some(taken)) => taken,
                Ok(None) => return,
                Err(_) if share == Share::Help => return,
                Err(due) => {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    continue;
                }
            };
            match catch_unwind(AssertUnwindSafe(|| turn(&mut taken))) {
                Ok(PartTurn::Ended) => {}
                Ok(PartTurn::Busy(plan)) => {
                    let Taken { part, waiting, .. } = taken;
                    let aside = Aside { plan, waiting, due: Instant::now() + LOOK };
                    self.lock().aside.insert(part, aside);
                }
                Err(panic) => {
                    self.stop();
                    resume_unwind(panic);
                }
            }
        }
    }

    /// The next part; none if there are none left. The error says when to ask again.
    fn take(&self) -> Result<Option<Taken<P>>, Instant> {
        let mut queue = self.lock();
        if queue.stopped {
            return Ok(None);
        }
        let now = Instant::now();
        let due = queue.aside.iter().find(|(_, aside)| aside.due <= now).map(|(part, _)| *part);
        if let Some(part) = due {
            // Of many that are waited for it is enough to name the first, when nothing else is done.
            let tells = queue.next == self.count && queue.aside.keys().next() == Some(&part);
            let aside = queue.aside.remove(&part);
            return Ok(aside.map(|Aside { plan, waiting, .. }| Taken {
                part,
                plan: Some(plan),
                waiting,
                tells,
            }));
        }
        if queue.next < self.count {
            let part = queue.next;
            queue.next += 1;
            return Ok(Some(Taken { part, plan: None, waiting: Waiting::new(), tells: false }));
        }
        match queue.aside.values().map(|aside| aside.due).min() {
            Some(due) => Err(due),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn parts_that_are_busy_come_again_after_the_others() {
        let queue = PartQueue::new(4);
        let order = Mutex::new(Vec::new());
        queue.serve(&Interrupt::new(), Share::All, |taken| {
            order.lock().unwrap().push((taken.part, taken.plan));
            match (taken.part, taken.plan) {
                (1, None) => PartTurn::Busy(7),
                _ => PartTurn::Ended,
            }
        });
        assert_eq!(
            *order.lock().unwrap(),
            [(0, None), (1, None), (2, None), (3, None), (1, Some(7))]
        );
    }

    #[test]
    fn nothing_is_taken_after_a_stop_or_a_panic() {
        let turns = AtomicUsize::new(0);
        let queue = PartQueue::<()>::new(9);
        queue.serve(&Interrupt::new(), Share::All, |_| {
            turns.fetch_add(1, Ordering::Relaxed);
            queue.stop();
            PartTurn::Ended
        });
        assert_eq!(turns.into_inner(), 1);
        let queue = PartQueue::<()>::new(9);
        let serve = || queue.serve(&Interrupt::new(), Share::All, |_| panic!("as it should"));
        assert!(catch_unwind(AssertUnwindSafe(serve)).is_err());
        assert!(matches!(queue.take(), Ok(None)));
    }
}
