//! `kind: command`: any program as a stage.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Folder, outcomes};

#[test]
fn a_failure_shows_the_code_and_what_was_printed_and_stops_the_run() {
    let folder = Folder::new(
        "stages:\n  \
         bad: { kind: command, run: \"sh -c 'echo to stdout; echo to stderr >&2; exit 7' {outputs.o}\", outputs: [o] }\n  \
         after: { kind: command, inputs: { i: bad }, run: \"cp {inputs.i} {outputs.o}\", outputs: [o] }\n  \
         other: { kind: command, run: \"touch {outputs.o}\", outputs: [o] }\n",
    );
    let ended = folder.pipe(&["run", "-j", "1"]);
    assert_eq!(ended.code, Some(1));
    for part in
        ["error: stage `bad`: the command exited with code 7", "  | to stdout", "  | to stderr"]
    {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    let report = folder.pipe(&["run", "-k", "--json"]);
    assert_eq!(report.code, Some(1));
    let report = report.json();
    assert_eq!(report["ok"], false);
    let outcomes = outcomes(&report);
    assert_eq!((outcomes["bad"].as_str(), outcomes["after"].as_str()), ("failed", "skipped"));
    assert!(["executed", "reused"].contains(&outcomes["other"].as_str()));
}

#[test]
fn what_a_command_must_not_do_is_an_error() {
    for (run, part) in [
        ("true {outputs.o}", "did not write its output `o`"),
        (
            "sh -c 'chmod +w $1; echo more >> $1; touch $2' - {inputs.i} {outputs.o}",
            "changed its input `i`",
        ),
        ("no-such-program-anywhere {outputs.o}", "failed to start `no-such-program-anywhere`"),
        ("sh -c 'kill -9 $$' - {outputs.o}", "was killed by signal 9"),
    ] {
        let folder = Folder::new(&format!(
            "stages:\n  made: {{ kind: command, run: \"sh -c 'echo 1 > $1' - {{outputs.m}}\", outputs: [m] }}\n  \
             c:\n    kind: command\n    inputs: {{ i: made }}\n    run: {run}\n    outputs: [o]\n"
        ));
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(1), "{run}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{run}: {}", ended.stderr);
        assert_eq!(folder.pipe(&["run", "made"]).code, Some(0));
        assert_eq!(folder.read("out/made/m"), "1\n");
    }
}

#[test]
fn files_and_variables_of_the_environment_count_and_nothing_else_does() {
    let folder = Folder::new(
        "stages:\n  c:\n    kind: command\n    run: sh script/run.sh {outputs.o}\n    outputs: [o]\n    \
         files: [script]\n    env: [COLOUR]\n",
    );
    folder.write("script/run.sh", "echo \"$COLOUR\" > $1; ls >> $1");
    let executed = |colour: &str| {
        let mut command = folder.command(&["run", "--json"]);
        let ended =
            folder.ended(command.env("COLOUR", colour).env("OTHER", colour).output().unwrap());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        outcomes(&ended.json())["c"].clone()
    };
    assert_eq!(executed("red"), "executed");
    // It runs in a fresh folder, where its files are and nothing else.
    assert_eq!(folder.read("out/c/o"), "red\nscript\n");
    assert_eq!(executed("red"), "reused");
    assert_eq!(executed("blue"), "executed");
    assert_eq!(executed("red"), "reused");
    folder.write("script/run.sh", "echo \"$COLOUR\" again > $1");
    assert_eq!(executed("red"), "executed");
    folder.write("unrelated", "x");
    assert_eq!(executed("red"), "reused");
}

#[test]
fn values_are_single_words_whatever_they_hold() {
    let nasty = "a b; $(touch hacked) 'x' \\ * \u{e9}";
    for shell in ["false", "true"] {
        let folder = Folder::new(&format!(
            "stages:\n  c:\n    kind: command\n    config: {{ v: \"{}\" }}\n    shell: {shell}\n    \
             run: {}\n    outputs: [o]\n",
            nasty.replace('\\', "\\\\"),
            if shell == "true" {
                "printf %s {config.v} > {outputs.o}"
            } else {
                "sh -c 'printf %s \"$1\" > \"$2\"' - {config.v} {outputs.o}"
            }
        ));
        assert_eq!(folder.pipe(&["run"]).code, Some(0));
        assert_eq!(folder.read("out/c/o"), nasty);
        assert!(!folder.path("hacked").exists());
    }
}

