//! Machines whose clocks are off by hours, and by days, from that of the file server.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{Ended, Folder, outcomes};

const HOUR: i64 = 3600;
const OFF: [i64; 4] = [-100 * HOUR, -5 * HOUR, 5 * HOUR, 100 * HOUR];

const COPY: &str = "\
stages:
  a: { kind: command, inputs: { i: { file: data } }, config: { n: 1 }, run: \"sh -c 'cat $1 > $3; echo $2 >> $3' - {inputs.i} {config.n} {outputs.o}\", outputs: [o] }
";

/// The library by which a program's clock is set off.
fn library(folder: &Folder) -> PathBuf {
    folder.write("clock.c", include_str!("clock.c"));
    let library = folder.path("clock.so");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut compile = Command::new(compiler);
    compile.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(folder.path("clock.c")).arg("-ldl");
    assert!(compile.status().unwrap().success());
    library
}

struct Machine<'a> {
    folder: &'a Folder,
    library: PathBuf,
}

impl<'a> Machine<'a> {
    fn new(folder: &'a Folder) -> Self {
        Self { folder, library: library(folder) }
    }

    /// The program on a machine called `name`, whose clock is off by `seconds`.
    fn command(&self, name: &str, seconds: i64, arguments: &[&str]) -> Command {
        let mut command = self.folder.command(arguments);
        command.env("PIPE_MACHINE", name).env("LD_PRELOAD", &self.library);
        command.env("CLOCK_SHIFT", seconds.to_string()).env("PIPE_HEARTBEAT_MS", "100");
        command
    }

    fn pipe(&self, seconds: i64, arguments: &[&str]) -> Ended {
        let name = format!("off{seconds}").replace('-', "m");
        let ended = self.command(&name, seconds, arguments).output().unwrap();
        let ended = self.folder.ended(ended);
        assert_eq!(
            ended.code,
            Some(0),
            "{seconds} {arguments:?}: {}{}",
            ended.stdout,
            ended.stderr
        );
        ended
    }

    fn outcome(&self, seconds: i64, arguments: &[&str]) -> String {
        let ended = self.pipe(seconds, &[&["run", "--json"], arguments].concat());
        assert_eq!(ended.stderr, "", "{seconds}");
        outcomes(&ended.json())["a"].clone()
    }
}

/// How many of the user's files are remembered by their times.
fn remembered(folder: &Folder) -> u64 {
    let Some(memo) = folder.remembered("memo-").pop() else { return 0 };
    let bytes = fs::read(memo).unwrap();
    u64::from_le_bytes(bytes[16..24].try_into().unwrap())
}

#[test]
fn machines_whose_clocks_differ_by_days_share_results_and_see_all_edits() {
    let folder = Folder::new(COPY);
    let machine = Machine::new(&folder);
    folder.write("data", "0\n");
    machine.pipe(0, &["run"]);
    // That the clock is off at all is seen by the time at which a run ended.
    let now = machine.pipe(0, &["log", "--json"]).json();
    machine.pipe(100 * HOUR, &["run"]);
    let ahead = machine.pipe(0, &["log", "--json"]).json();
    let started =
        |log: &serde_json::Value| log["runs"][0]["started"].as_str().unwrap()[..10].to_owned();
    assert_ne!(started(&now), started(&ahead));
    for (round, seconds) in OFF.into_iter().enumerate() {
        folder.write("data", format!("{}\n", round + 1));
        assert_eq!(machine.outcome(seconds, &[]), "executed", "{seconds}");
        assert_eq!(folder.read("out/a/o"), format!("{}\n1\n", round + 1));
        for other in OFF {
            assert_eq!(machine.outcome(other, &[]), "reused", "{seconds} {other}");
        }
        let verified = machine.pipe(seconds, &["cache", "verify"]);
        assert!(verified.stdout.ends_with("all is sound\n"), "{}", verified.stdout);
    }
}

