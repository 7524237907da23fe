//! What is remembered of files and results: it makes a run fast, and never wrong.

use std::{
    fs::{self, File},
    thread,
    time::Duration,
};

use crate::support::Folder;

const COPY: &str = "\
stages:
  a: { kind: command, inputs: { i: { file: data } }, run: \"cp {inputs.i} {outputs.o}\", outputs: [o] }
";

/// A folder whose input is old enough to be remembered, after two runs.
fn remembered() -> Folder {
    let folder = Folder::new(COPY);
    folder.write("data", "one\n");
    folder.run(&[]);
    thread::sleep(Duration::from_millis(2100));
    assert!(folder.executed(&[]).is_empty());
    assert_eq!(folder.remembered("memo-").len(), 1);
    folder
}

#[test]
fn an_edit_of_the_same_size_with_its_time_put_back_runs_the_stage() {
    let folder = remembered();
    let modified = fs::metadata(folder.path("data")).unwrap().modified().unwrap();
    folder.write("data", "two\n");
    File::options().append(true).open(folder.path("data")).unwrap().set_modified(modified).unwrap();
    assert_eq!(folder.executed(&[]), ["a"]);
    assert_eq!(folder.read("out/a/o"), "two\n");
}

#[test]
fn edits_in_quick_succession_are_all_seen() {
    let folder = Folder::new(COPY);
    for text in ["one\n", "two\n", "six\n"] {
        folder.write("data", text);
        folder.run(&[]);
        assert_eq!(folder.read("out/a/o"), text);
    }
}

#[test]
fn a_damaged_memo_is_passed_over_and_written_anew() {
    let folder = remembered();
    let memo = folder.remembered("memo-").remove(0);
    let sound = fs::read(&memo).unwrap();
    let mut flipped = sound.clone();
    flipped[40] ^= 1;
    for damaged in [&b""[..], b"rubbish", &sound[..sound.len() / 2], &flipped] {
        fs::write(&memo, damaged).unwrap();
        assert!(folder.executed(&[]).is_empty());
        assert_eq!(fs::read(&memo).unwrap().len(), sound.len());
    }
}

#[test]
fn what_goes_from_the_cache_is_missed_whatever_is_remembered() {
    for kind in ["blobs", "trees", "records"] {
        let folder = remembered();
        for file in folder.cached(kind) {
            fs::remove_file(file).unwrap();
        }
        assert_eq!(folder.executed(&[]), ["a"], "{kind}");
        let folder = remembered();
        for file in folder.cached(kind) {
            Folder::damage(&file, |file| fs::write(file, "o").unwrap());
        }
        assert_eq!(folder.executed(&[]), ["a"], "{kind}");
    }
}

#[test]
fn where_nothing_can_be_remembered_all_is_as_good() {
    let folder = Folder::new(COPY);
    folder.write("data", "one\n");
    // A file in the way of the folder stops every user, also one who may write everywhere.
    fs::write(folder.memory().join("pipe"), "").unwrap();
    folder.run(&[]);
    assert!(folder.executed(&[]).is_empty());
    folder.write("data", "two\n");
    assert_eq!(folder.executed(&[]), ["a"]);
    let homeless = |home: &str| {
        let mut command = folder.command(&["run", "--json"]);
        let ended = command.env_remove("XDG_CACHE_HOME").env("HOME", home).output().unwrap();
        assert!(ended.status.success(), "{home}: {}", String::from_utf8_lossy(&ended.stderr));
    };
    homeless("");
    homeless("/nonexistent");
    homeless("relative");
    assert!(!folder.path("relative").exists());
}
