//! What runs, and what doesn't.

use std::process::Stdio;

use crate::support::{Folder, outcomes};

/// `parity` of a number only changes when its parity does, so that `last` shows early cutoff.
const CHAIN: &str = "\
vars: { n: 3 }
stages:
  number:
    kind: command
    config: { n: \"${n}\" }
    run: sh -c 'echo $1 > $2' - {config.n} {outputs.n}
    outputs: [n]
  parity:
    kind: command
    inputs: { n: number }
    shell: true
    run: echo $(( $(cat {inputs.n}) % 2 )) > {outputs.p}
    outputs: [p]
  last:
    kind: command
    inputs: { p: parity }
    config: { scale: 0.001 }
    run: sh -c 'cat $1 > $3; echo $2 >> $3' - {inputs.p} {config.scale} {outputs.l}
    outputs: [l]
";

#[test]
fn a_second_run_executes_nothing_and_a_change_only_what_it_touches() {
    let folder = Folder::new(CHAIN);
    assert_eq!(folder.executed(&[]), ["last", "number", "parity"]);
    assert_eq!(folder.read("out/last/l"), "1\n0.001\n");
    assert!(folder.executed(&[]).is_empty());
    // The number changes and its parity doesn't: nothing after it runs.
    assert_eq!(folder.executed(&["--set", "vars.n=5"]), ["number", "parity"]);
    assert_eq!(folder.executed(&["--set", "vars.n=6"]), ["last", "number", "parity"]);
    assert_eq!(folder.read("out/last/l"), "0\n0.001\n");
    // Back to what is known.
    assert!(folder.executed(&[]).is_empty());
    assert_eq!(folder.read("out/last/l"), "1\n0.001\n");
    assert_eq!(folder.executed(&["--set", "last.scale=0.002"]), ["last"]);
}

#[test]
fn comments_key_order_and_spelling_rerun_nothing() {
    let folder = Folder::new(CHAIN);
    folder.run(&[]);
    folder.write(
        "pipeline.yaml",
        format!(
            "# A comment.\n{}",
            CHAIN.replace("0.001", "1e-3").replace("outputs: [l]", "outputs: [l] # one")
        ),
    );
    assert!(folder.executed(&[]).is_empty());
    let swapped = CHAIN.replace(
        "    kind: command\n    inputs: { n: number }\n",
        "    inputs: {\"n\": 'number'}\n    kind: 'command'\n",
    );
    folder.write("pipeline.yaml", swapped.replace("n: 3", "n: 0x3"));
    assert!(folder.executed(&[]).is_empty());
    // A stage's name is no part of what it computes.
    folder.write("pipeline.yaml", CHAIN.replace("parity", "oddness"));
    assert!(folder.executed(&[]).is_empty());
}

#[test]
fn a_stage_brings_what_it_needs_and_no_more() {
    let folder = Folder::new(CHAIN);
    let ran = folder.run(&["parity"]);
    assert_eq!(ran.keys().collect::<Vec<_>>(), ["number", "parity"]);
    assert!(!folder.path("out/last").exists());
    let unknown = folder.pipe(&["run", "partiy"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("did you mean `parity`?"), "{}", unknown.stderr);
}

#[test]
fn lines_tell_what_happened_in_the_order_of_the_pipeline() {
    let folder = Folder::new(CHAIN);
    let first = folder.pipe(&["run", "-j", "4"]);
    let words = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
            .collect()
    };
    assert_eq!(
        words(&first.stdout),
        ["executed number", "executed parity", "executed last", "3 stages:"]
    );
    assert!(first.stdout.lines().all(|line| !line.contains('\u{1b}')), "{}", first.stdout);
    let changed = folder.pipe(&["run", "--set", "last.scale=2"]);
    assert!(changed.stdout.contains("config.scale 0.001 → 2"), "{}", changed.stdout);
    let quiet = folder.pipe(&["run", "-q"]);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let verbose = folder.pipe(&["run", "-v"]);
    assert!(verbose.stdout.contains("fingerprint "), "{}", verbose.stdout);
    let coloured = folder.pipe(&["run", "--color", "always"]);
    assert!(coloured.stdout.contains('\u{1b}'));
}

#[test]
fn plan_and_status_say_what_run_would_do_and_do_nothing() {
    let folder = Folder::new(CHAIN);
    let plan = folder.pipe(&["plan", "--json"]);
    assert_eq!(plan.code, Some(0));
    let planned = outcomes(&plan.json());
    assert_eq!(planned["number"], "would-execute");
    assert_eq!(planned["last"], "unknown");
    assert!(folder.pipe(&["status"]).stdout.ends_with("0 of 3 stages are current\n"));
    assert!(!folder.path("cache").exists());
    folder.run(&[]);
    let status = folder.pipe(&["status", "--set", "last.scale=7"]);
    assert!(
        status.stdout.contains("stale      last    config.scale 0.001 → 7"),
        "{}",
        status.stdout
    );
    assert!(status.stdout.ends_with("2 of 3 stages are current\n"));
    let plan = folder.pipe(&["plan"]);
    assert!(plan.stdout.ends_with("3 stages: 3 to reuse\n"), "{}", plan.stdout);
}

#[test]
fn the_pipeline_is_found_upwards_or_named() {
    let folder = Folder::new(CHAIN);
    folder.write("deep/er/here", "");
    let mut command = folder.command(&["run", "-q"]);
    let ended = folder.ended(command.current_dir(folder.path("deep/er")).output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(folder.path("cache").is_dir());
    assert_eq!(folder.pipe(&["-f", "pipeline.yaml", "run", "-q"]).code, Some(0));
    assert_eq!(folder.pipe(&["run", "-q", "-f", "none.yaml"]).code, Some(2));
    let nowhere = Folder::empty().pipe(&["run"]);
    assert_eq!(nowhere.code, Some(2));
    assert!(nowhere.stderr.contains("pipe init"), "{}", nowhere.stderr);
}

#[test]
fn how_a_run_ended_is_told_also_when_nobody_reads() {
    let folder = Folder::new(
        "stages:\n  bad: { kind: command, run: \"sh -c 'exit 1' {outputs.o}\", outputs: [o] }\n",
    );
    let mut child =
        folder.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = folder.ended(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}

#[test]
fn more_jobs_than_a_machine_takes_are_refused_with_the_bound() {
    let folder = Folder::new(CHAIN);
    for (jobs, said) in [("100000", "or less"), ("0", "0")] {
        let ended = folder.pipe(&["run", "-j", jobs]);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
        assert!(!folder.path("cache/records").exists() || folder.cached("records").is_empty());
    }
    assert_eq!(folder.pipe(&["run", "-j", "64"]).code, Some(0));
}

#[test]
fn jobs_are_commands_and_not_threads() {
    let folder = Folder::new(
        "stages:
  threads: { kind: command, shell: true, run: \"grep ^Threads /proc/$PPID/status > {outputs.o}\", outputs: [o] }
",
    );
    if !std::path::Path::new("/proc/self/status").exists() {
        return crate::support::not_tried("there is no /proc");
    }
    assert_eq!(folder.pipe(&["run", "-j", "64"]).code, Some(0));
    let told = folder.read("out/threads/o");
    let threads: usize = told.trim_start_matches("Threads:").trim().parse().unwrap();
    let processors = std::thread::available_parallelism().unwrap().get();
    assert!(threads <= 2 * processors + 12, "{threads} threads on {processors} processors");
}

#[test]
fn no_more_commands_than_jobs_run_whichever_stages_they_are_of() {
    let each = |name: &str| {
        format!(
            "  {name}: {{ kind: command, inputs: {{ i: {{ file: in }} }}, for_each: i, shell: true, outputs: [o], \
             run: \"echo + >> ROOT/log; sleep 0.1; echo - >> ROOT/log; cat {{inputs.i}} > {{outputs.o}}; : {name}\" }}\n"
        )
    };
    let folder = Folder::empty();
    let yaml = ["a", "b", "c"].map(each).concat();
    let root = folder.path("").canonicalize().unwrap();
    folder.write(
        "pipeline.yaml",
        format!("stages:\n{yaml}").replace("ROOT/", &format!("{}/", root.display())),
    );
    for i in 0..6 {
        folder.write(&format!("in/{i}"), i.to_string());
    }
    assert_eq!(folder.pipe(&["run", "-j", "3"]).code, Some(0));
    let (mut now, mut most) = (0, 0);
    for line in folder.read("log").lines() {
        now += if line == "+" { 1 } else { -1 };
        most = most.max(now);
    }
    assert_eq!(now, 0);
    assert!((2..=3).contains(&most), "{most} at once");
}
