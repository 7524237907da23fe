//! A cache that was damaged, or can't be used.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::support::Folder;

const TWO: &str = "\
stages:
  a: { kind: command, run: \"sh -c 'echo some bytes > $1' - {outputs.o}\", outputs: [o] }
  b: { kind: command, inputs: { i: a }, run: \"cp {inputs.i} {outputs.o}\", outputs: [o] }
";

type Harm = fn(&Path);

const HARMS: [(&str, Harm); 5] = [
    ("flipped", |path| {
        let mut bytes = fs::read(path).unwrap();
        if let Some(byte) = bytes.first_mut() {
            *byte ^= 1;
        }
        fs::write(path, bytes).unwrap();
    }),
    ("truncated", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }),
    ("emptied", |path| fs::write(path, "").unwrap()),
    ("removed", |path| fs::remove_file(path).unwrap()),
    ("forbidden", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap()),
];

/// Whether the tests run as a user whom permissions don't stop.
fn is_root(folder: &Folder) -> bool {
    fs::metadata(folder.path("")).unwrap().uid() == 0
}

#[test]
fn damage_of_any_kind_is_found_told_and_repaired() {
    for kind in ["blobs", "trees", "records"] {
        for (how, harm) in HARMS {
            let folder = Folder::new(TWO);
            folder.run(&[]);
            // Without its outputs in sight the run has to read the cache.
            fs::remove_dir_all(folder.path("out")).unwrap();
            for file in folder.cached(kind) {
                Folder::damage(&file, harm);
            }
            let ended = folder.pipe(&["run"]);
            assert_eq!(ended.code, Some(0), "{kind} {how}: {}{}", ended.stdout, ended.stderr);
            assert_eq!(folder.read("out/b/o"), "some bytes\n", "{kind} {how}");
            assert_eq!(folder.read("out/a/o"), "some bytes\n", "{kind} {how}");
            // Root may read what nobody may, and a record that isn't there is no damage.
            let unseen =
                (how == "forbidden" && is_root(&folder)) || (kind, how) == ("records", "removed");
            assert_eq!(
                ended.stderr.contains("warning: "),
                !unseen,
                "{kind} {how}: {}{}",
                ended.stdout,
                ended.stderr
            );
            assert!(folder.executed(&[]).is_empty(), "{kind} {how}");
            let verified = folder.pipe(&["cache", "verify"]);
            assert_eq!(verified.code, Some(0), "{kind} {how}: {}", verified.stdout);
        }
    }
}

/// The blob that holds `bytes`.
fn blob(folder: &Folder, bytes: &[u8]) -> PathBuf {
    folder.cached("blobs").into_iter().find(|path| fs::read(path).unwrap() == bytes).unwrap()
}

#[test]
fn a_broken_input_is_never_read_and_who_made_it_is_executed_again() {
    let yaml = "\
stages:
  a: { kind: command, run: \"sh -c 'echo some bytes > $1' - {outputs.o}\", outputs: [o] }
  b: { kind: command, inputs: { i: a }, run: \"sh -c 'cat $1 $1 > $2' - {inputs.i} {outputs.o}\", outputs: [o] }
  c: { kind: command, inputs: { i: b }, config: { n: 1 }, run: \"sh -c 'cat $1 > $3; echo $2 >> $3' - {inputs.i} {config.n} {outputs.o}\", outputs: [o] }
";
    let folder = Folder::new(yaml);
    folder.run(&[]);
    // Size and time are as they were: only the bytes tell.
    for bytes in [&b"some bytes\n"[..], b"some bytes\nsome bytes\n"] {
        let blob = blob(&folder, bytes);
        let before = fs::metadata(&blob).unwrap().modified().unwrap();
        Folder::damage(&blob, |path| {
            fs::write(path, bytes.to_ascii_uppercase()).unwrap();
            fs::File::options().write(true).open(path).unwrap().set_modified(before).unwrap();
        });
    }
    let ended = folder.pipe(&["run", "--set", "c.n=2", "--json"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    // `c` wants to read `b`, which is broken, and to make it again that of `a`, which is broken too.
    let outcomes = crate::support::outcomes(&ended.json());
    assert!(outcomes.values().all(|outcome| outcome == "executed"), "{outcomes:?}");
    assert!(ended.stderr.contains("warning: stage `a`: blob "), "{}", ended.stderr);
    assert_eq!(folder.read("out/c/o"), "some bytes\nsome bytes\n2\n");
    assert_eq!(folder.cached("quarantine").len(), 4, "two blobs, and the records that name them");
}

#[test]
fn a_broken_array_is_never_read_and_who_made_it_is_executed_again() {
    let yaml = "\
stages:
  generate: { config: { count: 40, channels: 16, seed: 1 } }
  split: { inputs: { spectra: generate }, config: { test: 0.25, validation: 0.25 } }
";
    let folder = Folder::new(yaml);
    let made = folder.pipe(&["run", "generate"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    for blob in folder.cached("blobs") {
        Folder::damage(&blob, |path| {
            let mut bytes = fs::read(path).unwrap();
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
            fs::write(path, bytes).unwrap();
        });
    }
    let undisturbed = Folder::new(yaml);
    let expected = undisturbed.pipe(&["run", "--json"]).json();
    let ended = folder.pipe(&["run", "--json"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let found = ended.json();
    for (found, expected) in
        found["stages"].as_array().unwrap().iter().zip(expected["stages"].as_array().unwrap())
    {
        assert_eq!(found["outcome"], "executed");
        assert_eq!(found["outputs"], expected["outputs"]);
    }
}

/// A later version of a stage may make other outputs under the same fingerprint, if nobody raised its revision.
#[test]
fn a_record_that_names_other_outputs_is_not_believed() {
    let folder = Folder::new(TWO);
    folder.run(&[]);
    for file in folder.cached("records") {
        Folder::damage(&file, |path| {
            let text = fs::read_to_string(path).unwrap();
            let outputs = text.find("\"outputs\"").unwrap();
            let (before, after) = text[..text.len() - 79].split_at(outputs);
            let other = after.replacen("\"o\":", "\"n\":", 1);
            assert_ne!(other, after);
            let body = format!("{before}{other}");
            let sum = blake3::hash(body.as_bytes());
            fs::write(path, format!("{body},\"checksum\":\"{sum}\"}}")).unwrap();
        });
    }
    let planned = folder.pipe(&["plan"]);
    assert!(planned.stdout.contains("it has other outputs than the stage"), "{}", planned.stdout);
    let again = folder.pipe(&["run"]);
    assert_eq!(again.code, Some(0), "{}{}", again.stdout, again.stderr);
    assert!(again.stderr.contains("it has other outputs than the stage"), "{}", again.stderr);
    assert!(folder.executed(&[]).is_empty());
}

/// Adds to what a machine has verified the file of a blob as it is now, as `docs/cache-format.md` tells.
fn mark_verified(folder: &Folder, machine: &str, path: &Path, blob: blake3::Hash) {
    let meta = fs::metadata(path).unwrap();
    let mut hasher = blake3::Hasher::new_derive_key("pipe 2026-11 verified v1");
    hasher.update(blob.as_bytes());
    for number in [meta.dev(), meta.ino(), meta.size()] {
        hasher.update(&number.to_le_bytes());
    }
    for number in [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()] {
        hasher.update(&number.to_le_bytes());
    }
    let marks = folder.remembered(&format!("verified-{machine}")).remove(0);
    let mut marks = fs::File::options().append(true).open(marks).unwrap();
    marks.write_all(&hasher.finalize().as_bytes()[..16]).unwrap();
}

/// Bits rot without any time telling. Who wrote or hashed a blob since it was started doesn't look again; every other
/// machine does, and the same one after a restart, when files are linked out and when stages read them.
#[test]
fn what_another_machine_wrote_is_hashed_before_it_is_used() {
    let folder = Folder::new(TWO);
    let run = |machine: &str, arguments: &[&str]| {
        let mut command = folder.command(&[&["run", "--json"], arguments].concat());
        let ended = folder.ended(command.env("PIPE_MACHINE", machine).output().unwrap());
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        (crate::support::outcomes(&ended.json())["a"].clone(), ended.stderr)
    };
    let yaml = |more: &str| TWO.replace("cp {inputs.i}", &format!("cp {more}{{inputs.i}}"));
    let (sound, rotten) = (b"some bytes\n", b"some bites\n");
    let rot = || {
        let path = blob(&folder, sound);
        Folder::damage(&path, |path| fs::write(path, rotten).unwrap());
        mark_verified(&folder, "one", &path, blake3::hash(sound));
    };
    run("one", &[]);
    rot();
    fs::remove_dir_all(folder.path("out")).unwrap();
    assert_eq!(run("one", &["a"]).0, "reused");
    assert_eq!(folder.read("out/a/o"), "some bites\n", "nothing tells that it isn't as it was");
    // Linked out, on another machine.
    fs::remove_dir_all(folder.path("out")).unwrap();
    let (outcome, warned) = run("two", &["a"]);
    assert_eq!((outcome.as_str(), folder.read("out/a/o").as_str()), ("executed", "some bytes\n"));
    assert!(warned.contains("warning: stage `a`: blob "), "{warned}");
    // Read by a stage, on a third.
    rot();
    folder.write("pipeline.yaml", yaml("-p "));
    let (outcome, warned) = run("three", &[]);
    assert_eq!((outcome.as_str(), folder.read("out/b/o").as_str()), ("executed", "some bytes\n"));
    assert!(warned.contains("warning: stage `a`: blob "), "{warned}");
}

#[test]
fn a_reused_stage_whose_outputs_nobody_reads_costs_no_hashing() {
    let folder = Folder::new(TWO);
    folder.run(&[]);
    // A blob that was touched would have to be hashed to be known as sound. It is broken, and nobody looks.
    let blob = blob(&folder, b"some bytes\n");
    Folder::damage(&blob, |path| fs::write(path, "SOME BYTES\n").unwrap());
    assert!(folder.executed(&[]).is_empty());
    // As soon as somebody wants it, it is found.
    fs::remove_file(folder.path("out/a/o")).unwrap();
    // What `b` made are the same bytes: with those of `a` they are whole again.
    assert_eq!(folder.executed(&[]), ["a"]);
    assert_eq!(folder.read("out/a/o"), "some bytes\n");
}

#[test]
fn a_folder_that_is_no_cache_is_left_alone() {
    let folder = Folder::new(TWO);
    folder.write("cache/thesis.tex", "mine");
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("is not a cache"), "{}", ended.stderr);
    folder.write("file", "");
    assert_eq!(folder.pipe(&["run", "--set", "cache=file"]).code, Some(3));
}

/// Every file and folder under `path`, with its size, time and permissions.
fn everything(path: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        all.push(format!(
            "{} {} {:?} {:o}",
            path.display(),
            meta.size(),
            meta.modified(),
            meta.mode()
        ));
        if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_cache_of_a_newer_format_is_refused_and_never_touched() {
    let folder = Folder::new(TWO);
    folder.run(&[]);
    folder.write("cache/format", "2\n");
    folder.write("cache/tmp/theirs.lock", "");
    folder.write("cache/leases/theirs", "{}");
    let before = everything(&folder.path("cache"));
    for arguments in [
        &["run"][..],
        &["plan"],
        &["status"],
        &["show", "a"],
        &["out", "a", "there"],
        &["cache", "verify", "--repair"],
        &["cache", "gc", "--yes", "--keep-runs", "0", "--grace", "0s"],
        &["cache", "size"],
        &["cache", "pin", "~1"],
        &["cache", "unpin", "~1"],
        &["log"],
        &["logs", "a"],
        &["why", "a"],
        &["diff", "~2", "~1"],
        &["metrics"],
        &["trace", "~1"],
        &["checkout", "~1"],
    ] {
        let ended = folder.pipe(arguments);
        assert_eq!(ended.code, Some(3), "{arguments:?}: {}", ended.stderr);
        let expected = "error: the cache `ROOT/cache` has format 2, and this version of pipe reads format 1\n\
                        help: use a newer pipe, or name another cache: `--set cache=PATH`\n";
        assert_eq!(ended.stderr, expected, "{arguments:?}");
    }
    assert_eq!(everything(&folder.path("cache")), before);
}

#[test]
fn a_workspace_can_be_moved_and_copied() {
    let folder = Folder::empty();
    folder.write("one/pipeline.yaml", TWO);
    let run = |place: &str| {
        let file = format!("{place}/pipeline.yaml");
        let ended = folder.pipe(&["run", "--json", "-f", &file]);
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        crate::support::outcomes(&ended.json()).into_values().collect::<Vec<_>>()
    };
    assert_eq!(run("one"), ["executed", "executed"]);
    fs::rename(folder.path("one"), folder.path("two")).unwrap();
    assert_eq!(run("two"), ["reused", "reused"]);
    let copied = std::process::Command::new("cp")
        .args(["-r", "two", "three"])
        .current_dir(folder.path(""))
        .status();
    assert!(copied.unwrap().success());
    assert_eq!(run("three"), ["reused", "reused"]);
    assert_eq!(folder.read("three/out/b/o"), "some bytes\n");
    // The copies are apart: what breaks in one doesn't reach the other.
    let mut blobs = Vec::new();
    for kind in fs::read_dir(folder.path("three/cache/blobs")).unwrap() {
        blobs.extend(fs::read_dir(kind.unwrap().path()).unwrap().map(|blob| blob.unwrap().path()));
    }
    for blob in blobs {
        Folder::damage(&blob, |path| fs::write(path, "broken").unwrap());
    }
    let verified = folder.pipe(&["cache", "verify", "--cache", "two/cache"]);
    assert_eq!(verified.code, Some(0), "{}", verified.stdout);
    // What `b` made are the same bytes as those of `a`, which are made again.
    assert_eq!(run("three"), ["executed", "reused"]);
    // What was copied along under `out` is nobody's edit, and goes when something else takes its place.
    folder.write("two/out/b/o", "mine");
    for (place, edits) in [("two", 1), ("three", 0)] {
        let file = folder.path(&format!("{place}/pipeline.yaml"));
        fs::write(&file, TWO.replace("some bytes", "others")).unwrap();
        let ended = folder.pipe(&["run", "-f", file.to_str().unwrap()]);
        assert_eq!(ended.stderr.matches("had been edited").count(), edits, "{}", ended.stderr);
        assert_eq!(folder.read(&format!("{place}/out/b/o")), "others\n");
    }
}
