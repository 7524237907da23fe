//! `kind: command`: any program as a stage.
//!
//! A command runs in a fresh folder in which its declared files stand at their own paths; its inputs and outputs are
//! elsewhere, and it learns where through placeholders. What it prints is kept.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
};

use rustix::process::Pid;
use serde_json::Value;
use thiserror::Error;

use crate::{
    cache::{Cache, CacheError, Staged, Staging},
    child::{self, End},
    descendants::{Leader, MARKER},
    digest::Digest,
    encoding::Json,
    entry::Entry,
    interrupt::{Interrupt, Interrupted},
    pipeline::{Command, ForEach, Piece, Run, Template},
    place::PlaceError,
    printed::Printed,
    sandbox::{Furniture, Sandbox},
    source::{Source, SourceError},
    take::{TakeError, Taking},
    tree::Tree,
};

/// Raised when what a command's declaration means changes.
pub(crate) const REVISION: u32 = 1;
/// The name of the kind.
pub(crate) const KIND: &str = "command";

/// What goes wrong with a command.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// It can't be started.
    #[error("failed to start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// It ended badly.
    #[error("the command {}{}", how(*.0), out_of_memory(*.0))]
    Exit(ExitStatus),
    /// It didn't write an output that it declares.
    #[error("the command exited with code 0, but did not write its output `{0}`")]
    Output(String),
    /// One of the two above, when no more could be written where it worked.
    #[error(
        "{how}; what it said may be lost, since nothing can be written to the cache `{}` now",
        cache.display()
    )]
    NoRoom {
        /// How it failed.
        how: Box<CommandError>,
        /// The cache in which it worked.
        cache: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It wrote to an input.
    #[error(
        "the command changed its input `{0}`, whose content others rely on; let it work on a copy"
    )]
    Input(String),
    /// The folder in which it worked isn't ours any more.
    #[error("somebody else has put another folder in the place of `{}`, where the command worked", .0.display())]
    Displaced(PathBuf),
    /// A file that it works with can't be prepared.
    #[error("failed to prepare `{}`", path.display())]
    Prepare {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An input can't be placed.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A file of the user's can't be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What it wrote is no artifact.
    #[error(transparent)]
    Take(TakeError),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// It was stopped.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<TakeError> for CommandError {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Cache(error) => Self::Cache(error),
            TakeError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            error => Self::Take(error),
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// What tells that the system may have ended a program for want of memory. A shell exits with 137 when its program was killed.
fn out_of_memory(status: ExitStatus) -> &'static str {
    if status.signal() == Some(9) || status.code() == Some(137) {
        "; the system does that to programs when memory runs out: see `dmesg`, and try fewer jobs (`-j`)"
    } else {
        ""
    }
}

/// What a command's fingerprint depends on besides its inputs.
pub(crate) fn canonical<'a>(command: &'a Command, files: &'a BTreeMap<String, Source>) -> Json<'a> {
    let one = |key, value| Json::object([(key, value)]);
    let piece = |piece: &'a Piece| match piece {
        Piece::Text(text) => Json::text(text),
        Piece::Config(path) => one("config", path.iter().map(|key| Json::text(key)).collect()),
        Piece::Input(name) => one("input", Json::text(name)),
        Piece::Output(name) => one("output", Json::text(name)),
        Piece::Item(word) => one("item", word.as_deref().map_or(Json::Null, Json::text)),
    };
    let template = |template: &'a Template| template.pieces().iter().map(piece).collect();
    let digest = |source: &Source| Json::Text(source.tree.digest().hex().into());
    let files = files.iter().map(|(name, source)| (name.as_str(), digest(source)));
    let variable = |name: &'a String| {
        let value = std::env::var_os(name);
        let value = value.map(|value| Json::Text(value.to_string_lossy().into_owned().into()));
        (name.as_str(), value.unwrap_or(Json::Null))
    };
    let for_each = command.for_each.as_ref().map(|ForEach { input, paths }| {
        let paths = paths.iter().map(|(name, path)| (name.as_str(), template(path)));
        Json::object([("input", Json::text(input)), ("paths", Json::object(paths))])
    });
    let run = match &command.run {
        Run::Words(words) => one("words", words.iter().map(template).collect()),
        Run::Shell(line) => one("shell", template(line)),
    };
    let outputs = command.outputs.iter().map(|name| Json::text(name)).collect();
    let entries = [
        ("config", Some(Json::Value(Cow::Borrowed(&command.config)))),
        ("env", Some(Json::object(command.env.iter().map(variable)))),
        ("files", Some(Json::object(files))),
        ("for_each", for_each),
        ("outputs", Some(outputs)),
        ("run", Some(run)),
    ];
    Json::object(entries.into_iter().filter_map(|(key, value)| Some((key, value?))))
}

