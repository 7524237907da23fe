//! Runs that are stopped, killed, or not alone.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::Folder;

/// A quick stage, and one that runs until the file `go` is there, for at most 30 seconds.
fn slow(folder: &Folder) -> String {
    let (runs, go) = (folder.path("runs"), folder.path("go"));
    format!(
        "stages:\n  quick: {{ kind: command, run: \"sh -c 'echo 1 > $1' - {{outputs.o}}\", outputs: [o] }}\n  \
         slow:\n    kind: command\n    inputs: {{ i: quick }}\n    shell: true\n    run: |\n      \
         echo ran >> {}\n      for i in $(seq 300); do test -e {} && break; sleep 0.1; done\n      \
         cp {{inputs.i}} {{outputs.o}}\n    outputs: [o]\n",
        runs.display(),
        go.display()
    )
}

fn start(folder: &Folder) -> Child {
    folder.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn wait_for(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "{} never came", path.display());
        thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn an_interrupted_run_keeps_what_was_finished() {
    for name in ["-INT", "-TERM"] {
        let folder = Folder::empty();
        folder.write("pipeline.yaml", slow(&folder));
        let child = start(&folder);
        wait_for(&folder.path("runs"));
        let asked = Instant::now();
        signal(&child, name);
        let ended = folder.ended(child.wait_with_output().unwrap());
        assert!(asked.elapsed() < Duration::from_secs(10), "it stops at once");
        assert_eq!(ended.code, Some(130), "{}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains("stopping at the next safe point"), "{}", ended.stderr);
        folder.write("go", "");
        assert_eq!(folder.executed(&[]), ["slow"]);
    }
}

#[test]
fn a_killed_run_leaves_nothing_but_what_was_finished() {
    let folder = Folder::empty();
    folder.write("pipeline.yaml", slow(&folder));
    let child = start(&folder);
    wait_for(&folder.path("runs"));
    // A result is told, and kept, once it is durable: that is a few milliseconds after it is there to go on with.
    let began = Instant::now();
    while folder.cached("records").is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is ever published");
        thread::sleep(Duration::from_millis(5));
    }
    signal(&child, "-KILL");
    assert_eq!(folder.ended(child.wait_with_output().unwrap()).code, None);
    folder.write("go", "");
    assert_eq!(folder.executed(&[]), ["slow"]);
    assert_eq!(folder.read("out/slow/o"), "1\n");
    assert_eq!(folder.cached("tmp"), Vec::<std::path::PathBuf>::new(), "leftovers are swept");
}

#[test]
fn two_runs_at_once_share_the_work() {
    let folder = Folder::empty();
    folder.write("pipeline.yaml", slow(&folder));
    let first = start(&folder);
    wait_for(&folder.path("runs"));
    let second = start(&folder);
    thread::sleep(Duration::from_millis(300));
    folder.write("go", "");
    for child in [first, second] {
        let ended = folder.ended(child.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    }
    assert_eq!(fs::read_to_string(folder.path("runs")).unwrap(), "ran\n");
}
