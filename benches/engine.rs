//! The engine's hot parts, each beside its floor: the least that the same machine needs for the same work, written with
//! nothing but the libraries and the operating system.
//!
//! ```text
//! cargo bench --bench engine                       all parts, about a minute
//! cargo bench --bench engine -- place publish      those whose names hold one of the words
//! STAGES=10000 FILES=100000 MIB=4096 ROUNDS=9 cargo bench --bench engine
//! ```
//!
//! Ours and the floor take turns, and of each the fastest round counts, so that what else the machine does falls on both.
//! The figures are the ratios; the times tell what machine it was. Work is done in a folder of its own under `TMPDIR`.

use std::{
    env,
    fs::{self, File},
    hint::black_box,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use pipe_engine::{
    ArtifactType, Exactness, Format, InputPort, Interrupt, Method, OutputPort, Registry,
    RunOptions, RunReport, StageContext, StageError, StageKind, Tree,
    cache::{Cache, Recipe},
    graph::Pipeline,
    load::load,
    materialize, plan,
    report::out::OutFolder,
    run,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

/// The bytes in a small file.
const SMALL: usize = 512;

fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let bench = Bench {
        words,
        root: tempfile::Builder::new().prefix("pipe-bench-").tempdir().unwrap(),
        stages: number("STAGES", 1000),
        files: number("FILES", 10_000),
        bytes: number("MIB", 256) << 20,
        rounds: number("ROUNDS", 5),
    };
    println!("| part | ours, ms | floor, ms | ratio | floor |");
    println!("| --- | --- | --- | --- | --- |");
    bench.pipelines();
    bench.commands();
    bench.sources();
    bench.results();
}

fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

struct Bench {
    /// Only parts whose name holds one of them are run; all if there are none.
    words: Vec<String>,
    root: TempDir,
    stages: usize,
    files: usize,
    bytes: usize,
    rounds: usize,
}

impl Bench {
    fn wants(&self, part: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| part.contains(word.as_str()))
    }

    fn wants_any(&self, parts: &[&str]) -> bool {
        parts.iter().any(|part| self.wants(part))
    }

    /// A folder that nobody had before. None is removed before the end: some file systems make a new file the slower the
    /// more were removed just before.
    fn folder(&self) -> PathBuf {
        tempfile::Builder::new().tempdir_in(&self.root).unwrap().keep()
    }

    /// Takes turns, and prints the fastest round of each.
    fn compare(
        &self,
        part: &str,
        floor_is: &str,
        mut ours: impl FnMut() -> Duration,
        mut floor: impl FnMut() -> Duration,
    ) {
        if !self.wants(part) {
            return;
        }
        let mut best = [Duration::MAX; 2];
        for _ in 0..self.rounds {
            best = [best[0].min(ours()), best[1].min(floor())];
        }
        let [ours, floor] = best.map(|time| 1000.0 * time.as_secs_f64());
        println!("| {part} | {ours:.2} | {floor:.2} | {:.2} | {floor_is} |", ours / floor);
    }

    /// A pipeline of commands that each write a line.
    fn commands_in(&self, folder: &Path) -> PathBuf {
        let stage = |i: usize| {
            format!(
                "  s{i}:\n    kind: command\n    run: sh -c \"echo {i} > $1\" - {{outputs.o}}\n    outputs: [o]\n"
            )
        };
        let text = format!("stages:\n{}", (0..self.stages).map(stage).collect::<String>());
        write(&folder.join("pipeline.yaml"), text.as_bytes())
    }

    fn pipelines(&self) {
        let [loading, fingerprint, planning, again] =
            ["load", "fingerprint", "plan, all known", "run, all known"];
        if !self.wants_any(&[loading, fingerprint, planning, again]) {
            return;
        }
        let folder = self.folder();
        let file = self.commands_in(&folder);
        let text = fs::read_to_string(&file).unwrap();
        let read = || load(&file, &[], &Registry::new()).unwrap();
        self.compare(
            loading,
            "the YAML parser's events",
            || timed(read),
            || timed(|| granit_parser::Parser::new_from_str(&text).map(Result::unwrap).count()),
        );
        let pipeline = read();
        let recipe = Recipe {
            kind: "command".to_owned(),
            revision: 1,
            config: serde_json::json!({
                "run": { "words": [["sh"], ["-c"], ["echo 1 > $1"], ["-"], [{ "output": "o" }]] },
                "config": {}, "outputs": ["o"], "files": {}, "env": {},
            }),
            inputs: [("i".to_owned(), pipe_engine::Digest::of(b""))].into(),
            part: None,
        };
        let bytes = serde_json::to_vec(&recipe).unwrap();
        let repeated = |act: &dyn Fn()| timed(|| (0..self.stages).for_each(|_| act()));
        self.compare(
            fingerprint,
            "BLAKE3 of the recipe as JSON",
            || repeated(&|| _ = black_box(black_box(&recipe).fingerprint())),
            || repeated(&|| _ = black_box(blake3::hash(black_box(&bytes)))),
        );
        if !self.wants_any(&[planning, again]) {
            return;
        }
        let cache = open(&pipeline.cache);
        execute(&pipeline, &cache);
        OutFolder::of(&pipeline).refresh(&cache, &pipeline, &execute(&pipeline, &cache)).unwrap();
        let files = ["records", "trees", "blobs"].map(|name| list(&cache.root().join(name)));
        let mut files = files.concat();
        let look = |files: &[PathBuf]| {
            timed(|| files.iter().map(|file| fs::metadata(file).unwrap().len()).sum::<u64>())
        };
        self.compare(
            planning,
            "to stat records, trees and blobs",
            || timed(|| plan(&pipeline, Some(&cache), &[]).unwrap()),
            || look(&files),
        );
        files.extend(list(&folder.join("out")));
        self.compare(
            again,
            "to stat these and what is under `out`",
            || {
                let cache = open(&pipeline.cache);
                timed(|| {
                    let report = execute(&read(), &cache);
                    OutFolder::of(&pipeline).refresh(&cache, &pipeline, &report).unwrap()
                })
            },
            || look(&files),
        );
    }

    fn commands(&self) {
        let part = "first run of commands";
        self.compare(
            part,
            "to start them, on as many threads",
            || {
                let pipeline = load(&self.commands_in(&self.folder()), &[], &Registry::new());
                let pipeline = pipeline.unwrap();
                let cache = open(&pipeline.cache);
                timed(|| execute(&pipeline, &cache))
            },
            || {
                let (folder, jobs) = (self.folder(), jobs());
                let start = |i: usize| {
                    let mut command = Command::new("sh");
                    command.arg("-c").arg(format!("echo {i} > $1")).arg("-");
                    command.arg(folder.join(i.to_string())).stdin(Stdio::null());
                    assert!(command.status().unwrap().success());
                };
                timed(|| {
                    thread::scope(|scope| {
                        for job in 0..jobs {
                            let start = &start;
                            scope.spawn(move || (job..self.stages).step_by(jobs).for_each(start));
                        }
                    });
                })
            },
        );
    }

    fn sources(&self) {
        let [large, small, known] =
            ["hash a large file", "hash small files", "small files, all known"];
        if !self.wants_any(&[large, small, known]) {
            return;
        }
        let folder = self.folder();
        let yaml = |data: &str| {
            format!(
                "stages: {{ s: {{ kind: command, run: \"ls -d {{inputs.d}} > {{outputs.o}}\", shell: true, \
                 inputs: {{ d: {{ file: {data} }} }}, outputs: [o] }} }}\n"
            )
        };
        // Without a cache nothing is remembered, so planning reads everything.
        let read = |data: &str| {
            let file = write(&folder.join(format!("{data}.yaml")), yaml(data).as_bytes());
            load(&file, &[], &Registry::new()).unwrap()
        };
        if self.wants(large) {
            let file = write(&folder.join("large"), &noise(self.bytes));
            let pipeline = read("large");
            self.compare(
                large,
                "to hash it, on all threads",
                || timed(|| plan(&pipeline, None, &[]).unwrap()),
                || timed(|| hash(&file)),
            );
        }
        if self.wants_any(&[small, known]) {
            let files = small_files(&folder.join("small"), self.files);
            let pipeline = read("small");
            self.compare(
                small,
                "to read and hash each, all threads",
                || timed(|| plan(&pipeline, None, &[]).unwrap()),
                || timed(|| files.par_iter().map(|file| hash(file)).collect::<Vec<_>>()),
            );
            // What changed within two seconds isn't remembered.
            let newest = fs::metadata(files.last().unwrap()).unwrap().modified().unwrap();
            while SystemTime::now().duration_since(newest).unwrap() < Duration::from_millis(2500) {
                thread::sleep(Duration::from_millis(100));
            }
            let cache = open(&folder.join("cache"));
            execute(&pipeline, &cache);
            self.compare(
                known,
                "to stat each",
                || timed(|| plan(&pipeline, Some(&cache), &[]).unwrap()),
                || {
                    timed(|| {
                        files.iter().map(|file| fs::metadata(file).unwrap().len()).sum::<u64>()
                    })
                },
            );
        }
    }

    fn results(&self) {
        let parts = [
            "publish small files",
            "place small files, linked",
            "place small files, copied",
            "place small files, linked, from a foreign cache",
            "place a large file, copied",
            "place a large file, copied, from a foreign cache",
        ];
        let [publish, linked, copied, foreign, large, large_foreign] = parts;
        if !self.wants_any(&parts) {
            return;
        }
        self.compare(
            publish,
            "to hash, write and link each, and sync once",
            || {
                let pipeline = self.writer(self.files, SMALL);
                let cache = open(&pipeline.cache);
                timed(|| execute(&pipeline, &cache))
            },
            || {
                let folder = self.folder();
                let (staged, placed) = (folder.join("staged"), folder.join("placed"));
                for folder in [&staged, &placed] {
                    fs::create_dir(folder).unwrap();
                }
                timed(|| {
                    for (i, bytes) in contents(self.files, SMALL).enumerate() {
                        let file = write(&staged.join(i.to_string()), &bytes);
                        let digest = blake3::hash(&bytes).to_hex();
                        fs::hard_link(file, placed.join(digest.as_str())).unwrap();
                    }
                    rustix::fs::syncfs(File::open(&folder).unwrap()).unwrap();
                })
            },
        );
        let (small_cache, small_tree, small_files) = self.published(self.files, SMALL);
        let (large_cache, large_tree, large_files) = self.published(1, self.bytes);
        // Nothing is known of the blobs to who opens the cache without what is remembered of it.
        let reopened = |cache: &Cache, foreign: bool| {
            if foreign { Cache::open(cache.root()).unwrap() } else { open(cache.root()) }
        };
        for (part, cache, tree, files, method, foreign) in [
            (linked, &small_cache, &small_tree, &small_files, Method::Lend, false),
            (copied, &small_cache, &small_tree, &small_files, Method::Copy, false),
            (foreign, &small_cache, &small_tree, &small_files, Method::Lend, true),
            (large, &large_cache, &large_tree, &large_files, Method::Copy, false),
            (large_foreign, &large_cache, &large_tree, &large_files, Method::Copy, true),
        ] {
            let (verb, hashed) = match method {
                Method::Lend => ("link", foreign),
                Method::Copy => ("copy", foreign),
            };
            let floor_is =
                format!("to {}{verb} each, all threads", if hashed { "hash and " } else { "" });
            self.compare(
                part,
                &floor_is,
                || {
                    let cache = reopened(cache, foreign);
                    let target = self.folder().join("placed");
                    let time = timed(|| materialize(&cache, tree, &target, method).unwrap());
                    // What placing it has changed, as every link does, is noted when the cache is closed.
                    drop(cache);
                    time
                },
                || {
                    let folder = self.folder();
                    timed(|| {
                        files.par_iter().enumerate().for_each(|(i, file)| {
                            let target = folder.join(i.to_string());
                            if hashed {
                                black_box(hash(file));
                            }
                            match method {
                                Method::Lend => fs::hard_link(file, target).unwrap(),
                                Method::Copy => _ = fs::copy(file, target).unwrap(),
                            }
                        });
                    })
                },
            );
        }
    }

    /// A pipeline that writes `count` files of `size` bytes each.
    fn writer(&self, count: usize, size: usize) -> Pipeline {
        let yaml = format!(
            "stages: {{ s: {{ kind: write, config: {{ count: {count}, size: {size} }} }} }}\n"
        );
        let file = write(&self.folder().join("pipeline.yaml"), yaml.as_bytes());
        load(&file, &[], &Registry::new().with::<WriteFiles>()).unwrap()
    }

    /// A cache with such files, their tree, and where their blobs are.
    fn published(&self, count: usize, size: usize) -> (Cache, Arc<Tree>, Vec<PathBuf>) {
        let pipeline = self.writer(count, size);
        let cache = open(&pipeline.cache);
        let report = execute(&pipeline, &cache);
        let tree = cache.tree(report.stages[0].outputs["files"]).unwrap().unwrap();
        let files = tree.files().iter().map(|entry| cache.blob_path(entry.blob)).collect();
        drop(cache);
        (open(&pipeline.cache), Arc::new(tree), files)
    }
}