/// The entry of an input for which a command runs.
pub(crate) struct Item<'a> {
    pub(crate) entry: &'a Entry,
    /// Where what is made of it stands in each output.
    pub(crate) paths: BTreeMap<&'a str, String>,
}

/// What a command made.
pub(crate) struct Made {
    pub(crate) outputs: BTreeMap<String, (Tree, Vec<Staged>)>,
    pub(crate) log: Log,
}

/// What a command printed.
pub(crate) enum Log {
    Staged(Staged),
    /// A blob that is in the cache, and its size.
    Held(Digest, u64),
}

/// What it takes to run a command.
pub(crate) struct Execution<'a> {
    /// What its sandbox is called.
    pub(crate) name: &'a str,
    pub(crate) furniture: Furniture<'a>,
    pub(crate) staging: &'a Arc<Staging>,
    pub(crate) interrupt: &'a Interrupt,
    /// Told what is not as it should be, and was dealt with.
    pub(crate) warn: &'a (dyn Fn(&str) + Sync),
    /// Told what the command prints while it runs, if somebody wants to know.
    pub(crate) tell: Option<&'a (dyn Fn(&str) + Sync)>,
    /// Told where the command works, and where what it prints is, when it begins.
    pub(crate) began: &'a (dyn Fn(&Path) + Sync),
}

/// What a command that failed had printed.
#[derive(Debug, Default)]
pub(crate) struct FailedLog {
    /// The end of it.
    pub(crate) tail: String,
    /// All of it, in the cache.
    pub(crate) blob: Option<(Digest, u64)>,
}

/// Runs a command. When it fails, the second part is what it printed.
pub(crate) fn run(execution: &Execution<'_>) -> Result<Made, Box<(CommandError, FailedLog)>> {
    let Execution { name, furniture, staging, .. } = execution;
    let Furniture { inputs, cache, .. } = furniture;
    let mut sandbox = Sandbox::new(name, furniture, staging)
        .map_err(|error| Box::new((error, FailedLog::default())))?;
    let ended = execute(execution, &mut sandbox);
    let made = ended
        .and_then(|()| sandbox.check_inputs(inputs, cache))
        .and_then(|()| collect(execution, &sandbox))
        .map_err(|error| judge_room(error, &sandbox, cache));
    let made = made.map_err(|error| Box::new((error, failed_log(&sandbox, staging))));
    sandbox.clear();
    made
}

/// What a command that failed had printed. It is kept as far as the cache takes it.
fn failed_log(sandbox: &Sandbox, staging: &Staging) -> FailedLog {
    let tail = sandbox.printed.tail();
    if tail.is_empty() {
        return FailedLog::default();
    }
    let staged = sandbox.printed.stage(staging, sandbox.haunted);
    let blob = staged.and_then(|log| staging.publish_blob(&log)).ok();
    FailedLog { tail, blob }
}

/// What a command prints goes to the disk that it works on, so when that is full its own words may be lost: then that is
/// said.
fn judge_room(error: CommandError, sandbox: &Sandbox, cache: &Cache) -> CommandError {
    if !matches!(error, CommandError::Exit(_) | CommandError::Output(_)) {
        return error;
    }
    match sandbox.try_room() {
        Ok(()) => error,
        Err(source) => {
            CommandError::NoRoom { how: Box::new(error), cache: cache.root().to_owned(), source }
        }
    }
}

