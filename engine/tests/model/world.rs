//! A workspace, its cache, and what the model knows of both.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::PoisonError,
    thread,
    time::Duration,
};

use pipe_engine::{
    Digest, Entry, Event, Interrupt, Outcome, RunOptions, RunReport, Tree,
    cache::{Cache, Part, Record, gc::Policy},
    load, run,
};
use proptest::prelude::*;

use crate::{
    kinds::{self, FILE, LOG},
    pipelines::{Edit, FILES, Pipeline},
};

/// The environment variable that tells a process where it is to run.
const FOLDER: &str = "PIPE_MODEL_FOLDER";

/// How a file is damaged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Damage {
    Flip(usize),
    Truncate,
    Empty,
    Remove,
}

pub(crate) fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<usize>().prop_map(Damage::Flip),
        Just(Damage::Truncate),
        Just(Damage::Empty),
        Just(Damage::Remove),
    ]
}

pub(crate) struct World {
    folder: tempfile::TempDir,
    pipeline: Pipeline,
    /// The units of work whose results are published and unharmed.
    known: BTreeSet<String>,
    /// Of each chain of steps, up to which one it is known.
    chains: BTreeMap<String, u64>,
    /// The ends of chains that are known as results of their own.
    ends: BTreeSet<(String, u64)>,
    /// The letters of every content that has had a digest.
    contents: BTreeMap<Digest, String>,
    /// The units of work, and the ends of chains, of the newest run that is certain to be remembered.
    newest: (BTreeSet<String>, BTreeSet<(String, u64)>),
    /// How many runs may be remembered that are newer.
    newer: u64,
    /// What rows, but for their numbers, were put together to a result that was damaged: nothing names the parts any more.
    torn: BTreeSet<String>,
}

impl World {
    pub(crate) fn new(pipeline: Pipeline) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            pipeline,
            known: BTreeSet::new(),
            chains: BTreeMap::new(),
            ends: BTreeSet::new(),
            contents: BTreeMap::new(),
            newest: Default::default(),
            newer: 0,
            torn: BTreeSet::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn edit(&mut self, edit: &Edit) {
        self.pipeline.edit(edit);
    }

    /// Writes down the pipeline and the files as they are now.
    fn prepare(&mut self) {
        fs::write(self.path("pipeline.yaml"), self.pipeline.yaml()).unwrap();
        for file in 0..FILES {
            let text = self.pipeline.content(file);
            fs::write(self.path(&format!("f{file}")), &text).unwrap();
            let tree = Tree::single(Digest::of(text.as_bytes()), text.len() as u64);
            self.contents.insert(tree.digest(), kinds::letters(&text));
        }
        for evaluated in self.pipeline.evaluate().values() {
            let tree = tree_of(&evaluated.result);
            self.contents.insert(tree.digest(), kinds::letters(&evaluated.result));
        }
    }

    /// What was computed since the last time this was asked, once checked against what is known.
    fn computed(&self) -> Vec<String> {
        let log = self.path("log");
        let text = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(log);
        let computed: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        let mut chains: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for unit in &computed {
            match chain(unit) {
                Some((chain, step)) => _ = chains.entry(chain).or_default().insert(step),
                None => assert!(!self.known.contains(unit), "`{unit}` is known and was computed"),
            }
        }
        for (chain, steps) in chains {
            let wanted: Vec<u64> = self.ends_of(&chain);
            let unknown =
                || wanted.iter().filter(|end| !self.ends.contains(&(chain.clone(), **end)));
            assert!(
                unknown().count() > 0,
                "all of `{chain}` is known, and {steps:?} were computed"
            );
            // Going back to fewer steps than were taken may begin at any state that is left.
            let known = self.chains.get(&chain).copied().unwrap_or(0);
            if unknown().all(|end| *end >= known) {
                let first = steps.first().copied().unwrap_or(u64::MAX);
                assert!(first > known, "`{chain}` is known up to {known}, and goes on at {first}");
            }
        }
        computed
    }

    /// How many steps the stages want of a chain.
    fn ends_of(&self, name: &str) -> Vec<u64> {
        let evaluated = self.pipeline.evaluate();
        let last = evaluated.values().filter_map(|evaluated| chain(evaluated.units.last()?));
        last.filter(|(chain, _)| chain == name).map(|(_, step)| step).collect()
    }

