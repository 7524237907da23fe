//! `pipe out`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use pipe_engine::{
    ArtifactPath, Digest, Format, Method, Outcome, Registry, RunReport, StageReport, Tree,
    cache::Cache,
    out::{Kept, OutFolder},
    pipeline::Pipeline,
    place,
};

use super::outputs::{self, FoundOutput, Outputs};
use crate::cli::{
    arguments::PipelineArguments, error::CommandError, exit_code, printer::Printer, project,
};

/// Puts outputs of a stage, arrays too, where you want them as files, and prints their paths.
///
/// What stands there is yours: nothing that you do to it harms the cache or enters a result.
#[derive(Debug, Args)]
pub(crate) struct OutArguments {
    /// The stage, or one of its outputs; some combinations of a matrix are `'STAGE[AXIS=VALUE,…].OUTPUT'`.
    #[arg(value_name = "STAGE[.OUTPUT]")]
    wanted: String,

    /// Where to put it [default: out/STAGE/OUTPUT beside the pipeline].
    #[arg(value_name = "DEST")]
    destination: Option<PathBuf>,

    #[command(flatten)]
    pipeline: PipelineArguments,
}

/// Which outputs this command put under `out` on its own account: the path there, and the content.
const STATE: &str = ".requested.json";

pub(crate) fn run(
    arguments: OutArguments,
    before: PipelineArguments,
    registry: &Registry,
    printer: Printer,
) -> Result<u8, CommandError> {
    let pipeline = arguments.pipeline.over(before);
    let outputs = outputs::find(&arguments.wanted, &pipeline, registry)?;
    let several = outputs.found.len() > 1;
    for output in &outputs.found {
        let path = match &arguments.destination {
            Some(destination) => {
                let path = match (several, output.stage.contains('[')) {
                    (false, _) => destination.clone(),
                    (true, false) => destination.join(&output.name),
                    (true, true) => {
                        destination.join(OutFolder::within(&output.stage)).join(&output.name)
                    }
                };
                put(&outputs.cache, &output.tree, &path, None)?;
                path
            }
            None if output.artifact.format == Format::Zarr => array(&outputs, output)?,
            None => file(&outputs, output, printer)?,
        };
        printer.result(project::from_here(&path).display())?;
    }
    Ok(exit_code::DONE)
}

/// Has the `out` folder show an output, as after a run.
fn file(
    outputs: &Outputs,
    output: &FoundOutput,
    printer: Printer,
) -> Result<PathBuf, CommandError> {
    let mut stage = StageReport::new(&output.stage, Outcome::Reused);
    stage.outputs = BTreeMap::from([(output.name.clone(), output.digest)]);
    let report = RunReport { ok: true, seconds: 0.0, stages: vec![stage], interrupted: false };
    let folder = OutFolder::of(&outputs.pipeline);
    tell_kept(&folder.refresh(&outputs.cache, &outputs.pipeline, &report)?, printer);
    Ok(folder.path(&output.stage, &output.name))
}

/// Tells which outputs had been edited, and where they are now.
pub(super) fn tell_kept(kept: &[Kept], printer: Printer) {
    for kept in kept {
        printer.warning(format_args!(
            "`{}` had been edited; it is kept as `{}`",
            project::from_here(&kept.path).display(),
            project::from_here(&kept.kept).display()
        ));
    }
}

/// Puts an array under `out`, in place of one that this command put there before and nobody edited.
fn array(outputs: &Outputs, output: &FoundOutput) -> Result<PathBuf, CommandError> {
    let array = Array {
        stage: &output.stage,
        output: &output.name,
        digest: output.digest,
        tree: &output.tree,
    };
    array.put(&outputs.pipeline, &outputs.cache)
}

/// An array that is to stand under `out`.
pub(super) struct Array<'a> {
    pub(super) stage: &'a str,
    pub(super) output: &'a str,
    pub(super) digest: Digest,
    pub(super) tree: &'a Tree,
}

