//! `kind: command`: any program as a stage.
//!
//! A command runs in a fresh folder in which its declared files stand at their own paths; its inputs and outputs are
//! elsewhere, and it learns where through placeholders. What it prints is kept.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io,
    os::unix::{
        fs::MetadataExt as _,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use thiserror::Error;

use crate::{
    artifact::Artifact,
    cache::{Cache, CacheError, Flaw, Memo, Staged, Staging},
    child::{self, End},
    desk::Desk,
    digest::Digest,
    disk,
    encoding::Json,
    entry::Entry,
    interrupt::{Interrupt, Interrupted},
    pipeline::{Command, ForEach, Piece, Run, Template},
    place::PlaceError,
    source::{Reading, Source, SourceError},
    tree::{self, Tree},
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
        Desk::new(command, item, inputs, files, cache, staging).map_err(|error| (error, None))?;
    let started = SystemTime::now();
    let ended = execute(command, item.map(|item| item.entry), &desk, interrupt);
    let alone = ended.as_ref().is_ok_and(|alone| *alone);
    let made = ended
        .and_then(|_| check_inputs(inputs, cache, &desk, started))
        .and_then(|()| collect(command, &desk, cache, staging))
        .map_err(|error| judge_room(error, &desk, cache));
    let printed = || fs::read(&desk.log).ok().map(|log| String::from_utf8_lossy(&log).into_owned());
    let made = made.map_err(|error| (error, printed()));
    // What a process that the command left behind does there is not for the next one to see.
    if alone {
        desk.clear();
    } else {
        desk.remove();
    }
    made
}

/// What a command prints goes to the disk that it works on, so when that is full its own words may be lost: then that is
/// said.
fn judge_room(error: CommandError, desk: &Desk, cache: &Cache) -> CommandError {
    if !matches!(error, CommandError::Exit(_) | CommandError::Output(_)) {
        return error;
    }
    match desk.try_room() {
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

/// Runs the command; gives whether all its processes have ended.
fn execute(
    command: &Command,
    entry: Option<&Entry>,
    desk: &Desk,
    interrupt: &Interrupt,
) -> Result<bool, CommandError> {
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
    let start = |source| CommandError::Start { program, source };
    let mut child = match process.spawn() {
        Ok(child) => child,
        Err(source) => return Err(start(source)),
    };
    let End { status, stopped, alone } = child::wait(&mut child, interrupt).map_err(start)?;
    if stopped {
        Err(Interrupted.into())
    } else if status.success() {
        Ok(alone)
    } else {
        Err(CommandError::Exit(status))
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
        let look = |entry: &tree::Entry| {
            let meta = fs::metadata(cache.blob_path(entry.blob)).ok()?;
            cache.is_as_verified(entry.blob, &meta).then_some((entry.blob, meta))
        };
        let sound: Vec<_> = artifact.tree().files().iter().filter_map(look).collect();
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        // What a command removed itself, or protected from us, goes with its folder.
        if removed.is_ok() {
            for (blob, meta) in sound {
                cache.note_verified(blob, &meta);
            }
        }
    }
    Ok(())
}

fn collect(
    command: &Command,
    desk: &Desk,
    cache: &Cache,
    staging: &Staging,
) -> Result<Made, CommandError> {
    let mut outputs = BTreeMap::new();
    for name in &command.outputs {
        let path = &desk.outputs[name];
        match fs::symlink_metadata(path) {
            Ok(meta) => _ = outputs.insert(name.clone(), take(path, &meta, desk, staging)?),
            Err(_) => return Err(CommandError::Output(name.clone())),
        }
    }
    Ok(Made { outputs, log: take_log(&desk.log, cache, staging)? })
}

/// Stages what a command printed, unless it printed nothing and the cache has that already.
fn take_log(log: &Path, cache: &Cache, staging: &Staging) -> Result<Log, CommandError> {
    let prepare = |source| CommandError::Prepare { path: log.to_owned(), source };
    if fs::metadata(log).map_err(prepare)?.len() == 0 {
        let nothing = Digest::of(b"");
        return Ok(if cache.holds_blob(nothing, 0) {
            Log::Held(nothing, 0)
        } else {
            Log::Staged(staging.write(b"")?)
        });
    }
    let file = staging.fresh();
    fs::rename(log, &file)
        .map_err(|source| CommandError::Prepare { path: log.to_owned(), source })?;
    Ok(Log::Staged(Staged::adopt(file)?))
}

/// Stages what a command wrote at `path`, of which `meta` tells: a file, or a folder of files.
fn take(
    path: &Path,
    meta: &Metadata,
    desk: &Desk,
    staging: &Staging,
) -> Result<(Tree, Vec<Staged>), CommandError> {
    // Only a file that nothing else names may be taken as it is: of what is linked to, a copy is taken.
    if is_sole(meta) && desk.holds(path) {
        let staged = Staged::adopt(move_to(path, staging)?)?;
        return Ok((Tree::single(staged.blob, staged.size), vec![staged]));
    }
    let source = Source::read(path, &Memo::none(), Reading::Yes)?;
    let seen = source.seen();
    let mut staged = Vec::with_capacity(source.tree.files().len());
    let mut last: Option<(PathBuf, bool)> = None;
    for entry in source.tree.files() {
        let from = entry.path.under(path);
        let prepare = |source| CommandError::Prepare { path: from.clone(), source };
        let folder = from.parent().unwrap_or(path);
        let within = match &last {
            Some((known, within)) if known == folder => *within,
            _ => last.insert((folder.to_owned(), desk.holds(&from))).1,
        };
        if within && is_sole(&fs::symlink_metadata(&from).map_err(prepare)?) {
            let file = move_to(&from, staging)?;
            let (blob, size) = (entry.blob, entry.size);
            staged.push(match seen.get(from.as_path()) {
                Some(&seen) => Staged { file, blob, size, seen },
                None => Staged::adopt(file)?,
            });
        } else {
            let file = staging.fresh();
            disk::step(&file).map_err(prepare)?;
            fs::copy(&from, &file).map_err(prepare)?;
            staged.push(Staged::adopt(file)?);
        }
    }
    // A copy may differ from what was listed, so the tree is made of what was staged.
    let entries = source.tree.files().iter().zip(&staged);
    let entries = entries
        .map(|(entry, staged)| tree::Entry::plain(entry.path.clone(), staged.blob, staged.size));
    let tree = Tree::new(entries.collect()).map_err(SourceError::from)?;
    Ok((tree, staged))
}

/// Whether it is a file with no other name.
fn is_sole(meta: &Metadata) -> bool {
    meta.is_file() && meta.nlink() == 1
}

fn move_to(from: &Path, staging: &Staging) -> Result<PathBuf, CommandError> {
    let file = staging.fresh();
    disk::rename(from, &file)
        .map_err(|source| CommandError::Prepare { path: from.to_owned(), source })?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        Registry,
        pipeline::{Task, load_text},
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
            let read = |path: &Path| Source::read(path, &Memo::none(), Reading::Yes).unwrap();
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
