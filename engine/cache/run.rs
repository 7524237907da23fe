//! What each run did, kept by workspace.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{cache::Cache, error::CacheError, format::FORMAT, staging::Staging};
use crate::base::{
    digest::{Digest, Fingerprint},
    outcome::Outcome,
    regular,
};

/// More than this, in bytes, tells of no run.
pub(super) const LARGEST: u64 = 256 << 20;

/// What one run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunFile {
    /// The version of this format.
    pub format: u32,
    /// The name that the user gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version of pipe.
    pub version: String,
    /// When it began, UTC.
    pub started: String,
    /// The machine.
    pub host: String,
    /// The pipeline's file.
    pub pipeline: PathBuf,
    /// The stages asked for; all of them when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Whether every stage ended well.
    pub ok: bool,
    /// Whether it was told to stop before it was done.
    #[serde(default, skip_serializing_if = "is_false")]
    pub interrupted: bool,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The stages, in the order of the pipeline.
    pub stages: Vec<StageRun>,
}

/// What one run did with one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRun {
    /// The stage's name.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was executed, reused or skipped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The name of its result, when that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// The content digest of each output.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Digest>,
    /// When it began, in microseconds from the beginning of the run.
    #[serde(default)]
    pub began: u64,
    /// How long it took, in microseconds.
    #[serde(default)]
    pub took: u64,
    /// The worker that took it, counted from 0. None when nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<usize>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunFailure>,
}

/// Why a stage failed in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunFailure {
    /// What went wrong, with its causes.
    pub message: String,
    /// Whether the cache or the system failed rather than the stage.
    #[serde(default, skip_serializing_if = "is_false")]
    pub system: bool,
    /// The blob with what a command printed, and its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<(Digest, u64)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl RunFile {
    /// The stage called `name`.
    pub fn stage(&self, name: &str) -> Option<&StageRun> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// How many stages ended in `outcome`.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.stages.iter().filter(|stage| stage.outcome == outcome).count()
    }
}

/// A run in the list of runs, whose file isn't read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEntry {
    /// What names it: eight hexadecimal digits.
    pub id: String,
    /// The name that the user gave it, unless a newer run bears it.
    pub name: Option<String>,
    /// When it ended, UTC.
    pub ended: String,
    /// Whether it is kept whatever is collected.
    pub pinned: bool,
    file: PathBuf,
}

impl RunEntry {
    /// Its name if it has one, else its id.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }

    /// The fingerprints of the stages of the run and how each ended, by name. None if it can't be read: it may have been
    /// collected meanwhile, or be no run at all.
    pub(crate) fn fingerprints(&self) -> Option<Stages> {
        fingerprints_in(&regular::read(&self.file, LARGEST).ok()?)
    }

    /// Whether its file tells what a run did.
    pub(crate) fn is_readable(&self) -> bool {
        self.fingerprints().is_some()
    }
}

/// The fingerprints of the stages of a run and how each ended, by name.
pub(super) type Stages = BTreeMap<String, (Fingerprint, Outcome)>;

/// The stages of the run that `json` tells of, if it does.
pub(super) fn fingerprints_in(json: &[u8]) -> Option<Stages> {
    #[derive(Deserialize)]
    struct Slim<'a> {
        format: u32,
        #[serde(borrow)]
        stages: Vec<SlimStage<'a>>,
    }
    #[derive(Deserialize)]
    struct SlimStage<'a> {
        #[serde(borrow)]
        name: Cow<'a, str>,
        outcome: Outcome,
        fingerprint: Option<Fingerprint>,
    }
    let run = serde_json::from_slice::<Slim<'_>>(json).ok().filter(|run| run.format == FORMAT)?;
    let known =
        |stage: SlimStage<'_>| Some((stage.name.into_owned(), (stage.fingerprint?, stage.outcome)));
    Some(run.stages.into_iter().filter_map(known).collect())
}

/// The runs of one workspace: a pipeline's file at its place.
///
/// The file of a run is called `TIME-ID.json` or `TIME-ID-NAME.json`, so that a list of the names tells the order, the
/// ids and the names. A pinned run has an empty file beside it that ends in `.pin` instead.
#[derive(Debug, Clone)]
pub struct Runs {
    cache: Cache,
    folder: PathBuf,
}

impl Cache {
    /// The runs of the pipeline in `file`.
    pub fn runs(&self, file: &Path) -> Runs {
        let mut hasher = blake3::Hasher::new_derive_key("pipe 2026-11 workspace v1");
        hasher.update(file.as_os_str().as_encoded_bytes());
        let name = hasher.finalize().to_hex()[..16].to_owned();
        Runs { cache: self.clone(), folder: self.root.join("runs").join(name) }
    }
}

