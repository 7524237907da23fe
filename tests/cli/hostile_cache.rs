//! What a colleague who may write to the cache, or a clone that brings one, can put there: nothing outside it changes, nothing
//! hangs, and nothing wrong is used.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use crate::support::Folder;

const PIPELINE: &str = "\
stages:
  a: { kind: command, config: { n: 1 }, run: \"sh -c 'echo $1 > $2' - {config.n} {outputs.o}\", outputs: [o] }
  b: { kind: command, inputs: { i: a }, run: \"cp {inputs.i} {outputs.o}\", outputs: [o] }
";

/// All commands that open a cache.
const COMMANDS: [&[&str]; 12] = [
    &["run"],
    &["run", "--set", "a.n=5"],
    &["plan"],
    &["status"],
    &["why", "b"],
    &["log"],
    &["logs", "a"],
    &["show", "a.o"],
    &["cache", "size"],
    &["cache", "verify", "--repair"],
    &["cache", "gc", "--yes", "--grace", "0s", "--keep-runs", "0"],
    &["checkout", "last"],
];

/// Puts something at a path.
type Make = fn(&Path);

/// A folder with what somebody would miss, some of it called as what a cache holds.
pub(crate) fn victim(folder: &Folder) -> PathBuf {
    let victim = folder.path("victim");
    let _ = fs::remove_dir_all(&victim);
    let long = "0".repeat(62);
    let names =
        ["thesis.tex", "Cargo.lock", "a.json", "x-1-2.lock", "x-1-2/precious", "sub/deep", &long];
    for name in names.into_iter().chain([format!("{long}.json").as_str(), "0".repeat(64).as_str()])
    {
        folder.write(&format!("victim/{name}"), format!("precious {name}"));
    }
    victim
}

/// The files under `path`, with what tells that something was done to them.
pub(crate) fn state(path: &Path) -> BTreeMap<PathBuf, (u64, u32, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            found.insert(path, (meta.ino(), meta.mode(), 0, Vec::new()));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, (meta.ino(), meta.mode(), meta.mtime_nsec(), bytes));
        }
    }
    found
}

#[test]
fn links_in_the_place_of_folders_lead_nobody_outside() {
    let folder = Folder::new(PIPELINE);
    folder.run(&[]);
    let mut places: Vec<String> =
        ["blobs", "trees", "records", "leases", "runs", "tmp", "quarantine", "memos", "verified"]
            .map(str::to_owned)
            .to_vec();
    for kind in ["blobs", "trees", "records"] {
        places.extend([format!("{kind}/00"), format!("{kind}/zz")]);
        let there = folder.cached(kind)[0].parent().unwrap().file_name().unwrap().to_owned();
        places.push(format!("{kind}/{}", there.to_str().unwrap()));
    }
    let workspace = folder.cached("runs")[0].parent().unwrap().file_name().unwrap().to_owned();
    places.extend([
        "runs/evil".to_owned(),
        format!("runs/{}", workspace.to_str().unwrap()),
        "tmp/x-1-2".to_owned(),
    ]);
    for place in places {
        for command in COMMANDS {
            let _ = fs::remove_dir_all(folder.path("cache"));
            folder.run(&[]);
            let victim = victim(&folder);
            let path = folder.path("cache").join(&place);
            let _ = fs::remove_dir_all(&path);
            let _ = fs::remove_file(&path);
            symlink(&victim, &path).unwrap();
            let before = state(&victim);
            let ended = folder.pipe(command);
            assert!(
                ended.code.is_some_and(|code| code <= 3),
                "{place}: {command:?}: {}",
                ended.stderr
            );
            assert_eq!(
                state(&victim),
                before,
                "{place}: {command:?}: {}{}",
                ended.stdout,
                ended.stderr
            );
        }
    }
}

