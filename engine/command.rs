//! `kind: command`: any program as a stage.
//!
//! A command runs in a fresh folder in which its declared files stand at their own paths; its inputs and outputs are
//! elsewhere, and it learns where through placeholders. What it prints is kept.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use thiserror::Error;

use crate::{
    artifact::Artifact,
    cache::{Cache, CacheError, Flaw, Memo, Staged, Staging},
    disk,
    entry::Entry,
    interrupt::{Interrupt, Interrupted},
    pipeline::{Command, ForEach, Piece, Run, Template},
    place::{Method, PlaceError, place},
    source::{Reading, Source, SourceError},
    tree::{self, ArtifactPath, Tree},
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
    #[error("the command {}", how(*.0))]
    Exit(ExitStatus),
    /// It didn't write an output that it declares.
    #[error("the command exited with code 0, but did not write its output `{0}`")]
    Output(String),
    /// It wrote to an input.
    #[error(
        "the command changed its input `{0}`, which is shared with other stages; let it work on a copy"
    )]
    Input(String),
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
    /// An output can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// It was stopped.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// What a command's fingerprint depends on besides its inputs.
pub(crate) fn canonical(command: &Command, files: &BTreeMap<String, Source>) -> Value {
    let template = |template: &Template| -> Value {
        template
            .pieces()
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => json!(text),
                Piece::Config(path) => json!({ "config": path }),
                Piece::Input(name) => json!({ "input": name }),
                Piece::Output(name) => json!({ "output": name }),
                Piece::Item(word) => json!({ "item": word }),
            })
            .collect()
    };
    let run = match &command.run {
        Run::Words(words) => json!({ "words": words.iter().map(template).collect::<Vec<_>>() }),
        Run::Shell(line) => json!({ "shell": template(line) }),
    };
    let files: BTreeMap<_, _> =
        files.iter().map(|(name, source)| (name, source.tree.digest())).collect();
    let env: BTreeMap<_, _> = command
        .env
        .iter()
        .map(|name| {
            (name, std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
        })
        .collect();
    let mut canonical = json!({
        "run": run, "config": command.config, "outputs": command.outputs, "files": files, "env": env
    });
    if let Some(ForEach { input, paths }) = &command.for_each {
        let paths: BTreeMap<_, _> =
            paths.iter().map(|(name, path)| (name, template(path))).collect();
        canonical["for_each"] = json!({ "input": input, "paths": paths });
    }
    canonical
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
    pub(crate) log: Staged,
}

/// Where a command works.
struct Desk {
    /// All of it.
    folder: PathBuf,
    work: PathBuf,
    inputs: BTreeMap<String, PathBuf>,
    outputs: BTreeMap<String, PathBuf>,
    log: PathBuf,
}

/// Runs `command`, for `item` if it runs for each entry of an input. When it fails, the second part is what it printed.
pub(crate) fn run(
    command: &Command,
    item: Option<&Item<'_>>,
    inputs: &BTreeMap<String, Artifact>,
    files: &BTreeMap<String, Source>,
    cache: &Cache,
    staging: &Arc<Staging>,
    interrupt: &Interrupt,
) -> Result<Made, (CommandError, Option<String>)> {
    let desk =
        prepare(command, item, inputs, files, cache, staging).map_err(|error| (error, None))?;
    let printed = || fs::read(&desk.log).ok().map(|log| String::from_utf8_lossy(&log).into_owned());
    let started = SystemTime::now();
    let made = execute(command, item.map(|item| item.entry), &desk, interrupt)
        .and_then(|()| check_inputs(inputs, cache, &desk, started))
        .and_then(|()| collect(command, &desk, staging));
    let made = made.map_err(|error| (error, printed()));
    // A stage may run very many commands. What can't be removed goes with the staging folder.
    let _ = fs::remove_dir_all(&desk.folder);
    made
}