#[test]
fn braces_that_are_no_placeholder_stand_for_themselves() {
    let folder = Folder::new(
        "stages:\n  c:\n    kind: command\n    config: { v: 2 }\n    shell: true\n    run: |\n      \
         echo '3 4' | awk '{if($1){print $2}}' > {outputs.o}\n      echo '{\"a\":{\"b\":'{config.v}'}}' >> {outputs.o}\n      \
         echo '{{config.v}}' >> {outputs.o}\n    outputs: [o]\n",
    );
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(folder.read("out/c/o"), "4\n{\"a\":{\"b\":2}}\n{config.v}\n");
}

#[test]
fn folders_are_outputs_and_inputs() {
    let folder = Folder::new(
        "stages:\n  made: { kind: command, run: \"sh -c 'mkdir -p $1/sub; echo 1 > $1/sub/a' - {outputs.d}\", outputs: [d] }\n  \
         read:\n    kind: command\n    inputs: { d: made, own: { file: mine } }\n    \
         run: sh -c 'cat $1/sub/a $2/x > $3' - {inputs.d} {inputs.own} {outputs.o}\n    outputs: [o]\n",
    );
    folder.write("mine/x", "2\n");
    folder.run(&[]);
    assert_eq!(folder.read("out/read/o"), "1\n2\n");
    folder.write("mine/x", "3\n");
    assert_eq!(folder.executed(&[]), ["read"]);
    // Put back, it is known.
    folder.write("mine/x", "2\n");
    assert!(folder.executed(&[]).is_empty());
    let mode = folder.path("out/read/o").metadata().unwrap().permissions().mode();
    assert_ne!(mode & 0o200, 0, "what stands in out is the user's own");
}

#[test]
fn a_command_finds_nothing_of_those_before_it() {
    // One worker, so that all work in the same place.
    let stage = |name: &str, after: &str, script: &str| {
        format!(
            "  {name}:\n    kind: command\n    inputs: {{ {after} }}\n    outputs: [o, p]\n    shell: true\n    run: |\n      \
             o={{outputs.o}}; p={{outputs.p}}\n      {script}\n"
        )
    };
    let list = "all=$(ls -A . .. $(dirname $o)); touch $p; echo \"$all\" > $o";
    let folder = Folder::new(
        &[
            "stages:\n",
            &stage("first", "", list),
            &stage(
                "litter",
                "i: first.o",
                "mkdir -p a/b; touch a/b/c d $(dirname $o)/e; ln -s / f; echo printed; touch $o $p",
            ),
            &stage("second", "j: litter.o", list),
            &stage("closed", "i: second.o", "touch $o $p; chmod 500 ."),
            &stage("third", "j: closed.o", list),
            // It writes where it was started, after its command has ended.
            &stage("late", "i: third.o", "(sleep 0.4; touch late) > /dev/null 2>&1 & touch $o $p"),
            &stage("fourth", "j: late.o", &format!("sleep 0.8; {list}")),
        ]
        .concat(),
    );
    let ended = folder.pipe(&["run", "-j", "1"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let found = |stage: &str| {
        let text = folder.read(&format!("out/{stage}/o"));
        text.lines().filter(|line| !line.ends_with(':')).map(str::to_owned).collect::<Vec<_>>()
    };
    // Beside the folder in which it works are places for what it prints and makes, and for inputs if it has some.
    assert_eq!(found("first"), ["", "lock", "log", "outputs", "work", ""]);
    for stage in ["second", "third", "fourth"] {
        assert_eq!(found(stage), ["", "inputs", "lock", "log", "outputs", "work", ""], "{stage}");
    }
    assert_eq!(folder.pipe(&["logs", "litter"]).stdout, "printed\n");
    assert!(folder.pipe(&["logs", "second"]).stderr.contains("printed nothing"));
}

#[test]
fn what_an_output_links_to_elsewhere_is_refused_and_stays_where_it_is() {
    let folder = Folder::new(
        "stages:\n  c:\n    kind: command\n    run: sh -c 'ln -s \"$0\" \"$1\"; ln -s \"$0/a\" \"$2\"' {config.mine} {outputs.o} {outputs.p}\n    \
         outputs: [o, p]\n    config: { mine: MINE }\n",
    );
    let yaml = folder.read("pipeline.yaml");
    let mine = folder.path("mine");
    folder.write("pipeline.yaml", yaml.replace("MINE", &mine.display().to_string()));
    for (name, text) in [("mine/a", "1"), ("mine/b/c", "2")] {
        folder.write(name, text);
    }
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("the link `o` to `ROOT/mine`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("let it copy what the link leads to"), "{}", ended.stderr);
    for (name, text) in [("mine/a", "1"), ("mine/b/c", "2")] {
        assert_eq!(folder.read(name), text);
    }
    assert!(!folder.path("out/c").exists());
}
