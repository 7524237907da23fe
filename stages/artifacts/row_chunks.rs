//! Work on rows, chunk by chunk, on all threads.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use pipe_engine::{StageContext, StageError};
use rayon::prelude::*;

use crate::artifacts::{CHUNK_ROWS, chunks};

/// Calls `step` with the number and the rows of every chunk of `rows` rows, many at a time.
///
/// `step` must be a pure function of the chunk, so that neither order nor threads matter. Progress is
/// reported in spectra; between chunks, the stage can be interrupted.
pub(crate) fn for_each_chunk(
    context: &StageContext<'_>,
    rows: u64,
    step: impl Fn(u64, Range<u64>) -> Result<(), StageError> + Sync,
) -> Result<(), StageError> {
    for_each_chunk_with(context, rows, || Ok(()), |(), chunk, rows| step(chunk, rows))
}

/// As [`for_each_chunk`], for a `step` that needs something of its own on every thread, such as an
/// open file, which `open` makes.
pub(crate) fn for_each_chunk_with<T>(
    context: &StageContext<'_>,
    rows: u64,
    open: impl Fn() -> Result<T, StageError> + Sync,
    step: impl Fn(&mut T, u64, Range<u64>) -> Result<(), StageError> + Sync,
) -> Result<(), StageError> {
    let done = AtomicU64::new(0);
    context.progress(0, rows, "spectra");
    chunks(rows).into_par_iter().try_for_each_init(
        || None,
        |own: &mut Option<T>, range| {
            context.check_interrupt()?;
            let count = range.end - range.start;
            let own = match own {
                Some(own) => own,
                None => own.insert(open()?),
            };
            step(own, range.start / CHUNK_ROWS, range)?;
            let done = done.fetch_add(count, Ordering::Relaxed) + count;
            context.progress(done, rows, "spectra");
            Ok(())
        },
    )
}