fn prepare(
    command: &Command,
    item: Option<&Item<'_>>,
    inputs: &BTreeMap<String, Artifact>,
    files: &BTreeMap<String, Source>,
    cache: &Cache,
    staging: &Staging,
) -> Result<Desk, CommandError> {
    let folder = staging.fresh();
    // A command may change its folder, so every path that it is told is absolute.
    let make = |path: &Path| {
        fs::create_dir_all(path)
            .map_err(|source| CommandError::Prepare { path: path.to_owned(), source })
    };
    make(&folder)?;
    let folder = fs::canonicalize(&folder)
        .map_err(|source| CommandError::Prepare { path: folder.clone(), source })?;
    let (work, output) = (folder.join("work"), folder.join("outputs"));
    make(&work)?;
    make(&output)?;
    for (name, source) in files {
        let target = work.join(name);
        for entry in source.tree.files() {
            let (from, to) = (entry.path.under(&source.path), entry.path.under(&target));
            to.parent().map_or(Ok(()), &make)?;
            fs::copy(&from, &to).map_err(|source| CommandError::Prepare { path: from, source })?;
        }
    }
    let mut placed = BTreeMap::new();
    for (name, artifact) in inputs {
        let path = if let Some(path) = artifact.outside_path() {
            fs::canonicalize(path)
                .map_err(|source| CommandError::Prepare { path: path.to_owned(), source })?
        } else {
            // A single file keeps its name, since many programs go by its ending.
            let path = folder.join("inputs").join(name).join(artifact.label());
            place(cache, artifact.tree(), &path, Method::Link)?;
            path
        };
        placed.insert(name.clone(), path);
    }
    let mut outputs = BTreeMap::new();
    for name in &command.outputs {
        // The name within the output, too: many programs go by its ending.
        let path = match item.and_then(|item| item.paths.get(name.as_str())) {
            Some(path) => output.join(name).join(path),
            None => output.join(name),
        };
        path.parent().map_or(Ok(()), &make)?;
        outputs.insert(name.clone(), path);
    }
    Ok(Desk { work, inputs: placed, outputs, log: folder.join("log"), folder })
}

/// The value of the config to which the keys of a placeholder lead, as a program reads it.
pub(crate) fn config_value(command: &Command, path: &[String]) -> String {
    scalar(path.iter().fold(&command.config, |value, key| &value[key.as_str()]))
}

fn fill(
    template: &Template,
    command: &Command,
    entry: Option<&Entry>,
    desk: &Desk,
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
                desk.inputs.get(name).map(|path| path.display().to_string()).unwrap_or_default()
            }
            Piece::Output(name) => {
                desk.outputs.get(name).map(|path| path.display().to_string()).unwrap_or_default()
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

fn execute(
    command: &Command,
    entry: Option<&Entry>,
    desk: &Desk,
    interrupt: &Interrupt,
) -> Result<(), CommandError> {
    let words = match &command.run {
        Run::Words(words) => {
            words.iter().map(|word| fill(word, command, entry, desk, false)).collect()
        }
        Run::Shell(line) => {
            vec!["/bin/sh".to_owned(), "-c".to_owned(), fill(line, command, entry, desk, true)]
        }
    };
    let prepare = |source| CommandError::Prepare { path: desk.log.clone(), source };
    let log = File::create(&desk.log).map_err(prepare)?;
    let also = log.try_clone().map_err(prepare)?;
    let program = words.first().cloned().unwrap_or_default();
    // A path with a slash is taken from the command's folder, as its files stand there.
    let mut process = std::process::Command::new(&program);
    process
        .args(&words[1..])
        .current_dir(&desk.work)
        .env("PWD", &desk.work)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(also)
        .process_group(0);
    let mut child = process.spawn().map_err(|source| CommandError::Start { program, source })?;
    let status = wait(&mut child, interrupt)?;
    if status.success() { Ok(()) } else { Err(CommandError::Exit(status)) }
}

/// Waits for `child`. When told to stop, asks its whole group to end, and after five seconds makes it.
fn wait(child: &mut Child, interrupt: &Interrupt) -> Result<ExitStatus, CommandError> {
    let failed = |source| CommandError::Start { program: "the command".to_owned(), source };
    let mut pause = Duration::from_micros(100);
    let mut asked: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return if asked.is_some() { Err(Interrupted.into()) } else { Ok(status) };
        }
        if interrupt.is_requested() {
            let signal = match asked {
                None => Some(rustix::process::Signal::TERM),
                Some(since) if since.elapsed() > Duration::from_secs(5) => {
                    Some(rustix::process::Signal::KILL)
                }
                Some(_) => None,
            };
            if let (Some(signal), Some(group)) =
                (signal, rustix::process::Pid::from_raw(child.id() as i32))
            {
                // It may have ended just now, which is what was wanted.
                let _ = rustix::process::kill_process_group(group, signal);
            }
            asked.get_or_insert_with(Instant::now);
        }
        thread::sleep(pause);
        // Noticed late by a fifth of its time at most.
        pause = (pause * 6 / 5).min(Duration::from_millis(20));
    }
}