#[test]
fn what_is_no_file_hangs_nobody_and_fills_no_memory() {
    let folder = Folder::new(PIPELINE);
    folder.run(&[]);
    let makes: [(&str, Make); 5] = [
        ("a FIFO", |path| {
            rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o666))
                .unwrap();
        }),
        ("a device", |path| symlink("/dev/zero", path).unwrap()),
        ("a loop", |path| symlink(path, path).unwrap()),
        ("a folder", |path| fs::create_dir(path).unwrap()),
        ("a giant", |path| fs::File::create(path).unwrap().set_len(200 << 30).unwrap()),
    ];
    for kind in ["blobs", "trees", "records", "runs", "format"] {
        for (what, make) in makes {
            for command in COMMANDS {
                let _ = fs::remove_dir_all(folder.path("cache"));
                folder.run(&[]);
                let targets = if kind == "format" {
                    vec![folder.path("cache/format")]
                } else {
                    folder.cached(kind)
                };
                for target in &targets {
                    fs::remove_file(target).unwrap();
                    make(target);
                }
                let mut shell = folder.program(
                    "sh",
                    &["-c", "ulimit -v 2000000; exec timeout -k 1 60 \"$0\" \"$@\""],
                );
                shell.arg(env!("CARGO_BIN_EXE_pipe")).args(command);
                let ended = folder.ended(shell.output().unwrap());
                let told =
                    format!("{kind}: {what}: {command:?}: {:?}: {}", ended.code, ended.stderr);
                assert!(ended.code.is_some_and(|code| code <= 3), "{told}");
                if kind != "format" && command == COMMANDS[0] {
                    assert_eq!(ended.code, Some(0), "{told}");
                    assert_eq!(folder.read("out/b/o"), "1\n", "{told}");
                }
            }
        }
    }
}

#[test]
fn a_lease_that_is_no_file_keeps_nobody_waiting() {
    let folder = Folder::new(PIPELINE);
    let ended = folder.pipe(&["run", "-v"]);
    let fingerprint =
        ended.stdout.lines().find_map(|line| line.trim().strip_prefix("fingerprint ")).unwrap();
    fs::remove_dir_all(folder.path("cache/records")).unwrap();
    let lease = folder.path("cache/leases").join(fingerprint);
    rustix::fs::mkfifoat(rustix::fs::CWD, &lease, rustix::fs::Mode::from_raw_mode(0o666)).unwrap();
    assert_eq!(folder.executed(&[]), ["a", "b"]);
    assert!(!lease.exists());
}

#[test]
fn no_skeleton_is_made_where_a_cache_vanished() {
    let folder = Folder::new(
        "stages:\n  a:\n    kind: command\n    shell: true\n    outputs: [o]\n    \
         run: echo x > {outputs.o}; mv ROOT/cache ROOT/gone; mkdir ROOT/cache\n",
    );
    let root = folder.path("").canonicalize().unwrap();
    let yaml = folder.read("pipeline.yaml").replace("ROOT", root.to_str().unwrap());
    folder.write("pipeline.yaml", yaml);
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert_eq!(fs::read_dir(folder.path("cache")).unwrap().count(), 0, "{}", ended.stderr);
}

/// What a folder of the cache says of what was hashed is said by whoever may write there.
#[test]
fn nobody_else_says_what_was_hashed() {
    let folder = Folder::new(PIPELINE);
    folder.run(&[]);
    let marks = folder.remembered("verified-").remove(0);
    let machine = marks.file_name().unwrap().to_str().unwrap().trim_start_matches("verified-");
    let blob = blake3::hash(b"1\n").to_hex();
    let blob = folder.path("cache/blobs").join(&blob[..2]).join(&blob[2..]);
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, "2\n").unwrap();
    let meta = fs::metadata(&blob).unwrap();
    let mut hasher = blake3::Hasher::new_derive_key("pipe 2026-11 verified v1");
    hasher.update(blake3::hash(b"1\n").as_bytes());
    for number in [meta.dev(), meta.ino(), meta.size()] {
        hasher.update(&number.to_le_bytes());
    }
    for number in [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()] {
        hasher.update(&number.to_le_bytes());
    }
    let hash = hasher.finalize();
    let forged = &hash.as_bytes()[..16];
    folder.write(&format!("cache/verified/{machine}"), forged);
    folder.write(&format!("cache/verified-{machine}"), forged);
    let yaml = folder.read("pipeline.yaml").replace("cp {inputs", "cp -p {inputs");
    folder.write("pipeline.yaml", yaml);
    folder.run(&[]);
    assert_eq!(folder.read("out/b/o"), "1\n");
    // What an earlier version left there goes.
    let ended = folder.pipe(&["cache", "gc", "--yes"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!folder.path("cache/verified").exists());
}

