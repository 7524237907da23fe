//! `pipe cache verify`, `gc` and `size`.

use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::support::{Folder, outcomes};

const YAML: &str = "\
vars: { n: 1 }
stages:
  a: { kind: command, config: { n: \"${n}\" }, run: \"sh -c 'echo bytes $1 > $2' - {config.n} {outputs.o}\", outputs: [o] }
  b: { kind: command, inputs: { i: a }, run: \"sh -c 'cat $1 $1 > $2' - {inputs.i} {outputs.o}\", outputs: [o] }
";

const ALL: [&str; 6] = ["cache", "gc", "--yes", "--grace", "0s", "--json"];

fn set(n: u32) -> String {
    format!("vars.n={n}")
}

/// How many records there are.
fn records(folder: &Folder) -> usize {
    folder.cached("records").len()
}

fn gc(folder: &Folder, more: &[&str]) -> serde_json::Value {
    let ended = folder.pipe(&[&ALL[..], more].concat());
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    ended.json()
}

#[test]
fn verify_names_what_is_broken_and_repairs_it() {
    let folder = Folder::new(YAML);
    folder.run(&[]);
    let sound = folder.pipe(&["cache", "verify"]);
    assert_eq!(sound.code, Some(0), "{}", sound.stderr);
    assert!(sound.stdout.ends_with("2 trees, 2 records: all is sound\n"), "{}", sound.stdout);
    let blob =
        folder.cached("blobs").into_iter().find(|path| fs::read(path).unwrap() == b"bytes 1\n");
    let blob = blob.unwrap();
    Folder::damage(&blob, |path| fs::write(path, "BYTES 1\n").unwrap());
    Folder::damage(&folder.cached("trees")[0], |path| fs::write(path, "{}").unwrap());
    // Of the other stage: what is known of this one tells who made what is broken.
    let of_b = |path: &PathBuf| fs::read_to_string(path).unwrap().contains("\"stage\": \"b\"");
    let record = folder.cached("records").into_iter().find(of_b).unwrap();
    Folder::damage(&record, |path| fs::write(path, "").unwrap());
    folder.write("cache/blobs/ab/notes.txt", "mine");
    let told = folder.pipe(&["cache", "verify"]);
    assert_eq!(told.code, Some(3));
    for text in [
        "blob ",
        " is corrupt",
        "tree ",
        "the record is corrupt",
        "not a file of the cache",
        "4 problems",
    ] {
        assert!(told.stdout.contains(text), "{text}: {}", told.stdout);
    }
    assert!(told.stderr.contains("pipe cache verify --repair"), "{}", told.stderr);
    assert!(blob.exists(), "nothing is done before one says so");
    let repaired = folder.pipe(&["cache", "verify", "--repair"]);
    assert_eq!(repaired.code, Some(0), "{}", repaired.stderr);
    assert!(repaired.stderr.contains("to be computed again when wanted: `"), "{}", repaired.stderr);
    let after = folder.pipe(&["cache", "verify"]);
    assert_eq!(after.code, Some(0), "{}", after.stdout);
    assert_eq!(folder.executed(&[]), ["a", "b"]);
    assert_eq!(folder.read("out/b/o"), "bytes 1\nbytes 1\n");
    assert_eq!(folder.pipe(&["cache", "verify"]).code, Some(0));
}

#[test]
fn verify_tells_of_what_is_missing() {
    for kind in ["blobs", "trees"] {
        let folder = Folder::new(YAML);
        folder.run(&[]);
        fs::remove_file(&folder.cached(kind)[0]).unwrap();
        let told = folder.pipe(&["cache", "verify"]);
        assert_eq!(told.code, Some(3), "{kind}");
        assert!(told.stdout.contains(" is missing"), "{kind}: {}", told.stdout);
        assert_eq!(folder.pipe(&["cache", "verify", "--repair"]).code, Some(0));
        assert_eq!(folder.pipe(&["cache", "verify"]).code, Some(0));
        folder.run(&[]);
        assert_eq!(folder.pipe(&["cache", "verify"]).code, Some(0));
    }
}

#[test]
fn gc_keeps_the_newest_runs_and_asks_before_it_removes() {
    let folder = Folder::new(YAML);
    for n in 1..=3 {
        folder.run(&["--set", &set(n)]);
    }
    assert_eq!(records(&folder), 6);
    // Everything is young.
    let young = folder.pipe(&["cache", "gc", "--yes", "--keep-runs", "1"]);
    assert!(young.stdout.contains("removed 0 records, 0 trees, 0 blobs: 0 B"), "{}", young.stdout);
    let dry = folder.pipe(&["cache", "gc", "--keep-runs", "1", "--grace", "0s"]);
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
    assert!(dry.stdout.contains("3 runs, 1 kept"), "{}", dry.stdout);
    assert!(dry.stdout.contains("would remove 4 records, 4 trees"), "{}", dry.stdout);
    assert!(dry.stderr.contains("pipe cache gc --yes"), "{}", dry.stderr);
    assert_eq!(records(&folder), 6);
    let done = gc(&folder, &["--keep-runs", "1"]);
    assert_eq!((&done["removed"]["records"], &done["done"]), (&4.into(), &true.into()));
    assert_eq!(records(&folder), 2);
    assert_eq!(folder.pipe(&["cache", "verify"]).code, Some(0));
    assert!(folder.executed(&["--set", &set(3)]).is_empty(), "what was kept is whole");
    assert_eq!(folder.executed(&["--set", &set(1)]), ["a", "b"]);
    // By default ten runs of a workspace are kept, and a second collection finds nothing.
    gc(&folder, &[]);
    let again = gc(&folder, &[]);
    assert_eq!(again["removed"]["bytes"], 0);
    assert!(folder.executed(&["--set", &set(3)]).is_empty());
}

#[test]
fn gc_in_one_workspace_keeps_what_another_one_needs() {
    let folder = Folder::empty();
    folder.write("one/pipeline.yaml", YAML);
    folder.write("two/pipeline.yaml", YAML);
    let run = |place: &str, n: u32| {
        let (file, n) = (format!("{place}/pipeline.yaml"), set(n));
        let ended =
            folder.pipe(&["run", "--json", "-f", &file, "--set", "cache=../cache", "--set", &n]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        outcomes(&ended.json()).into_values().filter(|outcome| outcome == "executed").count()
    };
    assert_eq!((run("one", 1), run("two", 2), run("one", 3), run("one", 4)), (2, 2, 2, 2));
    gc(&folder, &["--cache", "cache", "--keep-runs", "1"]);
    assert_eq!(run("two", 2), 0, "the other workspace's newest run is kept");
    assert_eq!(run("one", 4), 0);
    assert_eq!(run("one", 3), 2);
}

#[test]
fn gc_keeps_pins_and_days_and_gives_up_the_oldest_for_a_size() {
    let folder = Folder::new(YAML);
    for n in 1..=4 {
        folder.run(&["--set", &set(n)]);
    }
    let mut runs = folder.cached("runs");
    runs.sort();
    fs::write(runs[0].with_extension("pin"), "{}").unwrap();
    // The second run is from three days ago.
    let ago = std::time::SystemTime::now() - Duration::from_hours(72);
    fs::File::options().write(true).open(&runs[1]).unwrap().set_modified(ago).unwrap();
    gc(&folder, &["--keep-days", "2"]);
    assert_eq!(records(&folder), 6);
    assert_eq!(folder.executed(&["--set", &set(2)]), ["a", "b"]);
    // The pin and the newest run stay however little room there is.
    let told = gc(&folder, &["--max-size", "1B"]);
    assert!(told["over"].as_u64().unwrap() > 0);
    assert_eq!(records(&folder), 4);
    assert!(folder.executed(&["--set", &set(1)]).is_empty(), "the pinned run is whole");
    assert!(folder.executed(&["--set", &set(2)]).is_empty(), "so is the newest");
    let wrong = folder.pipe(&["cache", "gc", "--max-size", "lots"]);
    assert_eq!(wrong.code, Some(2));
}

#[test]
fn gc_forgets_the_runs_that_are_not_kept_and_neither_pins_nor_names() {
    let folder = Folder::new(YAML);
    for (n, name) in [(1, ""), (2, "base"), (3, ""), (4, ""), (5, ""), (6, "")] {
        let setting = set(n);
        let name = if name.is_empty() { vec![] } else { vec!["--name", name] };
        folder.run(&[&["--set", &setting][..], &name].concat());
    }
    // That it is pinned last makes it no newer.
    assert_eq!(folder.pipe(&["cache", "pin", "~3"]).code, Some(0));
    let mut runs = folder.cached("runs");
    runs.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    runs.sort();
    let left = || {
        let log = folder.pipe(&["log", "--json"]).json();
        log["remembered"].as_u64().unwrap()
    };
    // What is young isn't forgotten, and nothing before one says so.
    folder.pipe(&["cache", "gc", "--yes", "--keep-runs", "1"]);
    let dry = folder.pipe(&["cache", "gc", "--keep-runs", "1", "--grace", "0s"]);
    assert!(dry.stdout.contains("6 runs, 2 kept, 1 pinned, 3 to be forgotten"), "{}", dry.stdout);
    assert_eq!(left(), 6);
    let told = gc(&folder, &["--keep-runs", "1"]);
    assert_eq!(told["workspaces"][0]["forgotten"], 3);
    assert_eq!(left(), 3, "the newest, the pinned, and the named one");
    assert!(runs[1].exists() && runs[5].exists());
    assert!(folder.executed(&["--set", &set(3)]).is_empty(), "the pinned run is whole");
    assert_eq!(folder.pipe(&["log", "-n", "9"]).stdout.matches("base").count(), 1);
    let told = gc(&folder, &["--keep-days", "0", "--forget-named"]);
    assert_eq!((&told["workspaces"][0]["kept"], left()), (&1.into(), 1), "the pin is left");
    let told = folder.pipe(&["cache", "gc", "--grace", "0s"]);
    assert!(!told.stderr.contains("to remove it"), "{}{}", told.stdout, told.stderr);
}

#[test]
fn gc_is_not_stopped_by_a_run_that_holds_no_text() {
    let folder = Folder::new(YAML);
    folder.run(&["--set", &set(1)]);
    folder.run(&["--set", &set(2)]);
    let runs = folder.cached("runs");
    let whole = fs::read(&runs[0]).unwrap();
    Folder::damage(&runs[0], |path| fs::write(path, [&whole[..], b"\xff\xfe"].concat()).unwrap());
    gc(&folder, &["--keep-runs", "2"]);
    assert!(folder.executed(&["--set", &set(1)]).is_empty(), "what it names is kept");
}

#[test]
fn gc_keeps_the_parts_that_a_kept_result_was_made_of() {
    let folder =
        Folder::new("stages:\n  generate: { config: { count: 12, channels: 16, seed: 1 } }\n");
    folder.run(&[]);
    let before = folder.cached("records");
    assert!(before.len() > 1, "there are records of chunks");
    gc(&folder, &["--keep-runs", "1"]);
    assert_eq!(folder.cached("records"), before);
}

#[test]
fn gc_keeps_what_a_live_run_has_used() {
    let folder = Folder::empty();
    let go = folder.path("go");
    folder.write(
        "pipeline.yaml",
        format!(
            "stages:\n  quick: {{ kind: command, run: \"sh -c 'echo 1 > $1' - {{outputs.o}}\", outputs: [o] }}\n  \
             slow:\n    kind: command\n    shell: true\n    run: |\n      \
             for i in $(seq 600); do test -e {} && break; sleep 0.1; done\n      echo 2 > {{outputs.o}}\n    outputs: [o]\n  \
             last: {{ kind: command, inputs: {{ i: quick, j: slow }}, run: \"cp {{inputs.i}} {{outputs.o}}\", outputs: [o] }}\n",
            go.display()
        ),
    );
    let mut run = folder.command(&["run", "--json"]);
    run.env("PIPE_HEARTBEAT_MS", "50").stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = run.spawn().unwrap();
    // `quick` is done, and the run has said that it uses it.
    for _ in 0..1000 {
        let live = folder
            .cached("leases/")
            .iter()
            .any(|path| path.display().to_string().contains("/run-"));
        if records(&folder) == 1 && live {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_millis(300));
    gc(&folder, &["--keep-runs", "0"]);
    assert_eq!(records(&folder), 1, "no run names it yet, but a live one uses it");
    folder.write("go", "");
    let ended = folder.ended(run.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    gc(&folder, &["--keep-runs", "0"]);
    assert_eq!(records(&folder), 0, "now it isn't live");
}

#[test]
fn runs_and_collections_at_once_harm_nobody() {
    let folder = Folder::new(YAML);
    for n in 1..=3 {
        folder.run(&["--set", &set(n)]);
    }
    // Without any grace, collections take whatever no run has told of: it is told of before it is relied on.
    let collect = || {
        folder
            .command(&[&ALL[..], &["--keep-runs", "0"]].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut collections = Vec::new();
    for round in 0..12 {
        collections.push(collect());
        let n = set(round % 3 + 1);
        fs::remove_dir_all(folder.path("out")).unwrap();
        let ended = folder.pipe(&["run", "--set", &n]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
        let expected = format!("bytes {0}\nbytes {0}\n", round % 3 + 1);
        assert_eq!(folder.read("out/b/o"), expected);
    }
    for collection in collections {
        let ended = folder.ended(collection.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    gc(&folder, &["--keep-runs", "1"]);
    assert_eq!(folder.pipe(&["cache", "verify"]).code, Some(0));
}

/// Collectors one after the other, beside runs of all lengths. `PIPE_STRESS` says how many runs.
#[test]
fn no_run_misses_anything_while_collections_follow_each_other() {
    let rounds = std::env::var("PIPE_STRESS").map_or(60, |rounds| rounds.parse().unwrap());
    let yaml = "\
stages:
  made: { kind: command, config: { n: 1, s: 0 }, run: \"sh -c 'sleep $4; echo $3 > $1; mkdir $2; echo a$3 > $2/a' - {outputs.f.txt} {outputs.d} {config.n} {config.s}\", outputs: [f.txt, d] }
  read: { kind: command, inputs: { i: made.f.txt }, run: \"cp {inputs.i} {outputs.o}\", outputs: [o] }
  last: { kind: command, inputs: { i: read.o, j: made.d }, run: \"sh -c 'cat $1 $2/a > $3' - {inputs.i} {inputs.j} {outputs.o}\", outputs: [o] }
  generate: { config: { count: 12, channels: 16, seed: 1 } }
";
    let folder = Folder::new(yaml);
    folder.run(&[]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut collections = 0;
            while !done.load(Ordering::Relaxed) {
                let ended = folder.pipe(&[&ALL[..], &["--keep-runs", "0"]].concat());
                assert_eq!(ended.code, Some(0), "{}", ended.stderr);
                collections += 1;
            }
            collections
        });
        let run = |worker: usize| {
            for round in 0..rounds / 2 {
                let n = format!("made.n={}", (round + worker * 3) % 7);
                // Some last for several beats.
                let s = if round % 10 == 9 { "made.s=0.3" } else { "made.s=0" };
                let mut command = folder.command(&["run", "--set", &n, "--set", s]);
                let ended = folder.ended(command.env("PIPE_HEARTBEAT_MS", "20").output().unwrap());
                let quiet = ended.stderr.lines().all(|line| line.contains(" waits: "));
                assert!(
                    ended.code == Some(0) && quiet,
                    "{n} {s}: {}{}",
                    ended.stdout,
                    ended.stderr
                );
            }
        };
        let runs: Vec<_> = (0..2).map(|worker| scope.spawn(move || run(worker))).collect();
        let ended: Vec<_> = runs.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(collector.join().unwrap() > 1);
        for ended in ended {
            ended.unwrap();
        }
    });
    assert_eq!(folder.pipe(&["cache", "verify"]).code, Some(0));
}

#[test]
fn size_tells_what_the_room_is_for() {
    let folder = Folder::new(
        "stages:\n  a: { kind: command, run: \"sh -c 'echo same > $1' - {outputs.o}\", outputs: [o] }\n  \
         b: { kind: command, inputs: { i: a }, run: \"sh -c 'cp $1 $2; echo more > $3' - {inputs.i} {outputs.o} {outputs.p}\", outputs: [o, p] }\n",
    );
    folder.run(&[]);
    let sizes = folder.pipe(&["cache", "size", "--json"]).json();
    let stage = |name: &str| {
        let stages = sizes["stages"].as_array().unwrap();
        stages.iter().find(|stage| stage["stage"] == name).unwrap().clone()
    };
    assert_eq!((&stage("a")["bytes"], &stage("a")["unique"]), (&5.into(), &0.into()));
    assert_eq!((&stage("b")["bytes"], &stage("b")["unique"]), (&10.into(), &5.into()));
    assert_eq!(sizes["unnamed"], 0);
    let kinds = sizes["kinds"].as_array().unwrap();
    let blobs = kinds.iter().find(|kind| kind["kind"] == "blobs").unwrap();
    assert_eq!((&blobs["files"], &blobs["bytes"]), (&3.into(), &10.into()));
    let told = folder.pipe(&["cache", "size"]);
    assert!(told.stdout.contains("5 B shared with other stages"), "{}", told.stdout);
    assert!(told.stdout.ends_with(" in all\n"), "{}", told.stdout);
    let none = Folder::new(YAML).pipe(&["cache", "size"]);
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("there is no cache in"), "{}", none.stderr);
}
