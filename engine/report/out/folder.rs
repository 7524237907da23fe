//! The folder, and how it comes to show what it is to show.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    error::OutError,
    fresh::Fresh,
    kept::Kept,
    own::Own,
    place::{Ready, Stale, look, make_room, withdraw},
    state::{PlacedOutput, State},
    wanted::Wanted,
};
use crate::{
    artifact::format::Format,
    base::{disk::Lock, outcome::Outcome, parallel},
    cache::Cache,
    graph::{Pipeline, StageNode, is_output_name, is_stage_name, stage_folder},
    plan::run_report::RunReport,
};

/// What somebody may want to know who looks into the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// What had been edited, or was in the way, and was kept aside.
    pub kept: Vec<Kept>,
    /// What no stage makes any more, and was left since somebody had edited it. It is told once.
    pub left: Vec<PathBuf>,
}

/// The folder in which the newest outputs stand.
#[derive(Debug)]
pub struct OutFolder {
    root: PathBuf,
    /// The name of the pipeline's file: several may share the folder.
    owner: String,
}

/// In a folder that others may use now, what is younger isn't taken for a killed run's.
const DAY: Duration = Duration::from_hours(24);

impl OutFolder {
    /// The folder `out` beside the pipeline's file.
    pub fn of(pipeline: &Pipeline) -> Self {
        let owner = pipeline.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { root: pipeline.root.join("out"), owner }
    }

    /// The folder, within this one, of the stage called `stage`.
    pub fn within(stage: &str) -> String {
        stage_folder(stage)
    }

    /// Where an output stands: `out/STAGE/OUTPUT`, and for a stage of a matrix `out/STAGE/COMBINATION/OUTPUT`.
    pub fn path(&self, stage: &str, output: &str) -> PathBuf {
        self.root.join(stage_folder(stage)).join(output)
    }

    /// Makes the folder show the outputs of the stages that ended well in `report`, except arrays, which are placed on
    /// request only. If all ended well, what was placed for this pipeline and no stage of it makes any more goes.
    ///
    /// # Errors
    /// When a file can't be placed.
    pub fn refresh(
        &self,
        cache: &Cache,
        pipeline: &Pipeline,
        report: &RunReport,
    ) -> Result<Shown, OutError> {
        let nodes: HashMap<&str, &StageNode> =
            pipeline.stages.iter().map(|node| (node.name.as_str(), node)).collect();
        let mut wanted = Vec::new();
        for stage in &report.stages {
            if !matches!(stage.outcome, Outcome::Executed | Outcome::Reused) {
                continue;
            }
            let Some(node) = nodes.get(stage.name.as_str()) else {
                continue;
            };
            for (output, artifact) in node.outputs() {
                if artifact.format != Format::Zarr
                    && let Some(digest) = stage.outputs.get(&output)
                {
                    wanted.push(Wanted { stage: stage.name.clone(), output, digest: *digest });
                }
            }
        }
        let is_made = |stage: &str, output: &str| {
            let node = nodes.get(stage);
            node.is_some_and(|node| node.outputs().iter().any(|(name, _)| name == output))
        };
        let done = report.ok && !report.interrupted;
        self.show(cache, &wanted, |stage, output| !done || is_made(stage, output))
    }

    /// Makes the folder show `wanted`, arrays too, all of it or nothing.
    ///
    /// # Errors
    /// When an output isn't in the cache, or can't be placed; then the folder is as it was. Also when a name would lead
    /// out of it: what was read from a cache may hold anything.
    pub fn restore(&self, cache: &Cache, wanted: &[Wanted]) -> Result<Shown, OutError> {
        for Wanted { stage, output, .. } in wanted {
            if !is_stage_name(stage) || !is_output_name(output) {
                return Err(OutError::Name(format!("{stage}.{output}")));
            }
        }
        self.show(cache, wanted, |_, _| true)
    }

