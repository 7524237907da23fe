//! `kind: command`: any program as a stage.
//!
//! A command runs in a fresh folder in which its declared files stand at their own paths; its inputs and outputs are
//! elsewhere, and it learns where through placeholders. What it prints is kept.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use rustix::process::Pid;
use serde_json::Value;

use super::{
    child::{self, End},
    command_error::CommandError,
    item::Item,
    printed::Printed,
    sandbox::{Furniture, Sandbox},
    take::Taking,
};
use crate::{
    base::{
        descendants::{Leader, MARKER},
        digest::Digest,
        interrupt::{Interrupt, Interrupted},
        tree::Tree,
    },
    cache::{Cache, CacheError, Staged, Staging},
    graph::{Command, Piece, Run, Template, environment},
};

/// What a command made.
pub(crate) struct CommandResult {
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
pub(crate) fn run_command(
    execution: &Execution<'_>,
) -> Result<CommandResult, Box<(CommandError, FailedLog)>> {
    let Execution { name, furniture, staging, .. } = execution;
    let Furniture { inputs, cache, .. } = furniture;
    let mut sandbox = Sandbox::new(name, furniture, staging)
        .map_err(|error| Box::new((error, FailedLog::default())))?;
    let ended = supervise(execution, &mut sandbox);
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
    if !matches!(error, CommandError::Exit { .. } | CommandError::Output(_)) {
        return error;
    }
    match sandbox.try_room() {
        Ok(()) => error,
        Err(source) => {
            CommandError::NoRoom { how: Box::new(error), cache: cache.root().to_owned(), source }
        }
    }
}

/// Whether the keys of a placeholder lead to a number or a truth value.
fn is_plain(command: &Command, path: &[String]) -> bool {
    let value = path.iter().fold(&command.config, |value, key| &value[key.as_str()]);
    matches!(value, Value::Number(_) | Value::Bool(_))
}

/// The value of the config to which the keys of a placeholder lead, as a program reads it.
pub(crate) fn config_value(command: &Command, path: &[String]) -> String {
    scalar(path.iter().fold(&command.config, |value, key| &value[key.as_str()]))
}

/// What the placeholders of a command stand for.
struct Values<'a> {
    command: &'a Command,
    item: Option<&'a Item>,
    sandbox: &'a Sandbox,
}

impl Values<'_> {
    /// What `piece` stands for; none for text.
    fn value(&self, piece: &Piece) -> Result<Option<OsString>, CommandError> {
        let path = |paths: &BTreeMap<String, PathBuf>, name: &str| {
            paths.get(name).map(|path| path.clone().into_os_string()).unwrap_or_default()
        };
        let (value, placeholder) = match piece {
            Piece::Text(_) => return Ok(None),
            Piece::Input(name) => return Ok(Some(path(&self.sandbox.inputs, name))),
            Piece::Output(name) => return Ok(Some(path(&self.sandbox.outputs, name))),
            Piece::Config(keys) => {
                (config_value(self.command, keys), format!("config.{}", keys.join(".")))
            }
            // It was looked up before, when nothing had run yet.
            Piece::Item(word) => {
                let value = self.item.and_then(|entry| entry.value(word.as_deref()));
                let word = word.as_deref().map(|word| format!(".{word}")).unwrap_or_default();
                (value.map(Cow::into_owned).unwrap_or_default(), format!("item{word}"))
            }
        };
        if value.contains('\0') {
            let item = self.item.map(|entry| entry.name.clone());
            return Err(CommandError::Nul { placeholder, item });
        }
        Ok(Some(value.into()))
    }

    /// One word of a command line.
    fn word(&self, template: &Template) -> Result<OsString, CommandError> {
        let mut word = OsString::new();
        for piece in template.pieces() {
            match (piece, self.value(piece)?) {
                (Piece::Text(text), _) => word.push(text),
                (_, value) => word.push(value.unwrap_or_default()),
            }
        }
        Ok(word)
    }

    /// A script for a shell, and the variables that it reads: a value is never a part of the script, so nothing in it is ever
    /// taken for one.
    fn script(
        &self,
        template: &Template,
    ) -> Result<(String, Vec<(String, OsString)>), CommandError> {
        let (mut script, mut variables) = (String::new(), Vec::new());
        for piece in template.pieces() {
            match (piece, self.value(piece)?) {
                (Piece::Text(text), _) => script.push_str(text),
                // A number is one wherever it stands, also where the shell calculates.
                (Piece::Config(keys), Some(value)) if is_plain(self.command, keys) => {
                    script.push_str(&value.to_string_lossy());
                }
                (_, value) => {
                    let name = format!("PIPE_VALUE_{}", variables.len() + 1);
                    script.extend(["\"${", &name, "}\""]);
                    variables.push((name, value.unwrap_or_default()));
                }
            }
        }
        Ok((script, variables))
    }
}

/// The variables that a command that failed was not given, first those that its last words name.
fn withheld(command: &Command, said: &str) -> Vec<String> {
    let mut names: Vec<String> = environment::withheld(&command.environment).into_iter().collect();
    names.sort_by_key(|name| !said.contains(name.as_str()));
    names
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
fn supervise(execution: &Execution<'_>, sandbox: &mut Sandbox) -> Result<(), CommandError> {
    let Execution { furniture, interrupt, warn, tell, began, .. } = execution;
    let Furniture { command, item, .. } = furniture;
    let values = Values { command, item: item.map(|placed| placed.item), sandbox };
    let (words, variables) = match &command.run {
        Run::Words(words) => {
            let words =
                words.iter().map(|word| values.word(word)).collect::<Result<Vec<_>, _>>()?;
            (words, Vec::new())
        }
        Run::Shell { interpreter, strict, script } => {
            let (mut script, variables) = values.script(script)?;
            if *strict && !interpreter.iter().any(|word| word == "pipefail") {
                // Not to know it is no error of the script's.
                script.insert_str(0, "command set -o pipefail 2>/dev/null || :\n");
            }
            let words = interpreter.iter().map(OsString::from).chain([script.into()]);
            (words.collect(), variables)
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
        .env_clear()
        .envs(environment::passed(&command.environment))
        .envs(variables)
        .env("PWD", &sandbox.work)
        .env(MARKER, &folder)
        .stdin(Stdio::null())
        .stdout(sandbox.printed.stream().map_err(prepare)?)
        .stderr(sandbox.printed.stream().map_err(prepare)?);
    own(sandbox)?;
    let program = program.to_string_lossy().into_owned();
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
        Err(CommandError::Exit { status, withheld: withheld(command, &sandbox.printed.tail()) })
    } else {
        own(sandbox)
    }
}

/// Checks that the folder in which a command works is the one that was made for it.
fn own(sandbox: &Sandbox) -> Result<(), CommandError> {
    let folder = sandbox.folder();
    if sandbox.is_own() {
        return Ok(());
    }
    match fs::symlink_metadata(folder) {
        Ok(_) => Err(CommandError::Displaced(folder.to_owned())),
        // The whole cache may be gone.
        Err(error) => Err(CacheError::io("find", folder)(error).into()),
    }
}

fn collect(execution: &Execution<'_>, sandbox: &Sandbox) -> Result<CommandResult, CommandError> {
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
    Ok(CommandResult { outputs, log: take_log(sandbox, furniture.cache, staging)? })
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
