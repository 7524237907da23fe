//! File systems as they come: full ones, read-only ones, and one for the cache with another for the workspace.
//!
//! Each test is a script that mounts them in a name space of its own, which ends with the script.

use std::{path::Path, process::Command};

use crate::support::{Folder, not_tried};

const STAGES: &str = "\
stages:
  small: { kind: command, run: \"sh -c 'echo small > $1' - {outputs.o}\", outputs: [o] }
  zeros: { kind: command, inputs: { i: small }, run: \"sh -c 'head -c 4194304 /dev/zero > $1; cat $2 >> $1' - {outputs.o} {inputs.i}\", outputs: [o] }
  spectra: { kind: generate, config: { count: 20000, channels: 64, seed: 1 } }
  after: { kind: command, inputs: { i: zeros }, run: \"sh -c 'tail -c 6 $1 > $2' - {inputs.i} {outputs.o}\", outputs: [o] }
";

/// What every script begins with: `try WORDS` runs the program, and tells what it said and its exit code.
const PRELUDE: &str = r#"
set -eu
cd "$1"
try() {
  echo "$ pipe $*"
  code=0
  "$PIPE" "$@" 2>&1 || code=$?
  echo "[$code]"
}
mount -t tmpfs -o "size=$SIZE,mode=755" tmpfs disk
"#;

/// Runs a script in a name space in which it may mount, with a file system of `size` at `disk`. `None` where the tester may
/// not mount, which is said.
fn mounted(folder: &Folder, size: &str, script: &str) -> Option<Vec<Tried>> {
    folder.write("pipeline.yaml", format!("cache: disk/cache\n{STAGES}"));
    std::fs::create_dir_all(folder.path("disk")).unwrap();
    // Who isn't root becomes it, in a name space of users of its own.
    let may = |how: &&str| {
        let mut tried = Command::new("unshare");
        tried.args([how, "mount", "-t", "tmpfs", "tmpfs"]).arg(folder.path("disk"));
        tried.output().is_ok_and(|tried| tried.status.success())
    };
    let Some(how) = ["-m", "-rm"].into_iter().find(may) else {
        not_tried("nothing can be mounted here");
        return None;
    };
    let script = format!("{PRELUDE}{script}");
    let mut command = folder.program("unshare", &[how, "sh", "-c", &script, "sh"]);
    command.arg(folder.path("")).env("SIZE", size).env("PIPE", env!("CARGO_BIN_EXE_pipe"));
    let ended = folder.ended(command.output().unwrap());
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let mut tried: Vec<Tried> = Vec::new();
    for line in ended.stdout.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            tried.push(Tried { command: command.to_owned(), said: String::new(), code: None });
            continue;
        }
        let last = tried.last_mut().unwrap();
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(code) if last.code.is_none() => last.code = code.parse().ok(),
            _ => last.said.extend([line, "\n"]),
        }
    }
    Some(tried)
}

/// A command of a script, what came of it, and what the script said before the next one.
#[derive(Debug)]
struct Tried {
    command: String,
    said: String,
    code: Option<i32>,
}

/// Checks that each command ended as it should, and said all that it should.
#[track_caller]
fn expect(tried: &[Tried], expected: &[(&str, i32, &[&str])]) {
    assert_eq!(tried.len(), expected.len(), "{tried:#?}");
    for (tried, (command, code, parts)) in tried.iter().zip(expected) {
        assert_eq!(tried.command, *command);
        assert_eq!(tried.code, Some(*code), "{tried:#?}");
        for part in *parts {
            assert!(tried.said.contains(part), "{part}: {tried:#?}");
        }
    }
}

#[test]
fn a_disk_that_runs_full_is_told_and_what_was_made_before_is_kept() {
    let folder = Folder::empty();
    let tried = mounted(
        &folder,
        "3m",
        "
try run -j 1 after
try run -j 1 spectra
try cache verify
find disk/cache/tmp disk/cache/leases -type f
try run small
# Not a byte is left, and nothing is needed.
head -c 9999999 /dev/zero > disk/ballast 2>/dev/null || true
try run small
try run -j 1 spectra
rm disk/ballast
mount -o remount,size=64m disk
try run
try cache verify
cat out/after/o
",
    );
    let Some(tried) = tried else { return };
    let full = "No space left on device";
    let advice = "free some space, for example by `pipe cache gc`";
    expect(
        &tried,
        &[
            ("pipe run -j 1 after", 3, &["stage `zeros`: ", full, advice]),
            ("pipe run -j 1 spectra", 3, &["stage `spectra`: ", full, advice, "disk/cache/"]),
            ("pipe cache verify", 0, &["all is sound\n"]),
            ("pipe run small", 0, &["1 reused"]),
            ("pipe run small", 0, &["1 reused"]),
            ("pipe run -j 1 spectra", 3, &[full, advice]),
            ("pipe run", 0, &["3 executed, 1 reused"]),
            ("pipe cache verify", 0, &["all is sound\nsmall\n"]),
        ],
    );
    assert!(tried[2].said.ends_with("all is sound\n"), "nothing is left over: {tried:#?}");
}

