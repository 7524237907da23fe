//! Runs that die, or whose disk fails, at every single step by which something is published.

use std::{
    collections::BTreeSet, fs, os::unix::process::ExitStatusExt as _, process::Stdio, thread,
    time::Duration,
};

use crate::support::{Ended, Folder};

/// Two commands and a built-in stage, which write files, folders and an array, and are placed under `out`.
const SMALL: &str = "\
stages:
  made: { kind: command, run: \"sh -c 'echo one > $1; mkdir $2; echo a > $2/a; echo said' - {outputs.f.txt} {outputs.d}\", outputs: [f.txt, d] }
  read: { kind: command, inputs: { i: made.f.txt }, run: \"cp {inputs.i} {outputs.o}\", outputs: [o] }
  generate: { config: { count: 12, channels: 16, seed: 1 } }
";

/// What the faults are to leave as it would be without them: names of all that is published, and all that is placed.
#[derive(Debug, PartialEq, Eq)]
struct Result {
    published: BTreeSet<String>,
    placed: Vec<String>,
}

fn result(folder: &Folder) -> Result {
    let root = folder.path("cache");
    let published = ["blobs", "trees", "records"]
        .iter()
        .flat_map(|kind| folder.cached(kind))
        .map(|path| path.strip_prefix(&root).unwrap().display().to_string())
        .collect();
    let placed = ["out/made/f.txt", "out/made/d/a", "out/read/o"].map(|name| folder.read(name));
    Result { published, placed: placed.to_vec() }
}

fn faulty(folder: &Folder, fault: &str, arguments: &[&str]) -> (Ended, bool) {
    let output = folder.command(arguments).env("PIPE_FAULT", fault).output().unwrap();
    let killed = output.status.signal().is_some();
    (folder.ended(output), killed)
}

/// After a fault nothing that is published is incomplete, and the next run gives what a run without it gives.
fn recovers(folder: &Folder, undisturbed: &Result, fault: &str) {
    if folder.path("cache/format").exists() {
        let verified = folder.pipe(&["cache", "verify"]);
        assert_eq!(verified.code, Some(0), "{fault}: {}{}", verified.stdout, verified.stderr);
    }
    let again = folder.pipe(&["run"]);
    assert_eq!(again.code, Some(0), "{fault}: {}{}", again.stdout, again.stderr);
    assert_eq!(again.stderr, "", "{fault}");
    assert_eq!(result(folder), *undisturbed, "{fault}");
    // A program that was about to start when its run was killed may have been dying when the next one began.
    if !folder.cached("tmp").is_empty() {
        assert_eq!(folder.pipe(&["run"]).code, Some(0), "{fault}");
    }
    assert_eq!(folder.cached("tmp"), Vec::<std::path::PathBuf>::new(), "{fault}: leftovers");
    assert_eq!(folder.cached("leases"), Vec::<std::path::PathBuf>::new(), "{fault}: leftovers");
    let hidden = fs::read_dir(folder.path("out")).unwrap();
    let hidden = hidden
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".new-"));
    assert_eq!(hidden.count(), 0, "{fault}: leftovers under out");
}

fn undisturbed() -> Result {
    let folder = Folder::new(SMALL);
    folder.run(&["-j", "1"]);
    result(&folder)
}

/// Ends a run at its first step, at its second and so on to its last; after each end the next run puts things right.
fn recovers_from_an_end_at_any_step(fault: impl Fn(usize) -> String) {
    let undisturbed = undisturbed();
    for step in 1.. {
        let folder = Folder::new(SMALL);
        let fault = fault(step);
        let (ended, killed) = faulty(&folder, &fault, &["run", "-j", "1"]);
        if !killed {
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            assert!(step > 100, "the seam sees the steps: {step}");
            break;
        }
        recovers(&folder, &undisturbed, &fault);
    }
}

#[test]
fn a_kill_at_any_step_leaves_nothing_or_the_whole_truth() {
    recovers_from_an_end_at_any_step(|step| format!("kill@{step}"));
}

/// What was written and not synced may be gone, and names may be there or not, in any order.
#[test]
fn a_power_cut_at_any_step_leaves_nothing_or_the_whole_truth() {
    recovers_from_an_end_at_any_step(|step| format!("cut@{step}:/cache/"));
}

