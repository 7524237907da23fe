//! What a stage of a run under way prints, as it prints it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
    thread,
    time::Duration,
};

use crate::cli::{commands::runs::Remembered, error::CommandError, printer::Printer, text};

/// How often it is looked for more.
const PAUSE: Duration = Duration::from_millis(200);
/// No more of a line is shown at once, in bytes.
const LONGEST: u64 = 1 << 16;

/// Prints the lines of `text`, without what would control a terminal.
pub(super) fn show(text: &mut impl BufRead, printer: Printer) -> Result<(), CommandError> {
    let mut piece = Vec::new();
    loop {
        let read =
            text.by_ref().take(LONGEST).read_until(b'\n', &mut piece).map_err(|error| {
                CommandError::system(format!("failed to read the log: {error}"))
            })?;
        if read == 0 && piece.is_empty() {
            return Ok(());
        }
        // The beginning of a character waits for the rest of it.
        let whole = match str::from_utf8(&piece) {
            Err(error) if read > 0 && error.error_len().is_none() => error.valid_up_to(),
            _ => piece.len(),
        };
        let line = String::from_utf8_lossy(&piece[..whole]).into_owned();
        piece.drain(..whole);
        let end = if line.ends_with('\n') || read == 0 { "\n" } else { "" };
        printer.piece(format_args!("{}{end}", text::plain(line.trim_end_matches('\n'))))?;
    }
}

/// Prints what the commands of the stage `name` print until it ends. Whether it is under way at all.
pub(super) fn follow(
    remembered: &Remembered,
    name: &str,
    printer: Printer,
) -> Result<bool, CommandError> {
    let Ok((cache, _)) = remembered.cache() else { return Ok(false) };
    let mut seen: BTreeMap<PathBuf, (File, u64)> = BTreeMap::new();
    let mut any = false;
    loop {
        let runs = cache.under_way(&remembered.pipeline.file)?;
        let stages: Vec<_> =
            runs.iter().flat_map(|run| &run.stages).filter(|stage| stage.name == name).collect();
        any |= !stages.is_empty();
        for log in stages.iter().flat_map(|stage| stage.logs()) {
            // One of another user's can't be read.
            if let Ok(file) = File::open(&log) {
                seen.entry(log).or_insert((file, 0));
            }
        }
        for (file, told) in seen.values_mut() {
            let mut bytes = Vec::new();
            let read = file
                .seek(SeekFrom::Start(*told))
                .and_then(|_| file.take(LONGEST).read_to_end(&mut bytes));
            if read.is_err() {
                continue;
            }
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let end = if stages.is_empty() || whole == 0 && bytes.len() as u64 == LONGEST {
                bytes.len()
            } else {
                whole
            };
            *told += end as u64;
            show(&mut &bytes[..end], printer)?;
        }
        if stages.is_empty() {
            return Ok(any);
        }
        thread::sleep(PAUSE);
    }
}