/// The value of the config to which the keys of a placeholder lead, as a program reads it.
pub(crate) fn config_value(command: &Command, path: &[String]) -> String {
    scalar(path.iter().fold(&command.config, |value, key| &value[key.as_str()]))
}

fn fill(
    template: &Template,
    command: &Command,
    entry: Option<&Entry>,
    sandbox: &Sandbox,
    quote: bool,
) -> String {
    let mut text = String::new();
    for piece in template.pieces() {
        let value = match piece {
            Piece::Text(literal) => {
                text.push_str(literal);
                continue;
            }
            Piece::Config(path) => config_value(command, path),
            // It was looked up before, when nothing had run yet.
            Piece::Item(word) => entry
                .and_then(|entry| entry.value(word.as_deref()))
                .map(Cow::into_owned)
                .unwrap_or_default(),
            Piece::Input(name) => {
                sandbox.inputs.get(name).map(|path| path.display().to_string()).unwrap_or_default()
            }
            Piece::Output(name) => {
                sandbox.outputs.get(name).map(|path| path.display().to_string()).unwrap_or_default()
            }
        };
        if quote {
            // Only a NUL can't be quoted, and YAML has none.
            text.push_str(&shlex::try_quote(&value).unwrap_or_default());
        } else {
            text.push_str(&value);
        }
    }
    text
}

/// A config value as a program reads it.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Runs the command, and ends what it leaves behind.
fn execute(execution: &Execution<'_>, sandbox: &mut Sandbox) -> Result<(), CommandError> {
    let Execution { furniture, interrupt, warn, tell, began, .. } = execution;
    let Furniture { command, item, .. } = furniture;
    let entry = item.map(|item| item.entry);
    let words = match &command.run {
        Run::Words(words) => {
            words.iter().map(|word| fill(word, command, entry, sandbox, false)).collect()
        }
        Run::Shell(line) => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), fill(line, command, entry, sandbox, true)]
        }
    };
    let folder = sandbox.folder().to_owned();
    let prepare = |source| CommandError::Prepare { path: folder.join("log"), source };
    let program = words.first().cloned().unwrap_or_default();
    // A path with a slash is taken from the command's folder, as its files stand there.
    let mut process = std::process::Command::new(&program);
    process
        .args(&words[1..])
        .current_dir(&sandbox.work)
        .env("PWD", &sandbox.work)
        .env(MARKER, &folder)
        .stdin(Stdio::null())
        .stdout(sandbox.printed.stream().map_err(prepare)?)
        .stderr(sandbox.printed.stream().map_err(prepare)?);
    if !sandbox.is_own() {
        return Err(CommandError::Displaced(folder));
    }
    let start = |source| CommandError::Start { program, source };
    let mut child = match pipe_child::spawn(&mut process) {
        Ok(child) => child,
        Err(source) => return Err(start(source)),
    };
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.unwrap_or_else(|| unreachable!("a process has a number above 0"));
    let leader = Leader::new(pid, &folder);
    began(&folder);
    let mut ticks = 0_u32;
    let mut hear = |printed: &mut Printed, ended: bool| {
        // What is told waits for the end of its line; how long it has become is looked at more rarely.
        if let Some(tell) = tell {
            let news = printed.news(ended);
            if !news.is_empty() {
                tell(&news);
            }
        }
        ticks += 1;
        if ticks.is_multiple_of(16) {
            printed.limit();
        }
    };
    let ended = child::wait(&mut child, &leader, interrupt, || hear(&mut sandbox.printed, false));
    let End { status, stopped, left } = ended.map_err(start)?;
    hear(&mut sandbox.printed, true);
    sandbox.haunted = !left.is_closed();
    let list = |processes: &BTreeSet<String>| {
        let all: Vec<&str> = processes.iter().map(String::as_str).collect();
        all.join(", ")
    };
    if !left.ended.is_empty() {
        warn(&format!(
            "the command left processes behind, which were ended: {}",
            list(&left.ended)
        ));
    }
    if !left.alive.is_empty() {
        warn(&format!(
            "the command left processes behind, which could not be ended: {}; what it made is copied",
            list(&left.alive)
        ));
    }
    if stopped {
        Err(Interrupted.into())
    } else if !status.success() {
        Err(CommandError::Exit(status))
    } else if sandbox.is_own() {
        Ok(())
    } else {
        Err(CommandError::Displaced(folder))
    }
}