impl Runs {
    /// Adds a run, and gives the id under which it is known from now on.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn add(&self, run: &RunFile) -> Result<String, CacheError> {
        let staging = Staging::new(&self.cache)?;
        let json =
            serde_json::to_vec(run).unwrap_or_else(|_| unreachable!("a run has text keys only"));
        let mut stamp = jiff::Timestamp::now().as_nanosecond();
        loop {
            let origin = format!("{stamp} {} {}", std::process::id(), run.host);
            let id = blake3::hash(origin.as_bytes()).to_hex()[..8].to_owned();
            let name = run.name.as_ref().map(|name| format!("-{name}")).unwrap_or_default();
            let file = self.folder.join(format!("{stamp:020}-{id}{name}.json"));
            if staging.publish_once(&file, &json)? {
                return Ok(id);
            }
            // Two runs that end in the same nanosecond must not share a file.
            stamp += 1;
        }
    }

    /// The runs, newest first. Those that can't be read are among them, but bear no name that another bears.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn entries(&self) -> Result<Vec<RunEntry>, CacheError> {
        let mut pins = BTreeSet::new();
        let mut files = Vec::new();
        for path in self.paths()? {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => files.push(path),
                Some("pin") => _ = pins.insert(path.with_extension("json")),
                _ => {}
            }
        }
        let now = jiff::Timestamp::now().as_nanosecond();
        let mut found = Vec::with_capacity(files.len());
        for file in files {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            let mut parts = stem.splitn(3, '-');
            let stamp = parts.next().and_then(|stamp| stamp.parse::<i128>().ok());
            let Some((stamp, id)) = stamp.zip(parts.next()) else { continue };
            // Whoever's clock is ahead isn't the last for ever.
            let stamp = if stamp > now { stamp.min(changed(&file).unwrap_or(now)) } else { stamp };
            let Ok(ended) = jiff::Timestamp::from_nanosecond(stamp) else { continue };
            let entry = RunEntry {
                id: id.to_owned(),
                name: parts.next().map(str::to_owned),
                ended: ended.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                pinned: pins.contains(&file),
                file,
            };
            found.push((stamp, entry));
        }
        found.sort_unstable_by(|(a, one), (b, two)| b.cmp(a).then_with(|| two.file.cmp(&one.file)));
        let mut entries: Vec<RunEntry> = found.into_iter().map(|(_, entry)| entry).collect();
        give_names(&mut entries);
        Ok(entries)
    }

    fn paths(&self) -> Result<Vec<PathBuf>, CacheError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(CacheError::io("list", &self.folder)(error)),
        };
        Ok(entries.flatten().map(|entry| entry.path()).collect())
    }

    /// What the run did.
    ///
    /// # Errors
    /// When its file can't be read, or holds something else.
    pub fn read(&self, entry: &RunEntry) -> Result<RunFile, CacheError> {
        let json =
            regular::read(&entry.file, LARGEST).map_err(CacheError::io("read", &entry.file))?;
        let why = match serde_json::from_slice::<RunFile>(&json) {
            Ok(run) if run.format == FORMAT => return Ok(run),
            Ok(run) => format!("its format is {}", run.format),
            Err(error) => error.to_string(),
        };
        Err(CacheError::Run { path: entry.file.clone(), why })
    }

    /// Keeps the run and all that it names, whatever is collected. Says whether it wasn't kept already.
    ///
    /// # Errors
    /// When the pin can't be written.
    pub fn pin(&self, entry: &RunEntry) -> Result<bool, CacheError> {
        Staging::new(&self.cache)?.publish_once(&entry.file.with_extension("pin"), b"")
    }

    /// Unpins the run. Says whether it was pinned.
    ///
    /// # Errors
    /// When the pin can't be removed.
    pub fn unpin(&self, entry: &RunEntry) -> Result<bool, CacheError> {
        let pin = entry.file.with_extension("pin");
        let is_there = pin.symlink_metadata().is_ok();
        self.cache.remove(&pin)?;
        Ok(is_there)
    }
}

/// When a file was last changed, in nanoseconds since 1970 by the clock of its file system: nobody sets that.
fn changed(file: &Path) -> Option<i128> {
    let meta = fs::symlink_metadata(file).ok()?;
    Some(i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec()))
}