    /// Puts the outputs that don't stand there yet in a fresh folder first, and then each in its place. If one isn't in
    /// the cache, nothing is changed; then all that are broken there have been quarantined. Of what was placed for this
    /// pipeline goes what isn't to `stay`.
    fn show(
        &self,
        cache: &Cache,
        wanted: &[Wanted],
        stay: impl Fn(&str, &str) -> bool,
    ) -> Result<Shown, OutError> {
        let own = if wanted.is_empty() {
            // Nothing is to be shown: that there is no such folder, or what else it is, is nobody's trouble.
            Own::open(&self.root).unwrap_or_default()
        } else {
            Some(Own::make(&self.root)?)
        };
        let Some(own) = own else { return Ok(Shown::default()) };
        // It is held to the end.
        let (_lock, locked) = own.lock()?;
        let mut read = own.read();
        let stale = self.stale(wanted, &read.state)?;
        let adopted = self.adopt(wanted, &mut read.state);
        let superfluous = self.superfluous(&read.state, stay);
        if stale.is_empty() && superfluous.is_empty() && !adopted {
            return Ok(Shown::default());
        }
        // Without locks somebody else may be placing something now.
        Fresh::sweep(&self.root, if locked == Lock::Taken { Duration::ZERO } else { DAY });
        let fresh = Fresh::within(&self.root)?;
        let mut elsewhere: BTreeMap<&Path, Fresh> = BTreeMap::new();
        for stale in stale.iter().filter(|stale| stale.home != self.root) {
            if let Entry::Vacant(home) = elsewhere.entry(&stale.home) {
                Fresh::sweep(&stale.home, DAY);
                home.insert(Fresh::within(&stale.home)?);
            }
        }
        let ready = parallel::map(&stale, parallel::processors(), |stale| {
            let fresh = elsewhere.get(stale.home.as_path()).unwrap_or(&fresh);
            stale.prepare(cache, &self.root, fresh.path.join(stale.number.to_string()))
        });
        let mut moves = Vec::with_capacity(stale.len());
        let mut gone = None;
        for (stale, ready) in stale.iter().zip(ready) {
            match ready? {
                Ready::At { fresh, edited } => moves.push((stale, Some((fresh, edited)))),
                Ready::ThereAlready => moves.push((stale, None)),
                Ready::Gone(flaw) => {
                    let (stage, output) = (stale.wanted.stage.clone(), stale.wanted.output.clone());
                    gone.get_or_insert(OutError::Gone { stage, output, flaw });
                }
            }
        }
        if let Some(error) = gone {
            return Err(error);
        }
        let mut shown = Shown::default();
        for key in superfluous {
            let Some(placed) = read.state.0.remove(&key) else { continue };
            let Some((stage, output)) = State::names(&key) else { continue };
            let path = self.path(stage, output);
            if !withdraw(cache, &self.root, &path, &placed)? {
                shown.left.push(path);
            }
        }
        for (stale, _) in moves.iter().filter(|(_, ready)| ready.is_some()) {
            shown.kept.extend(make_room(&self.root, &stale.path)?);
        }
        let moved = parallel::map(&moves, parallel::processors(), |(stale, ready)| {
            let kept: Option<Kept> = match ready {
                Some((ready, edited)) => stale.replace(cache, ready, *edited)?,
                None => None,
            };
            look(&stale.path).map(|files| (kept, files))
        });
        for ((stale, _), moved) in moves.iter().zip(moved) {
            let (aside, files) = moved?;
            shown.kept.extend(aside);
            let owner = Some(self.owner.clone());
            let placed = PlacedOutput { owner, digest: stale.wanted.digest, files };
            read.state.0.insert(stale.key.clone(), placed);
        }
        shown.kept.extend(own.write(&read, &fresh)?);
        Ok(shown)
    }

    /// What of `wanted` doesn't stand there as it was placed.
    fn stale<'w>(&self, wanted: &'w [Wanted], state: &State) -> Result<Vec<Stale<'w>>, OutError> {
        let looked = parallel::map(wanted, parallel::processors(), |wanted| {
            let key = State::key(&wanted.stage, &wanted.output);
            let path = self.path(&wanted.stage, &wanted.output);
            let before = state.0.get(&key);
            Stale::look(&self.root, wanted, key, path, before)
        });
        let mut stale: Vec<Stale<'_>> =
            looked.into_iter().filter_map(Result::transpose).collect::<Result<_, OutError>>()?;
        for (number, stale) in stale.iter_mut().enumerate() {
            stale.number = number;
        }
        Ok(stale)
    }

    /// Notes whose the outputs are that were placed before that was noted; whether there are any.
    fn adopt(&self, wanted: &[Wanted], state: &mut State) -> bool {
        let mut adopted = false;
        if state.0.values().all(|placed| placed.owner.is_some()) {
            return adopted;
        }
        for Wanted { stage, output, .. } in wanted {
            if let Some(placed) = state.0.get_mut(&State::key(stage, output))
                && placed.owner.is_none()
            {
                placed.owner = Some(self.owner.clone());
                adopted = true;
            }
        }
        adopted
    }

    /// The keys of what was placed for this pipeline and isn't to `stay`.
    fn superfluous(&self, state: &State, stay: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let ours = state.0.iter().filter(|(_, placed)| placed.owner.as_ref() == Some(&self.owner));
        let goes =
            |key: &str| State::names(key).is_some_and(|(stage, output)| !stay(stage, output));
        ours.map(|(key, _)| key).filter(|key| goes(key)).cloned().collect()
    }
}