/// Of another format, of no format, cut off, of another kind, no text at all: all from the year 2099.
const JUNK: [&[u8]; 5] =
    [b"junk", b"", b"{\"format\":1,\"stages\":[", b"{\"format\":1}", b"\xff\xfe"];

#[test]
fn junk_among_the_runs_takes_no_runs_place() {
    let folder = Folder::new(PIPELINE);
    folder.run(&["--name", "base"]);
    let base = folder.pipe(&["log", "--json"]).json()["runs"][0]["id"].clone();
    folder.run(&["--set", "a.n=2"]);
    let runs = folder.cached("runs")[0].parent().unwrap().to_owned();
    let id = folder.pipe(&["log", "--json"]).json()["runs"][0]["id"].clone();
    for number in 0..40 {
        let name = format!("{:020}-{number:08x}-base.json", 4_102_444_800_000_000_000_u64 + number);
        let path = runs.join(name);
        fs::write(&path, JUNK[number as usize % JUNK.len()]).unwrap();
        let far = SystemTime::UNIX_EPOCH + Duration::from_hours(1_139_568);
        fs::File::options().write(true).open(&path).unwrap().set_modified(far).unwrap();
    }
    let log = folder.pipe(&["log", "--json"]);
    let told = log.json();
    let found: Vec<_> = told["runs"].as_array().unwrap().iter().map(|run| &run["id"]).collect();
    assert_eq!(found, [&id, &base], "{}", log.stderr);
    assert!(log.stderr.contains("39 more can't be read"), "{}", log.stderr);
    for (word, meant) in [("last", &id), ("~1", &base), ("base", &base)] {
        let shown = folder.pipe(&["diff", word, "last", "--json"]);
        assert_eq!(shown.code, Some(0), "{word}: {}", shown.stderr);
        assert!(shown.stdout.contains(meant.as_str().unwrap()), "{word}: {}", shown.stdout);
    }
    let ended = folder.pipe(&["cache", "gc", "--yes", "--grace", "0s"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(folder.executed(&[]).is_empty(), "{}", ended.stdout);
    assert!(folder.executed(&["--set", "a.n=2"]).is_empty());
    assert_eq!(folder.pipe(&["log"]).stderr, "", "what is no run is put away");
}

#[test]
fn a_lease_that_beats_for_ever_can_be_ignored() {
    let folder = Folder::new(PIPELINE);
    let ended = folder.pipe(&["run", "-v"]);
    let fingerprint =
        ended.stdout.lines().find_map(|line| line.trim().strip_prefix("fingerprint ")).unwrap();
    fs::remove_dir_all(folder.path("cache/records")).unwrap();
    let lease = folder.path("cache/leases").join(fingerprint);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for beat in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let line = format!(
                    "{{\"format\":1,\"owner\":\"process 7 on \\u001b[31melsewhere\",\"machine\":\"x\",\"id\":\"x\",\
                     \"interval_ms\":10,\"beat\":{beat}}}"
                );
                fs::write(&lease, format!("{line:511}\n")).unwrap();
                thread::sleep(Duration::from_millis(10));
            }
        });
        let mut waiting = folder.command(&["run"]);
        let waiting = waiting.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_secs(1));
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&waiting),
            rustix::process::Signal::INT,
        )
        .unwrap();
        let told = folder.ended(waiting.wait_with_output().unwrap());
        let forced = folder.pipe(&["run", "--ignore-lease"]);
        stop.store(true, Ordering::Relaxed);
        assert!(told.stderr.contains("`a` waits: process 7 on"), "{}", told.stderr);
        assert!(!told.stderr.contains('\u{1b}'), "{}", told.stderr);
        assert_eq!(forced.code, Some(0), "{}", forced.stderr);
        assert!(forced.stdout.contains("2 executed"), "{}", forced.stdout);
    });
    assert!(lease.exists(), "it is somebody's");
}
