//! How many commands run at the same time, in all stages of a run together.

use std::sync::{Condvar, Mutex, PoisonError};

/// Permits, of which each is held by one at a time.
#[derive(Debug)]
pub(crate) struct Permits {
    left: Mutex<usize>,
    given_back: Condvar,
}

/// A permit, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'p>(&'p Permits);

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        Self { left: Mutex::new(count), given_back: Condvar::new() }
    }

    /// Waits for a permit. Whoever is told to stop gives theirs back, so nobody waits for long then.
    pub(crate) fn take(&self) -> Permit<'_> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.given_back.wait_while(left, |left| *left == 0);
        *left.unwrap_or_else(PoisonError::into_inner) -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn no_more_hold_a_permit_than_there_are() {
        let (permits, holding, most) = (Permits::new(3), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _permit = permits.take();
                        most.fetch_max(
                            holding.fetch_add(1, Ordering::SeqCst) + 1,
                            Ordering::SeqCst,
                        );
                        thread::yield_now();
                        holding.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let most = most.into_inner();
        assert!((1..=3).contains(&most), "{most}");
    }
}
