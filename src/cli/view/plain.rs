//! A line for each stage, in the pipeline's order: what comes out where there is no terminal.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Mutex, PoisonError},
};

use pipe_engine::{Event, Observer, Outcome, RunReport, StageReport};

use super::{Detail, View, line};
use crate::cli::{printer::Printer, text};

/// Prints lines. A stage's line is held back until those before it ended, so that the order is always the same.
pub(crate) struct Plain {
    detail: Detail,
    printer: Printer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The place of each name in the order.
    places: HashMap<String, usize>,
    width: usize,
    /// Stages that ended before their turn.
    held: BTreeMap<usize, StageReport>,
    /// How many lines were printed.
    printed: usize,
    /// Why stdout can't be written.
    broken: Option<io::Error>,
}

impl Plain {
    pub(crate) fn new(detail: Detail, printer: Printer) -> Self {
        Self { detail, printer, state: Mutex::default() }
    }

    pub(super) fn printer(&self) -> Printer {
        self.printer
    }

    fn ended(&self, report: &StageReport) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(&place) = state.places.get(&report.name) else { return };
        if place == state.printed {
            self.next(&mut state, report);
        } else {
            state.held.insert(place, report.clone());
        }
        while let Some(report) = {
            let next = state.printed;
            state.held.remove(&next)
        } {
            self.next(&mut state, &report);
        }
    }

    /// Shows the stage whose turn it is.
    fn next(&self, state: &mut State, report: &StageReport) {
        state.printed += 1;
        if let Err(error) = self.show(report, state.width) {
            state.broken.get_or_insert(error);
        }
    }

    fn show(&self, report: &StageReport, width: usize) -> io::Result<()> {
        let mut shown = Ok(());
        if !self.detail.quiet {
            let mut text = line::stage(report, width, self.detail.verbose);
            if self.detail.verbose {
                for line in line::digests(report) {
                    text.push('\n');
                    text.push_str(&line);
                }
            }
            shown = self.printer.block(text);
        }
        if let (Outcome::Failed, Some(failure)) = (report.outcome, &report.error) {
            self.printer.error(line::failure(&report.name, failure));
        }
        shown
    }
}

impl Observer for Plain {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Planned { stages } => {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.places =
                    stages.iter().enumerate().map(|(i, name)| ((*name).to_owned(), i)).collect();
                state.width = line::name_width(stages.iter().copied());
            }
            Event::Waiting { stage, wait } if !self.detail.quiet => {
                self.printer.message(line::waits(stage, wait));
            }
            Event::Warning { stage, message } if !self.detail.quiet => {
                self.printer.warning(format_args!("stage `{stage}`: {message}"));
            }
            Event::Printed { stage, text } if !self.detail.quiet => {
                for line in text.lines() {
                    self.printer.message(format_args!("{stage} | {}", text::plain(line)));
                }
            }
            Event::Notice { message } if !self.detail.quiet => self.printer.warning(message),
            Event::Ended(report) => self.ended(report),
            _ => {}
        }
    }
}

impl View for Plain {
    fn finish(&self, report: &RunReport, placed: bool) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.broken.take() {
            return Err(error);
        }
        if self.detail.quiet {
            return Ok(());
        }
        let place = if placed { "; see out/" } else { "" };
        self.printer.result(format_args!("{}{place}", line::summary(report)))
    }
}