#[test]
fn a_full_or_failing_disk_at_any_step_is_told_and_leaves_nothing_half_written() {
    let undisturbed = undisturbed();
    for (error, text, advice, out_advice) in [
        (
            "ENOSPC",
            "No space left on device",
            "free some space, for example by `pipe cache gc`",
            "free some space on that disk",
        ),
        (
            "EIO",
            "Input/output error",
            "the disk or the file server fails",
            "the disk or the file server fails",
        ),
    ] {
        let (mut told, mut quiet) = (0, 0);
        // A failing disk goes the ways of a full one: every third step of it is enough.
        for step in (1..).step_by(if error == "EIO" { 3 } else { 1 }) {
            let folder = Folder::new(SMALL);
            let fault = format!("{error}@{step}");
            let (ended, _) = faulty(&folder, &fault, &["run", "-j", "1"]);
            match ended.code {
                Some(3) => {
                    assert!(ended.stderr.contains(text), "{fault}: {}", ended.stderr);
                    // What is placed under `out` may be on another disk than the cache.
                    let of_out = ended.stderr.contains("`ROOT/out");
                    let advice = if of_out { out_advice } else { advice };
                    assert!(ended.stderr.contains(advice), "{fault}: {}", ended.stderr);
                    assert!(ended.stderr.contains("`ROOT/"), "names the file: {}", ended.stderr);
                    told += 1;
                    quiet = 0;
                }
                // What isn't needed for a result may fail: remembering the run, sweeping.
                Some(0) => {
                    if !ended.stderr.is_empty() {
                        assert!(ended.stderr.contains("can't be remembered"), "{}", ended.stderr);
                    }
                    quiet += 1;
                }
                other => panic!("{fault}: {other:?} {}{}", ended.stdout, ended.stderr),
            }
            if quiet > 20 {
                break;
            }
            recovers(&folder, &undisturbed, &fault);
        }
        assert!(told > 40, "{error}: {told}");
    }
}

#[test]
fn a_cache_that_takes_no_writes_is_still_read() {
    let folder = Folder::new(SMALL);
    folder.run(&[]);
    let fault = "EROFS@1+:/cache/";
    fs::remove_dir_all(folder.path("out")).unwrap();
    let (known, _) = faulty(&folder, fault, &["run"]);
    assert_eq!(known.code, Some(0), "{}", known.stderr);
    assert!(known.stdout.contains("3 reused"), "{}", known.stdout);
    assert!(known.stderr.contains("can't be remembered"), "it says what it can't store");
    assert_eq!(folder.read("out/read/o"), "one\n");
    for arguments in [&["plan"][..], &["show", "read"], &["cache", "verify"], &["cache", "gc"]] {
        let (ended, _) = faulty(&folder, fault, arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    }
    let (new, _) = faulty(&folder, fault, &["run", "--set", "generate.seed=2"]);
    assert_eq!(new.code, Some(3), "{}", new.stderr);
    assert!(new.stderr.contains("Read-only file system"), "{}", new.stderr);
    assert!(new.stderr.contains("name another cache: `--set cache=PATH`"), "{}", new.stderr);
    // Something broken in it isn't used either.
    let blob = folder.cached("blobs").into_iter().find(|path| fs::read(path).unwrap() == b"a\n");
    Folder::damage(&blob.unwrap(), |path| fs::write(path, "b\n").unwrap());
    fs::remove_dir_all(folder.path("out")).unwrap();
    let (broken, _) = faulty(&folder, fault, &["run"]);
    assert_eq!(broken.code, Some(3), "{}{}", broken.stdout, broken.stderr);
    assert!(!folder.path("out/made/d").exists(), "{}", broken.stderr);
}

#[test]
fn a_command_that_fails_on_a_full_disk_is_told_so_since_its_own_words_may_be_lost() {
    let folder = Folder::new(
        "stages: { a: { kind: command, run: \"sh -c 'echo said; exit 7' {outputs.o}\", outputs: [o] } }",
    );
    let (full, _) = faulty(&folder, "ENOSPC@1+:/.room", &["run"]);
    assert_eq!(full.code, Some(3), "{}", full.stderr);
    let told = "stage `a`: the command exited with code 7; what it said may be lost, since nothing can be written to the \
                cache `ROOT/cache` now: No space left on device (os error 28); free some space, for example by `pipe cache gc`";
    assert!(full.stderr.contains(told), "{}", full.stderr);
    assert!(full.stderr.contains("said"), "{}", full.stderr);
    // With room it is its own fault, and nothing of the try is left.
    let roomy = folder.pipe(&["run"]);
    assert_eq!(roomy.code, Some(1), "{}", roomy.stderr);
    assert!(roomy.stderr.contains("exited with code 7\n"), "{}", roomy.stderr);
    assert_eq!(folder.cached("tmp"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn kills_at_any_time_leave_nothing_or_the_whole_truth() {
    let undisturbed = undisturbed();
    // Delays that differ from test to test would make a failure hard to repeat: these spread over a run.
    for delay in 0..25_u64 {
        let folder = Folder::new(SMALL);
        let mut command = folder.command(&["run", "-j", "2"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(delay * 7 % 40));
        child.kill().unwrap();
        child.wait().unwrap();
        recovers(&folder, &undisturbed, &format!("kill after {} ms", delay * 7 % 40));
    }
}