/// How many files a stage writes, and how large.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Amount {
    /// How many.
    count: usize,
    /// How many bytes each.
    size: usize,
}

/// Writes files.
struct WriteFiles;

impl StageKind for WriteFiles {
    type Config = Amount;

    const KIND: &'static str = "write";
    const ABOUT: &'static str = "Writes files.";
    const REVISION: u32 = 1;
    const EXACTNESS: Exactness = Exactness::Exact;
    const INPUTS: &'static [InputPort] = &[];
    const OUTPUTS: &'static [OutputPort] =
        &[OutputPort::new("files", ArtifactType::new("files", Format::Any), "the files")];

    fn run(config: &Amount, work: &StageContext<'_>) -> Result<(), StageError> {
        let output = work.output("files")?;
        for (i, bytes) in contents(config.count, config.size).enumerate() {
            output.write(&i.to_string(), &bytes)?;
        }
        Ok(())
    }
}

fn execute(pipeline: &Pipeline, cache: &Cache) -> RunReport {
    let options = RunOptions {
        targets: Vec::new(),
        jobs: jobs(),
        threads: jobs(),
        keep_going: false,
        name: None,
        follow: false,
    };
    let report =
        run(pipeline, cache, &options, &|_: &pipe_engine::Event<'_>| (), &Interrupt::new());
    let report = report.unwrap();
    assert!(report.ok, "{report:?}");
    report
}

/// Opens a cache as the program does: what is remembered of it lies beside it.
fn open(root: &Path) -> Cache {
    Cache::open_remembered(root, Some(&root.with_file_name("memory"))).unwrap()
}

fn jobs() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn timed<T>(act: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    let made = black_box(act());
    let time = began.elapsed();
    drop(made);
    time
}

fn write(file: &Path, bytes: &[u8]) -> PathBuf {
    File::create(file).and_then(|mut file| file.write_all(bytes)).unwrap();
    file.to_owned()
}

fn hash(file: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    if fs::metadata(file).unwrap().len() > 1 << 20 {
        // As the engine does it: large pieces, each hashed on all processors.
        let (mut file, mut piece) = (File::open(file).unwrap(), vec![0; 4 << 20]);
        loop {
            match file.read(&mut piece).unwrap() {
                0 => return hasher.finalize(),
                read => _ = hasher.update_rayon(&piece[..read]),
            }
        }
    }
    blake3::hash(&fs::read(file).unwrap())
}

/// Bytes that don't repeat.
fn noise(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

/// What `count` files of `size` bytes hold, each something else.
fn contents(count: usize, size: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut bytes = noise(size);
    (0..count).map(move |i| {
        bytes[..8].copy_from_slice(&(i as u64).to_le_bytes());
        bytes.clone()
    })
}

fn small_files(folder: &Path, count: usize) -> Vec<PathBuf> {
    fs::create_dir(folder).unwrap();
    let files = contents(count, SMALL).enumerate();
    files.map(|(i, bytes)| write(&folder.join(i.to_string()), &bytes)).collect()
}

/// The files under `folder`.
fn list(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}