/// A file that was just written may be written again within the same tick of its server's clock. Who takes it for old, since
/// the own clock is ahead, would miss that.
#[test]
fn a_file_that_is_new_to_its_server_is_not_remembered() {
    for seconds in [0, 5 * HOUR, -5 * HOUR] {
        let folder = Folder::new(COPY);
        let machine = Machine::new(&folder);
        folder.write("data", "0\n");
        machine.pipe(seconds, &["run"]);
        assert_eq!(remembered(&folder), 0, "{seconds}");
        if seconds < 0 {
            continue;
        }
        thread::sleep(Duration::from_millis(2200));
        machine.pipe(seconds, &["run"]);
        assert_eq!(remembered(&folder), 1, "{seconds}");
    }
}

#[test]
fn whose_clock_is_off_collects_nothing_that_is_young() {
    for seconds in OFF {
        let folder = Folder::new(COPY);
        let machine = Machine::new(&folder);
        folder.write("data", "0\n");
        machine.pipe(0, &["run"]);
        let told = machine.pipe(seconds, &["cache", "gc", "--yes", "--keep-runs", "0"]);
        assert!(told.stdout.contains("removed 0 records, 0 trees, 0 blobs"), "{}", told.stdout);
        assert_eq!(machine.outcome(0, &[]), "reused", "{seconds}");
        // And what a machine makes whose clock is off is young, too.
        machine.pipe(seconds, &["run", "--set", "a.n=2"]);
        let told = machine.pipe(0, &["cache", "gc", "--yes", "--keep-runs", "0"]);
        assert!(told.stdout.contains("removed 0 records, 0 trees, 0 blobs"), "{}", told.stdout);
        // By the clock of the file system it is collected as anything else.
        thread::sleep(Duration::from_millis(50));
        let told =
            machine.pipe(seconds, &["cache", "gc", "--yes", "--keep-runs", "0", "--grace", "0s"]);
        assert!(told.stdout.contains("removed 2 records"), "{seconds}: {}", told.stdout);
    }
}

/// A command that goes on until there is a file `go`.
const SLOW: &str = "\
stages:
  a:
    kind: command
    shell: true
    run: |
      echo run >> RUNS
      for i in $(seq 600); do test -e GO && break; sleep 0.1; done
      echo made > {outputs.o}
    outputs: [o]
";

#[test]
fn a_live_run_is_left_alone_by_whose_clock_is_off() {
    for seconds in [-100 * HOUR, 100 * HOUR] {
        let folder = Folder::empty();
        let (runs, go) = (folder.path("runs"), folder.path("go"));
        let yaml = SLOW.replace("RUNS", runs.to_str().unwrap());
        folder.write("pipeline.yaml", yaml.replace("GO", go.to_str().unwrap()));
        let machine = Machine::new(&folder);
        let start = |name: &str, seconds: i64| -> Child {
            let mut command = machine.command(name, seconds, &["run", "--json"]);
            // They don't see each other's locks.
            command.env("PIPE_FAULT", "ENOLCK@1+");
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let first = start("one", 0);
        let began = Instant::now();
        while !runs.exists() {
            assert!(began.elapsed() < Duration::from_mins(1));
            thread::sleep(Duration::from_millis(20));
        }
        // Another machine sweeps what the dead left, and what it takes for it, and waits for who computes.
        let second = start("two", seconds);
        let collect = ["cache", "gc", "--yes", "--keep-runs", "0"];
        let mut collect = machine.command("three", seconds, &collect);
        assert!(collect.env("PIPE_FAULT", "ENOLCK@1+").output().unwrap().status.success());
        thread::sleep(Duration::from_millis(1500));
        folder.write("go", "");
        let [first, second] =
            [first, second].map(|run| folder.ended(run.wait_with_output().unwrap()));
        for run in [&first, &second] {
            assert_eq!(run.code, Some(0), "{seconds}: {}{}", run.stdout, run.stderr);
        }
        assert_eq!(outcomes(&first.json())["a"], "executed");
        assert_eq!(outcomes(&second.json())["a"], "reused", "{}", second.stderr);
        assert_eq!(folder.read("runs"), "run\n");
    }
}