    /// Notes what is published after a run that ended well: everything of the pipeline, and the states of the steps that were `computed`.
    fn all_is_known(&mut self, report: &RunReport, computed: &[String]) {
        for (chain, step) in computed.iter().filter_map(|unit| chain(unit)) {
            let known = self.chains.entry(chain).or_default();
            *known = step.max(*known);
        }
        for (name, evaluated) in self.pipeline.evaluate() {
            // That a result put together from parts is reused says nothing of its parts.
            let executed = report.stage(&name).unwrap().outcome == Outcome::Executed;
            let units = evaluated.units.into_iter().filter(|unit| chain(unit).is_none());
            self.known.extend(units.filter(|unit| executed || !unit.starts_with("rows")));
        }
        let all: Vec<_> = self.pipeline.evaluate().into_values().collect();
        let ends = all.iter().filter_map(|evaluated| chain(evaluated.units.last()?)).collect();
        self.newest = (all.into_iter().flat_map(|evaluated| evaluated.units).collect(), ends);
        self.newer = 0;
        self.torn.clear();
        self.ends.extend(self.newest.1.iter().cloned());
    }

    pub(crate) fn run(&mut self, jobs: usize) {
        self.prepare();
        // What is found broken when it is looked at is made again by the next run.
        let mut computed = Vec::new();
        for _ in 0..8 {
            let report = run_in(self.folder.path(), jobs);
            assert!(report.ok, "{report:#?}\n{}", self.pipeline.yaml());
            computed.extend(self.computed());
            if self.check(&report) {
                self.all_is_known(&report, &computed);
                return;
            }
        }
        panic!("it is never whole:\n{}", self.pipeline.yaml());
    }

    /// Compares the results with the model's; whether all are there and unharmed.
    fn check(&self, report: &RunReport) -> bool {
        let cache = Cache::open(&self.path("cache")).unwrap();
        let mut whole = true;
        for (name, evaluated) in self.pipeline.evaluate() {
            let stage = report.stage(&name).unwrap();
            let expected = tree_of(&evaluated.result);
            assert_eq!(stage.outputs["o"], expected.digest(), "{name}: {}", evaluated.result);
            whole &= cache.tree(expected.digest()).unwrap().is_ok_and(|tree| tree == expected);
            whole &= cache.verify_blob(expected.files()[0].blob).unwrap().is_ok();
        }
        whole
    }

    pub(crate) fn run_twice(&mut self) {
        self.prepare();
        let children = [self.process(), self.process()];
        for child in children {
            let ended = child.wait_with_output().unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
        }
        let computed = self.computed();
        let units = computed.iter().filter(|unit| chain(unit).is_none());
        let mut seen = BTreeSet::new();
        for unit in units {
            assert!(seen.insert(unit), "`{unit}` was computed twice");
        }
        self.forget_chains(&computed);
        self.run(1);
    }

    pub(crate) fn run_and_kill(&mut self, after: u64) {
        self.prepare();
        let mut child = self.process();
        thread::sleep(Duration::from_micros(after));
        let _ = child.kill();
        child.wait().unwrap();
        // It may have ended before.
        self.newer += 1;
        let computed = self.computed();
        self.forget_chains(&computed);
    }

    /// Collects all but what the newest run has used, and forgets the rest.
    pub(crate) fn collect(&mut self) {
        collect(&self.path("cache"), 1 + self.newer);
        let (units, ends) = &self.newest;
        self.known.retain(|unit| {
            units.contains(unit) && rows(unit).is_none_or(|rows| !self.torn.contains(&rows))
        });
        self.ends.retain(|end| ends.contains(end));
        // Which states are left beside the ends is nobody's business.
        self.chains.clear();
    }

    /// Runs while all is collected, and forgets it all: nothing must fail, and the results must be right.
    pub(crate) fn run_and_collect(&mut self, after: u64) {
        self.prepare();
        let child = self.process();
        thread::sleep(Duration::from_micros(after));
        collect(&self.path("cache"), 0);
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
        self.known.clear();
        self.chains.clear();
        self.ends.clear();
        // What it computed may be collected already: the next run begins with nothing that is known.
        self.computed();
        self.run(1);
    }

    /// Forgets chains of which it isn't certain what is kept: the newest state, or no longer an older one.
    fn forget_chains(&mut self, computed: &[String]) {
        for (chain, _) in computed.iter().filter_map(|unit| chain(unit)) {
            self.chains.remove(&chain);
        }
    }