fn collect(execution: &Execution<'_>, sandbox: &Sandbox) -> Result<Made, CommandError> {
    let Execution { furniture, staging, interrupt, .. } = execution;
    let taking = Taking {
        sandbox: sandbox.folder(),
        inputs: furniture.inputs,
        places: &sandbox.inputs,
        alone: !sandbox.haunted,
        staging,
        interrupt,
    };
    let mut outputs = BTreeMap::new();
    for name in &furniture.command.outputs {
        let path = &sandbox.outputs[name];
        let meta = fs::symlink_metadata(path).map_err(|_| CommandError::Output(name.clone()))?;
        outputs.insert(name.clone(), taking.take(name, path, &meta, sandbox.holds(path))?);
    }
    Ok(Made { outputs, log: take_log(sandbox, furniture.cache, staging)? })
}

/// Stages what a command printed, unless it printed nothing and the cache has that already.
fn take_log(sandbox: &Sandbox, cache: &Cache, staging: &Staging) -> Result<Log, CommandError> {
    let prepare = |source| CommandError::Prepare { path: sandbox.folder().join("log"), source };
    if sandbox.printed.len().map_err(prepare)? == 0 {
        let nothing = Digest::of(b"");
        return Ok(if cache.holds_blob(nothing, 0) {
            Log::Held(nothing, 0)
        } else {
            Log::Staged(staging.write(b"")?)
        });
    }
    Ok(Log::Staged(sandbox.printed.stage(staging, sandbox.haunted)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        Registry,
        cache::Memo,
        pipeline::{Task, load_text},
        source::{Detail, Reading},
        workspace::Scope,
    };

    #[test]
    fn all_that_a_declaration_means_is_in_its_canonical_form() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data"), "x").unwrap();
        let text = "stages:\n  all:\n    kind: command\n    inputs: {d: {file: data}}\n    for_each: d\n    \
                    files: [data]\n    env: [PIPE_NO_SUCH_VARIABLE]\n    config: {b: 1, a: {c: x}}\n    \
                    outputs: {o: '{item.stem}.txt'}\n    \
                    run: tool --c={config.a.c} {item} {inputs.d} {outputs.o}\n  shell:\n    kind: command\n    \
                    shell: true\n    outputs: [o]\n    run: echo > {outputs.o}\n";
        let file = folder.path().join("pipeline.yaml");
        let pipeline = load_text(&file, text.to_owned(), &[], &Registry::new());
        let pipeline = pipeline.unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let forms = pipeline.stages.iter().map(|node| {
            let Task::Command(command) = &node.task else { panic!("{node:?}") };
            let interrupt = Interrupt::new();
            let read = |path: &Path| {
                let reading = Reading::Yes(&interrupt);
                Source::read(path, &Scope::default(), Detail::All, &Memo::none(), reading).unwrap()
            };
            let files = command.files.iter().map(|file| (file.written.clone(), read(&file.path)));
            Value::from(canonical(command, &files.collect()))
        });
        let data = Tree::single(Digest::of(b"x"), 1).digest();
        let all = json!({
            "config": {"a": {"c": "x"}, "b": 1},
            "env": {"PIPE_NO_SUCH_VARIABLE": null},
            "files": {"data": data},
            "for_each": {"input": "d", "paths": {"o": [{"item": "stem"}, ".txt"]}},
            "outputs": ["o"],
            "run": {"words": [["tool"], ["--c=", {"config": ["a", "c"]}], [{"item": null}], [{"input": "d"}],
                [{"output": "o"}]]},
        });
        let shell = json!({
            "config": {}, "env": {}, "files": {}, "outputs": ["o"],
            "run": {"shell": ["echo > ", {"output": "o"}]},
        });
        assert_eq!(forms.collect::<Vec<_>>(), [all, shell]);
    }
}