/// An input may be a hard link into the cache: writing to it would change what others read. The links are removed.
fn check_inputs(
    inputs: &BTreeMap<String, Artifact>,
    cache: &Cache,
    desk: &Desk,
    started: SystemTime,
) -> Result<(), CommandError> {
    // Some file systems keep times to two seconds only.
    let since = started - Duration::from_secs(2);
    for (name, artifact) in inputs {
        if artifact.outside_path().is_some() {
            continue;
        }
        for entry in artifact.tree().files() {
            let untouched = fs::metadata(cache.blob_path(entry.blob)).is_ok_and(|meta| {
                cache.is_as_verified(entry.blob, &meta)
                    && meta.modified().is_ok_and(|time| time < since)
            });
            if !untouched {
                match cache.verify_blob(entry.blob)? {
                    Ok(()) => {}
                    // Nothing that the command did: it went from the cache, or never came there.
                    Err(Flaw::BlobMissing(_)) => cache.check_blob(entry.blob, entry.size)?,
                    Err(_) => return Err(CommandError::Input(name.clone())),
                }
            }
        }
    }
    for (name, artifact) in inputs {
        let (None, Some(path)) = (artifact.outside_path(), desk.inputs.get(name)) else { continue };
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        // What a command removed itself, or protected from us, goes with its folder.
        if removed.is_ok() {
            for entry in artifact.tree().files() {
                cache.note_verified(entry.blob);
            }
        }
    }
    Ok(())
}

fn collect(command: &Command, desk: &Desk, staging: &Staging) -> Result<Made, CommandError> {
    let mut outputs = BTreeMap::new();
    for name in &command.outputs {
        let path = &desk.outputs[name];
        if fs::symlink_metadata(path).is_err() {
            return Err(CommandError::Output(name.clone()));
        }
        outputs.insert(name.clone(), take(path, staging)?);
    }
    let log = staging.fresh();
    fs::rename(&desk.log, &log)
        .map_err(|source| CommandError::Prepare { path: desk.log.clone(), source })?;
    Ok(Made { outputs, log: Staged::adopt(log)? })
}

/// Stages what a command wrote at `path`: a file, or a folder of files.
fn take(path: &Path, staging: &Staging) -> Result<(Tree, Vec<Staged>), CommandError> {
    let source = Source::read(path, &Memo::none(), Reading::Yes)?;
    let mut staged = Vec::new();
    for entry in source.tree.files() {
        let from = entry.path.under(path);
        let file = staging.fresh();
        let prepare = |source| CommandError::Prepare { path: from.clone(), source };
        // Only a file that nothing else names may be taken as it is: of what is linked to, a copy is taken.
        let meta = fs::symlink_metadata(&from).map_err(prepare)?;
        let ours = meta.is_file() && std::os::unix::fs::MetadataExt::nlink(&meta) == 1;
        if ours && is_within(&from, path) {
            disk::rename(&from, &file).map_err(prepare)?;
            staged.push(Staged { file, blob: entry.blob, size: entry.size });
        } else {
            disk::step(&file).map_err(prepare)?;
            fs::copy(&from, &file).map_err(prepare)?;
            staged.push(Staged::adopt(file)?);
        }
    }
    // A copy may differ from what was listed, so the tree is made of what was staged.
    let entries = source.tree.files().iter().zip(&staged);
    let entries = entries.map(|(entry, staged)| tree::Entry {
        path: entry.path.clone(),
        blob: staged.blob,
        size: staged.size,
    });
    let tree = if source.tree.get(ArtifactPath::ITSELF).is_some() {
        source.tree
    } else {
        Tree::new(entries.collect()).map_err(SourceError::from)?
    };
    Ok((tree, staged))
}

/// Whether no link leads from `base` to `file`, so that it truly lies there.
fn is_within(file: &Path, base: &Path) -> bool {
    match (fs::canonicalize(file), fs::canonicalize(base)) {
        (Ok(file), Ok(base)) => file.starts_with(base),
        _ => false,
    }
}
