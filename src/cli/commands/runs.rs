//! The runs that are remembered, for the commands that look at them.

use jiff::{Timestamp, tz::TimeZone};
use pipe_engine::{
    NoRun, Registry,
    cache::{Cache, RunEntry, RunFile, Runs},
    find_run,
    graph::Pipeline,
};
use serde_json::{Value, json};

use crate::cli::{arguments::PipelineArguments, error::CommandError, printer::Printer, project};

/// The runs of one pipeline, newest first.
pub(crate) struct Remembered {
    pub(crate) pipeline: Pipeline,
    pub(crate) entries: Vec<RunEntry>,
    cache: Option<(Cache, Runs)>,
}

/// A run that was found and read.
pub(crate) struct FoundRun {
    pub(crate) entry: RunEntry,
    pub(crate) file: RunFile,
}

impl Remembered {
    /// The runs of the pipeline that `arguments` mean.
    pub(crate) fn open(
        arguments: &PipelineArguments,
        registry: &Registry,
    ) -> Result<Self, CommandError> {
        let pipeline = project::load(arguments, registry)?;
        let cache = project::existing_cache(&pipeline.cache)?;
        let cache = cache.map(|cache| {
            let runs = cache.runs(&pipeline.file);
            (cache, runs)
        });
        let entries = cache.as_ref().map_or(Ok(Vec::new()), |(_, runs)| runs.entries())?;
        Ok(Self { pipeline, entries, cache })
    }

    /// The cache and the runs in it. There are some when a run was found.
    pub(crate) fn cache(&self) -> Result<(&Cache, &Runs), CommandError> {
        let both = self.cache.as_ref().map(|(cache, runs)| (cache, runs));
        both.ok_or_else(|| no_run(&NoRun::None))
    }

    /// The run that `word` means.
    pub(crate) fn entry(&self, word: &str) -> Result<&RunEntry, CommandError> {
        find_run(&self.entries, word).map_err(|error| no_run(&error))
    }

    /// What the run that `word` means did.
    pub(crate) fn find(&self, word: &str) -> Result<FoundRun, CommandError> {
        self.read(self.entry(word)?)
    }

    pub(crate) fn read(&self, entry: &RunEntry) -> Result<FoundRun, CommandError> {
        let (_, runs) = self.cache()?;
        Ok(FoundRun { entry: entry.clone(), file: runs.read(entry)? })
    }

    /// The newest `most` runs. Those that can't be read don't count; they are warned of.
    pub(crate) fn newest(&self, most: usize, printer: Printer) -> Vec<FoundRun> {
        let (mut found, mut unread) = (Vec::new(), Vec::new());
        for entry in &self.entries {
            if found.len() == most {
                break;
            }
            match self.read(entry) {
                Ok(run) => found.push(run),
                Err(error) => unread.push(error),
            }
        }
        let count = unread.len();
        if let Some(first) = unread.into_iter().next() {
            printer.warning(first);
            if count > 1 {
                printer.warning(format_args!(
                    "{} more can't be read, and don't count as runs",
                    count - 1
                ));
            }
        }
        found
    }
}

impl FoundRun {
    /// The run as JSON: its file, its id, and whether it is pinned.
    pub(crate) fn json(&self) -> Result<Value, CommandError> {
        let mut run = serde_json::to_value(&self.file).map_err(CommandError::system)?;
        run["id"] = json!(self.entry.id);
        run["name"] = json!(self.entry.name);
        run["pinned"] = json!(self.entry.pinned);
        run["interrupted"] = json!(self.file.interrupted);
        Ok(run)
    }

    /// `run baseline (3f9a1c2b), 2026-11-23 23:10:04`.
    pub(crate) fn describe(&self) -> String {
        let when = local(&self.file.started);
        match &self.entry.name {
            Some(name) => format!("run {name} ({}), {when}", self.entry.id),
            None => format!("run {}, {when}", self.entry.id),
        }
    }
}

/// Why a word names no run, and what does.
fn no_run(error: &NoRun) -> CommandError {
    match error {
        NoRun::None => CommandError::wrong(error.to_string(), "`pipe run` makes the first one"),
        NoRun::Beyond { .. } => CommandError::wrong(error.to_string(), "`pipe log` lists them"),
        NoRun::Unknown { word, known } => {
            CommandError::no_such("run", word, known.iter().map(String::as_str))
        }
        NoRun::Ambiguous { candidates, .. } => {
            const MOST: usize = 8;
            let shown = candidates.iter().take(MOST).map(|entry| {
                let name = entry.name.as_ref().map(|name| format!("{name}, ")).unwrap_or_default();
                format!("`{}` ({name}{})", entry.id, local(&entry.ended))
            });
            let mut shown: Vec<String> = shown.collect();
            if candidates.len() > MOST {
                shown.push(format!("{} more", candidates.len() - MOST));
            }
            CommandError::wrong(error.to_string(), format!("there are {}", shown.join(", ")))
        }
    }
}

/// A time in UTC as the clock here shows it.
pub(crate) fn local(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => time.to_owned(),
    }
}
