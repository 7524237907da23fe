//! Bars for the stages that run, below the lines of those that ended: what a person sees on a terminal.

use std::{
    collections::HashMap,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pipe_engine::{Event, Observer, RunReport};

use super::{View, plain::Plain};

/// Draws bars on stderr, and leaves the lines to [`Plain`].
pub(crate) struct Progress {
    plain: Plain,
    bars: MultiProgress,
    running: Mutex<HashMap<String, ProgressBar>>,
}

impl Progress {
    pub(crate) fn new(plain: Plain) -> Self {
        Self { plain, bars: MultiProgress::new(), running: Mutex::default() }
    }

    fn start(&self, stage: &str) {
        let bar = self.bars.add(ProgressBar::no_length());
        let style = ProgressStyle::with_template("{spinner} {prefix}  {elapsed}  {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(stage.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.running().insert(stage.to_owned(), bar);
    }

    fn advance(&self, stage: &str, done: u64, total: u64, unit: &str) {
        let running = self.running();
        let Some(bar) = running.get(stage) else { return };
        if bar.length() != Some(total) {
            let template =
                "{spinner} {prefix}  {bar:24}  {human_pos} of {human_len} {msg}, {eta} left";
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_message(unit.to_owned());
            bar.set_length(total);
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.set_position(done);
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<String, ProgressBar>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Progress {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Started { stage, .. } => self.start(stage),
            Event::Progress { stage, done, total, unit } => {
                self.advance(stage, *done, *total, unit);
            }
            Event::Ended(report) => {
                let bar = self.running().remove(&report.name);
                if let Some(bar) = bar {
                    bar.finish_and_clear();
                }
                self.bars.suspend(|| self.plain.event(event));
            }
            Event::Planned { .. } => self.plain.event(event),
            Event::Waiting { .. }
            | Event::Warning { .. }
            | Event::Notice { .. }
            | Event::Printed { .. } => {
                self.bars.suspend(|| self.plain.event(event));
            }
        }
    }
}

impl View for Progress {
    fn finish(&self, report: &RunReport, placed: bool) -> io::Result<()> {
        if let Err(error) = self.bars.clear() {
            self.plain.printer().warning(format_args!("failed to clear the bars: {error}"));
        }
        self.plain.finish(report, placed)
    }
}
