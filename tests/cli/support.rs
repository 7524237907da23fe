//! A folder with a pipeline in it, and the program run there.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// What makes the shipped pipelines run in a second.
pub(crate) const SMALL: [&str; 6] =
    ["--set", "generate.count=2000", "--set", "train.epochs=1", "--set", "train.width=4"];

/// A folder with a pipeline in it.
pub(crate) struct Folder(tempfile::TempDir, tempfile::TempDir);

/// How a run of the program ended.
pub(crate) struct Ended {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Folder {
    /// A folder that holds the pipeline `yaml`.
    pub(crate) fn new(yaml: &str) -> Self {
        let folder = Self::empty();
        folder.write("pipeline.yaml", yaml);
        folder
    }

    /// A folder with nothing in it.
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The program with `arguments`, not yet run: in this folder, with nothing of the tester's settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_pipe"), arguments)
    }

    /// Another program, in the same surroundings.
    pub(crate) fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        let kept = ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "PIPE_TEST_PYTHON"];
        let kept = kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            .envs(kept)
            .env("COLUMNS", "100")
            .env("XDG_CACHE_HOME", self.memory())
            .env("XDG_CONFIG_HOME", self.memory().join("config"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn pipe(&self, arguments: &[&str]) -> Ended {
        self.ended(self.command(arguments).output().unwrap())
    }

    /// What the program wrote, with `ROOT` for the folder.
    pub(crate) fn ended(&self, output: Output) -> Ended {
        let root = self.0.path().canonicalize().unwrap();
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(root.to_str().unwrap(), "ROOT")
        };
        Ended {
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            code: output.status.code(),
        }
    }

    /// Runs the pipeline, which must end well; gives the outcome of each stage.
    pub(crate) fn run(&self, arguments: &[&str]) -> BTreeMap<String, String> {
        let mut all = vec!["run", "--json"];
        all.extend(arguments);
        let ended = self.pipe(&all);
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        outcomes(&ended.json())
    }

    /// The names of the stages that a run executes.
    pub(crate) fn executed(&self, arguments: &[&str]) -> Vec<String> {
        let outcomes = self.run(arguments).into_iter();
        outcomes.filter(|(_, outcome)| outcome == "executed").map(|(name, _)| name).collect()
    }

    /// The files of the cache whose path holds `part`.
    pub(crate) fn cached(&self, part: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        files(&self.path("cache").join(part), &mut found);
        found.sort();
        found
    }

    /// The folder for what is remembered of caches: beside this one, so that no test finds it among its own files.
    pub(crate) fn memory(&self) -> PathBuf {
        self.1.path().to_owned()
    }

    /// The files in which something is remembered of the one cache, whose names begin with `start`.
    pub(crate) fn remembered(&self, start: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        files(&self.memory(), &mut found);
        let is = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(start);
        found.retain(is);
        found.sort();
        found
    }

    /// Lets `change` alter what the cache keeps read-only.
    pub(crate) fn damage(path: &Path, change: impl FnOnce(&Path)) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        change(path);
    }
}

impl Ended {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

/// Says that a test tries nothing here, and why, where the tester sees it though the test passes.
pub(crate) fn not_tried(why: &str) {
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    // What the macros print is shown for tests that fail only.
    let _ = writeln!(io::stderr(), "{name}: not tried: {why}");
}

/// The outcome of each stage of a report.
pub(crate) fn outcomes(report: &Value) -> BTreeMap<String, String> {
    let stages = report["stages"].as_array().unwrap().iter();
    stages
        .map(|stage| {
            let text = |key: &str| stage[key].as_str().unwrap().to_owned();
            (text("name"), text("outcome"))
        })
        .collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}
