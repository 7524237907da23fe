//! The same done to many things at once.

use std::{panic, sync::OnceLock, thread};

/// How many things a thread is started for at least.
const SHARE: usize = 128;

/// What `act` gives for each of the items, in their order; found by up to `threads` threads when there are many. They
/// are threads of its own, so that it never waits for what runs on a pool of threads.
pub(crate) fn map<'i, T: Sync, R: Send>(
    items: &'i [T],
    threads: usize,
    act: impl Fn(&'i T) -> R + Sync,
) -> Vec<R> {
    let shares = threads.min(items.len() / SHARE);
    if shares < 2 {
        return items.iter().map(act).collect();
    }
    let act = &act;
    let (first, rest) = items.split_at(items.len() / shares);
    thread::scope(|scope| {
        let rest: Vec<_> = rest
            .chunks(rest.len().div_ceil(shares - 1))
            .map(|items| scope.spawn(move || items.iter().map(act).collect::<Vec<R>>()))
            .collect();
        let mut done: Vec<R> = Vec::with_capacity(items.len());
        done.extend(first.iter().map(act));
        for thread in rest {
            done.extend(thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
        }
        done
    })
}

/// What `one` and `other` give, found at the same time if there is much to do for `many` things.
pub(crate) fn both<A, B: Send>(
    many: usize,
    one: impl FnOnce() -> A,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    if many < SHARE || processors() < 2 {
        return (one(), other());
    }
    thread::scope(|scope| {
        let other = scope.spawn(other);
        (one(), other.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
    })
}

/// How many threads the machine runs at the same time.
pub(crate) fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_kept_for_any_number_of_items_and_threads() {
        for count in [0, 1, 2 * SHARE - 1, 2 * SHARE, 3 * SHARE + 1, 10 * SHARE + 7] {
            let items: Vec<usize> = (0..count).collect();
            let expected: Vec<usize> = items.iter().map(|item| item + 1).collect();
            for threads in [0, 1, 2, 3, 7] {
                assert_eq!(map(&items, threads, |item| item + 1), expected, "{count}, {threads}");
            }
        }
    }
}