impl Array<'_> {
    fn key(&self) -> String {
        format!("{}/{}", self.stage, self.output)
    }

    fn path(&self, pipeline: &Pipeline) -> PathBuf {
        OutFolder::of(pipeline).path(self.stage, self.output)
    }

    /// Checks that nothing of the user's stands in its place.
    pub(super) fn check(&self, pipeline: &Pipeline, cache: &Cache) -> Result<(), CommandError> {
        let before = self.before(&read_state(pipeline), cache)?;
        gives_way(&self.path(pipeline), self.tree, before.as_ref()).map(drop)
    }

    /// What this program put there last.
    fn before(
        &self,
        state: &BTreeMap<String, Digest>,
        cache: &Cache,
    ) -> Result<Option<Tree>, CommandError> {
        let digest = state.get(&self.key());
        Ok(digest.map_or(Ok(None), |digest| cache.tree(*digest).map(Result::ok))?)
    }

    /// Puts it there, in place of one that this program put there before and nobody edited.
    pub(super) fn put(&self, pipeline: &Pipeline, cache: &Cache) -> Result<PathBuf, CommandError> {
        let path = self.path(pipeline);
        let folder = pipeline.root.join("out");
        fs::create_dir_all(&folder).map_err(CommandError::file("make the folder", &folder))?;
        let mut state = read_state(pipeline);
        put(cache, self.tree, &path, self.before(&state, cache)?.as_ref())?;
        state.insert(self.key(), self.digest);
        let json = serde_json::to_vec(&state).map_err(io::Error::from)?;
        let state_path = folder.join(STATE);
        let fresh = folder.join(format!("{STATE}.new"));
        fs::write(&fresh, json).map_err(CommandError::file("write", &fresh))?;
        fs::rename(&fresh, &state_path).map_err(CommandError::file("publish", &state_path))?;
        Ok(path)
    }
}

/// Which arrays were put under `out`. An unreadable state means that nothing is known to be ours.
fn read_state(pipeline: &Pipeline) -> BTreeMap<String, Digest> {
    let state = fs::read(pipeline.root.join("out").join(STATE)).ok();
    state.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default()
}

/// Places `tree` at `path`. Gives way to what stands there only if that is `before`, or nothing.
fn put(cache: &Cache, tree: &Tree, path: &Path, before: Option<&Tree>) -> Result<(), CommandError> {
    if !gives_way(path, tree, before)? {
        return Ok(());
    }
    if fs::symlink_metadata(path).is_ok() {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.map_err(CommandError::file("remove", path))?;
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(CommandError::file("make the folder", folder))?;
    }
    place(cache, tree, path, Method::Copy).map_err(CommandError::system)
}

/// Whether `tree` has still to be placed at `path`: it isn't there, and what is there may go. An error if it may not.
fn gives_way(path: &Path, tree: &Tree, before: Option<&Tree>) -> Result<bool, CommandError> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(true);
    }
    if holds(path, tree)? {
        return Ok(false);
    }
    let ours = match before {
        Some(before) => holds(path, before)?,
        None => is_empty_folder(path),
    };
    if ours {
        return Ok(true);
    }
    Err(CommandError::wrong(
        format!("`{}` is there already and holds something else", path.display()),
        "remove it, or name another place: `pipe out STAGE.OUTPUT DEST`",
    ))
}

fn is_empty_folder(path: &Path) -> bool {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    is_folder && fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Whether exactly the files of `tree` stand at `path`, byte for byte.
fn holds(path: &Path, tree: &Tree) -> Result<bool, CommandError> {
    let mut found = Vec::new();
    if !list(path, path, &mut found)? || found.len() != tree.files().len() {
        return Ok(false);
    }
    for entry in tree.files() {
        let file = entry.path.under(path);
        let same_size = fs::metadata(&file).is_ok_and(|meta| meta.len() == entry.size);
        if !same_size {
            return Ok(false);
        }
        let bytes = fs::read(&file).map_err(CommandError::file("read", &file))?;
        if Digest::of(&bytes) != entry.blob {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Collects the files under `path`. `false` if something else than files and folders is there.
fn list(root: &Path, path: &Path, found: &mut Vec<PathBuf>) -> Result<bool, CommandError> {
    let meta = fs::symlink_metadata(path).map_err(CommandError::file("look at", path))?;
    if meta.is_file() {
        found.push(path.strip_prefix(root).unwrap_or(Path::new(ArtifactPath::ITSELF)).to_owned());
        return Ok(true);
    }
    if !meta.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(path).map_err(CommandError::file("list", path))? {
        let entry = entry.map_err(CommandError::file("list", path))?;
        if !list(root, &entry.path(), found)? {
            return Ok(false);
        }
    }
    Ok(true)
}