/// Leaves each name to the newest of its bearers that can be read.
fn give_names(entries: &mut [RunEntry]) {
    let mut bearers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, entry) in entries.iter().enumerate() {
        if let Some(name) = &entry.name {
            bearers.entry(name.clone()).or_default().push(number);
        }
    }
    for bearers in bearers.into_values().filter(|bearers| bearers.len() > 1) {
        let readable = bearers.iter().copied().find(|bearer| entries[*bearer].is_readable());
        let bearer = readable.unwrap_or(bearers[0]);
        for other in bearers.into_iter().filter(|other| *other != bearer) {
            entries[other].name = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: Option<&str>) -> RunFile {
        RunFile {
            format: FORMAT,
            name: name.map(str::to_owned),
            version: "0".into(),
            started: "2026-11-01T00:00:00Z".into(),
            host: "here".into(),
            pipeline: "/p.yaml".into(),
            targets: Vec::new(),
            ok: true,
            interrupted: false,
            seconds: 0.5,
            stages: vec![StageRun {
                name: "a".into(),
                outcome: Outcome::Failed,
                reason: "first run".into(),
                fingerprint: Some(Fingerprint::from_bytes([1; 32])),
                outputs: BTreeMap::new(),
                began: 1,
                took: 2,
                worker: Some(0),
                error: Some(RunFailure { message: "it broke".into(), system: false, log: None }),
            }],
        }
    }

    #[test]
    fn runs_are_listed_newest_first_and_a_name_belongs_to_its_newest_bearer() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let runs = cache.runs(Path::new("/p.yaml"));
        assert!(runs.entries().unwrap().is_empty());
        let ids: Vec<String> = [Some("a-b"), None, Some("a-b")]
            .into_iter()
            .map(|name| runs.add(&run(name)).unwrap())
            .collect();
        let entries = runs.entries().unwrap();
        let found: Vec<_> = entries.iter().map(|e| (e.id.clone(), e.name.as_deref())).collect();
        let expected =
            [(ids[2].clone(), Some("a-b")), (ids[1].clone(), None), (ids[0].clone(), None)];
        assert_eq!(found, expected);
        assert!(cache.runs(Path::new("/other.yaml")).entries().unwrap().is_empty());
    }

    #[test]
    fn what_is_no_run_or_comes_from_the_future_takes_no_name_and_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let runs = cache.runs(Path::new("/p.yaml"));
        let far = format!("{:020}", 4_102_444_800_000_000_000_i128);
        let id = runs.add(&run(Some("n"))).unwrap();
        fs::write(runs.folder.join(format!("{far}-00000000-n.json")), "junk").unwrap();
        // One whose clock was ahead.
        let real = runs.entries().unwrap().into_iter().find(|entry| entry.id == id).unwrap();
        fs::copy(&real.file, runs.folder.join(format!("{far}-11111111.json"))).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let newest = runs.add(&run(None)).unwrap();
        let entries = runs.entries().unwrap();
        assert_eq!(entries[0].id, newest, "{entries:?}");
        assert!(
            entries
                .iter()
                .all(|entry| entry.ended.starts_with("20") && entry.ended.as_str() < "2099")
        );
        let named = entries.iter().find(|entry| entry.name.is_some()).unwrap();
        assert_eq!((&named.id, named.name.as_deref()), (&id, Some("n")));
    }

    #[test]
    fn a_run_is_read_as_it_was_written_with_what_its_commands_printed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let runs = cache.runs(Path::new("/p.yaml"));
        let mut written = run(None);
        let staging = Staging::new(&cache).unwrap();
        let log = staging.publish_blob(&staging.write(b"no such file").unwrap()).unwrap();
        written.stages[0].error.as_mut().unwrap().log = Some(log);
        runs.add(&written).unwrap();
        let entry = &runs.entries().unwrap()[0];
        let read = runs.read(entry).unwrap();
        assert_eq!(read, written);
        let (blob, size) = read.stages[0].error.as_ref().unwrap().log.unwrap();
        assert_eq!((fs::read(cache.blob_path(blob)).unwrap(), size), (b"no such file".into(), 12));
        let fingerprint = Fingerprint::from_bytes([1; 32]);
        assert_eq!(entry.fingerprints().unwrap()["a"], (fingerprint, Outcome::Failed));
        fs::write(&entry.file, "{").unwrap();
        assert!(matches!(runs.read(entry), Err(CacheError::Run { .. })));
        assert_eq!(entry.fingerprints(), None);
    }

    #[test]
    fn a_pin_is_a_file_beside_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let runs = cache.runs(Path::new("/p.yaml"));
        runs.add(&run(Some("n"))).unwrap();
        let entry = &runs.entries().unwrap()[0];
        assert_eq!([runs.pin(entry).unwrap(), runs.pin(entry).unwrap()], [true, false]);
        assert!(runs.entries().unwrap()[0].pinned);
        assert!(entry.file.with_extension("pin").is_file());
        assert_eq!([runs.unpin(entry).unwrap(), runs.unpin(entry).unwrap()], [true, false]);
        assert!(!runs.entries().unwrap()[0].pinned);
    }
}
