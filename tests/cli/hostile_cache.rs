//! What a colleague who may write to the cache, or a clone that brings one, can put there: nothing outside it changes, nothing
//! hangs, and nothing wrong is used.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
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
fn victim(folder: &Folder) -> PathBuf {
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
fn state(path: &Path) -> BTreeMap<PathBuf, (u64, u32, i64, Vec<u8>)> {
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
        ["blobs", "trees", "records", "leases", "runs", "memos", "tmp", "verified", "quarantine"]
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
    for kind in ["blobs", "trees", "records", "runs", "format", "verified", "memos"] {
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