#[test]
fn a_read_only_cache_is_read_and_told_of() {
    let folder = Folder::empty();
    let tried = mounted(
        &folder,
        "64m",
        "
try run
mount -o remount,ro disk
rm -r out
try run
cat out/after/o
try plan
try why zeros
try show small
try log
try logs small
try metrics
try out small there
try checkout ~0
try cache size
try cache verify
try cache gc
try run --name kept
try cache pin ~0
try cache gc --yes --keep-runs 0 --grace 0s
try run --set spectra.seed=2
mount -o remount,rw disk
try run --set spectra.seed=2
",
    );
    let Some(tried) = tried else { return };
    let read_only = "Read-only file system";
    let advice = "name another cache: `--set cache=PATH`";
    expect(
        &tried,
        &[
            ("pipe run", 0, &["4 executed"]),
            ("pipe run", 0, &["4 reused", "can't be remembered", read_only, "\nsmall\n"]),
            ("pipe plan", 0, &["4 stages"]),
            ("pipe why zeros", 0, &["nothing changed"]),
            ("pipe show small", 0, &["small\n"]),
            ("pipe log", 0, &["4 executed"]),
            ("pipe logs small", 0, &[]),
            ("pipe metrics", 0, &[]),
            ("pipe out small there", 0, &[]),
            ("pipe checkout ~0", 0, &[]),
            ("pipe cache size", 0, &["in all"]),
            ("pipe cache verify", 0, &["all is sound"]),
            ("pipe cache gc", 0, &["would remove 0 records"]),
            ("pipe run --name kept", 0, &["can't be remembered"]),
            ("pipe cache pin ~0", 3, &[read_only]),
            ("pipe cache gc --yes --keep-runs 0 --grace 0s", 3, &[read_only]),
            ("pipe run --set spectra.seed=2", 3, &[read_only, advice]),
            ("pipe run --set spectra.seed=2", 0, &["1 executed, 3 reused"]),
        ],
    );
}

/// Between two file systems nothing can be linked or renamed.
#[test]
fn a_cache_on_a_file_system_of_its_own_is_as_good() {
    let folder = Folder::empty();
    let tried = mounted(
        &folder,
        "64m",
        "
mkdir out
mount -t tmpfs tmpfs out
try run
cat out/after/o
echo mine > out/small/o
rm out/after/o
try run
cat out/small/o out/small/o.edited-1 out/after/o
stat -c %h disk/cache/blobs/*/* | sort -u
try cache verify
",
    );
    let Some(tried) = tried else { return };
    expect(
        &tried,
        &[
            ("pipe run", 0, &["4 executed", "\nsmall\n"]),
            ("pipe run", 0, &["4 reused", "\nsmall\nmine\nsmall\n1\n"]),
            ("pipe cache verify", 0, &["all is sound"]),
        ],
    );
    assert!(!Path::new(&folder.path("disk/cache")).exists(), "the script's mounts ended with it");
}

/// What is known is in the cache, on another disk than `out`: there it is no news that one is full.
#[test]
fn out_on_a_full_disk_has_its_own_advice() {
    let folder = Folder::empty();
    let tried = mounted(
        &folder,
        "64m",
        "
mkdir out
mount -t tmpfs -o size=1m tmpfs out
try run
ls -A out
mount -o remount,size=8m out
try run
cat out/after/o
",
    );
    let Some(tried) = tried else { return };
    let full = "No space left on device";
    expect(
        &tried,
        &[
            ("pipe run", 3, &["ROOT/out/", full, "free some space on that disk"]),
            ("pipe run", 0, &["4 reused", "\nsmall\n"]),
        ],
    );
    assert!(!tried[0].said.contains("cache gc"), "{tried:#?}");
    assert!(tried[0].said.ends_with(".lock\n"), "nothing is half placed: {tried:#?}");
}

#[test]
fn a_run_in_a_workspace_that_is_read_only_has_done_its_work() {
    let folder = Folder::empty();
    let tried = mounted(
        &folder,
        "64m",
        "
mkdir work
cp pipeline.yaml work
sed -i s,disk/,../disk/, work/pipeline.yaml
mount --bind work work
mount -o remount,bind,ro work
cd work
try run
try run
try out after.o
try out after.o ../there
cat ../there
mount -o remount,bind,rw .
try run
mount -o remount,bind,ro .
try run
try run --set spectra.seed=2
try out after.o
",
    );
    let Some(tried) = tried else { return };
    let warned = &["warning: `out/` does not show the results", "Read-only file system"];
    expect(
        &tried,
        &[
            ("pipe run", 0, &["4 executed", warned[0], warned[1]]),
            ("pipe run", 0, &["4 reused", warned[0], warned[1]]),
            ("pipe out after.o", 3, &["error: failed to make the folder", "pipe out STAGE.OUTPUT"]),
            ("pipe out after.o ../there", 0, &["small\n"]),
            ("pipe run", 0, &["4 reused"]),
            ("pipe run", 0, &["4 reused"]),
            ("pipe run --set spectra.seed=2", 0, &["1 executed, 3 reused"]),
            ("pipe out after.o", 0, &["out/after/o"]),
        ],
    );
    assert!(!tried[4].said.contains("warning"), "{tried:#?}");
    assert!(!tried[5].said.contains("warning"), "what stands there is right: {tried:#?}");
}

#[test]
fn out_and_a_stage_in_it_may_be_links_to_other_disks() {
    let folder = Folder::empty();
    let tried = mounted(
        &folder,
        "64m",
        "
mkdir other disk/out
mount -t tmpfs tmpfs other
mkdir other/after
ln -s disk/out out
ln -s ../../other/after disk/out/after
try run
cat out/after/o
echo mine > out/after/o
try run
cat other/after/o other/after/o.edited-1 disk/out/small/o
ls -A other/after disk/out
",
    );
    let Some(tried) = tried else { return };
    let listed =
        "disk/out:\n.lock\n.placed.json\nafter\nsmall\nzeros\n\nother/after:\no\no.edited-1\n";
    expect(
        &tried,
        &[
            ("pipe run", 0, &["4 executed", "\nsmall\n"]),
            ("pipe run", 0, &["4 reused", "\nsmall\nmine\nsmall\n", listed]),
        ],
    );
}