    fn process(&self) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["process", "--exact", "--ignored"])
            .env(FOLDER, self.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Damages a file of the cache, and forgets what hung on it.
    pub(crate) fn damage(&mut self, which: usize, how: Damage) {
        let root = self.path("cache");
        let mut files = Vec::new();
        for kind in ["blobs", "trees", "records"] {
            list(&root.join(kind), &mut files);
        }
        files.sort();
        if files.is_empty() {
            return;
        }
        let file = &files[which % files.len()];
        self.forget(&root, file);
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        let mut bytes = fs::read(file).unwrap();
        match how {
            Damage::Remove => return fs::remove_file(file).unwrap(),
            Damage::Empty => bytes.clear(),
            Damage::Truncate => _ = bytes.pop(),
            Damage::Flip(at) if !bytes.is_empty() => {
                let at = at % bytes.len();
                bytes[at] ^= 1;
            }
            Damage::Flip(_) => {}
        }
        fs::write(file, bytes).unwrap();
    }

    /// Forgets the units whose record, tree or blob is `file`.
    fn forget(&mut self, root: &Path, file: &Path) {
        let cache = Cache::open(root).unwrap();
        let mut records = Vec::new();
        list(&root.join("records"), &mut records);
        for path in records {
            let json = fs::read(&path).unwrap();
            let Ok(record) = serde_json::from_slice::<Record>(&json) else { continue };
            let hex = record.recipe.fingerprint().hex();
            if !path.ends_with(format!("{}/{}.json", &hex[..2], &hex[2..])) {
                // It was damaged before, and forgotten then.
                continue;
            }
            let hit = path == file
                || record.outputs.values().any(|digest| {
                    let hex = digest.hex();
                    let tree =
                        root.join("trees").join(&hex[..2]).join(format!("{}.json", &hex[2..]));
                    let tree_read =
                        fs::read(&tree).ok().and_then(|json| Tree::from_json(&json).ok());
                    let mut blobs = tree_read.iter().flat_map(Tree::files);
                    tree == file || blobs.any(|entry| cache.blob_path(entry.blob) == file)
                });
            if hit {
                self.forget_record(&record);
            }
        }
    }

    fn forget_record(&mut self, record: &Record) {
        let recipe = &record.recipe;
        let salt = recipe.config["salt"].as_u64().unwrap_or(0);
        let letters = |name: &str| match recipe.inputs.get(name) {
            None => "-".to_owned(),
            Some(digest) => self.contents[digest].clone(),
        };
        let (a, b) = (letters("a"), letters("b"));
        match (recipe.kind.as_str(), &recipe.part) {
            ("mix", _) => _ = self.known.remove(&format!("mix {salt} {a} {b}")),
            ("parity", _) => _ = self.known.remove(&format!("parity {a}")),
            ("rows", Some(Part::Rows { first, rows })) => {
                self.known.remove(&format!("rows {salt} {first}+{rows} {a}"));
            }
            ("rows", None) => _ = self.torn.insert(format!("{salt} {a}")),
            ("steps", Some(Part::Step(_))) => _ = self.chains.remove(&format!("{salt} {a}")),
            ("steps", None) => {
                let count = recipe.config["count"].as_u64().unwrap();
                self.ends.remove(&(format!("{salt} {a}"), count));
            }
            _ => {}
        }
    }
}

/// Collects what the newest `runs` runs don't need, however young it is.
fn collect(root: &Path, runs: u64) {
    let policy = Policy {
        keep_runs: Some(runs),
        keep_days: None,
        max_size: None,
        grace: Duration::ZERO,
        forget_named: false,
    };
    Cache::open(root).unwrap().collect(&policy).unwrap();
}

/// The chain and the step of a unit that is a step.
fn chain(unit: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = unit.split(' ').collect();
    match words[..] {
        ["steps", salt, step, a] => Some((format!("{salt} {a}"), step.parse().unwrap())),
        _ => None,
    }
}

/// What the rows of a unit that is a chunk are, but for their numbers.
fn rows(unit: &str) -> Option<String> {
    let words: Vec<&str> = unit.split(' ').collect();
    match words[..] {
        ["rows", salt, _, a] => Some(format!("{salt} {a}")),
        _ => None,
    }
}

/// The tree of a stage's result.
fn tree_of(result: &str) -> Tree {
    let path = FILE.parse().unwrap();
    let entry = Entry::plain(path, Digest::of(result.as_bytes()), result.len() as u64);
    Tree::new(vec![entry]).unwrap()
}

fn list(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { list(&path, found) } else { found.push(path) }
    }
}

/// Runs the pipeline in `folder`.
fn run_in(folder: &Path, jobs: usize) -> RunReport {
    *LOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.join("log"));
    let file = folder.join("pipeline.yaml");
    let pipeline = load::load(&file, &[], &kinds::registry())
        .unwrap_or_else(|complaints| panic!("{:#?}", complaints.complaints));
    let memory = folder.join("memory");
    let cache = Cache::open_remembered(&folder.join("cache"), Some(&memory)).unwrap();
    let options = RunOptions {
        targets: Vec::new(),
        jobs,
        threads: jobs,
        keep_going: false,
        name: None,
        follow: false,
    };
    run(&pipeline, &cache, &options, &|_: &Event<'_>| {}, &Interrupt::new()).unwrap()
}

/// Runs the pipeline in the folder that another process names.
pub(crate) fn run_here() {
    let folder = std::env::var_os(FOLDER).expect("another process names the folder");
    let report = run_in(Path::new(&folder), 2);
    assert!(report.ok, "{report:#?}");
}
