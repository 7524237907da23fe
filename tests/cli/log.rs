//! `pipe log`, the names of runs, and pins.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::Folder;

const TWO: &str = "\
stages:
  number: { kind: command, config: { n: 3 }, run: \"sh -c 'test $1 -lt 9 && echo $1 > $2' - {config.n} {outputs.n}\", outputs: [n] }
  copy: { kind: command, inputs: { n: number }, run: \"cp {inputs.n} {outputs.o}\", outputs: [o] }
";

/// The ids of the runs, newest first.
fn ids(folder: &Folder) -> Vec<String> {
    let runs = folder.pipe(&["log", "--json"]).json();
    let runs = runs["runs"].as_array().unwrap().iter();
    runs.map(|run| run["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn runs_are_listed_newest_first_with_what_they_did() {
    let folder = Folder::new(TWO);
    let none = folder.pipe(&["log"]);
    assert_eq!(
        (none.code, none.stdout.as_str()),
        (Some(0), "no run of this pipeline is remembered\n")
    );
    assert_eq!(folder.pipe(&["log", "--json"]).json()["runs"].as_array().unwrap().len(), 0);
    assert!(!folder.path("cache").exists());
    folder.run(&["--name", "first"]);
    folder.run(&["--set", "number.n=4"]);
    assert_eq!(folder.pipe(&["run", "--set", "number.n=9"]).code, Some(1));
    folder.run(&[]);
    let text = folder.pipe(&["log"]).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    for (line, part) in lines.iter().zip(["2 reused", "1 failed, 1 skipped", "2 executed", "first"])
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(lines[1].trim_end().ends_with("failed"), "{text}");
    assert!(!lines[0].contains("failed") && !lines[2].contains("failed"), "{text}");
    let two = folder.pipe(&["log", "-n", "2"]).stdout;
    assert!(two.ends_with("… 2 more runs; `-n N` shows more\n"), "{two}");
    assert_eq!(two.lines().count(), 3);
    let object = folder.pipe(&["log", "--json", "-n", "2"]).json();
    assert_eq!(object["remembered"], 4);
    let failed = &object["runs"][1];
    assert_eq!((&failed["ok"], &failed["interrupted"]), (&false.into(), &false.into()));
    assert_eq!(failed["stages"][0]["outcome"], "failed");
    assert!(failed["stages"][0]["error"]["message"].as_str().unwrap().contains("code 1"));
    assert!(failed["host"].is_string() && failed["version"].is_string());
}

#[test]
fn each_stage_is_told_on_request() {
    let folder = Folder::new(TWO);
    folder.run(&[]);
    assert_eq!(folder.pipe(&["run", "--set", "number.n=9"]).code, Some(1));
    let text = folder.pipe(&["log", "--stages"]).stdout;
    for part in [
        "  failed    number  ",
        "            the command exited with code 1",
        "  skipped   copy ",
        "  executed  copy ",
        "config.n 3 → 9",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn an_interrupted_run_is_remembered_as_such() {
    let folder = Folder::empty();
    let began = folder.path("began");
    folder.write(
        "pipeline.yaml",
        format!(
            "stages:\n  slow: {{ kind: command, shell: true, run: \"touch {} ; sleep 30; touch {{outputs.o}}\", outputs: [o] }}\n",
            began.display()
        ),
    );
    let child =
        folder.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let since = Instant::now();
    while !began.exists() {
        assert!(since.elapsed() < Duration::from_secs(20), "it never began");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    assert_eq!(folder.ended(child.wait_with_output().unwrap()).code, Some(130));
    let text = folder.pipe(&["log"]).stdout;
    assert!(text.contains("1 skipped") && text.trim_end().ends_with("interrupted"), "{text}");
    assert_eq!(folder.pipe(&["log", "--json"]).json()["runs"][0]["interrupted"], true);
    let why = folder.pipe(&["why", "slow"]).stdout;
    assert_eq!(why, "execute   slow  its last run was interrupted\n");
}

#[test]
fn a_name_belongs_to_one_run() {
    let folder = Folder::new(TWO);
    folder.run(&["--name", "base"]);
    let taken = folder.pipe(&["run", "--name", "base", "--set", "number.n=4"]);
    assert_eq!(taken.code, Some(2), "{}", taken.stdout);
    assert!(taken.stderr.contains("is called `base` already"), "{}", taken.stderr);
    assert!(taken.stderr.contains("choose another name"), "{}", taken.stderr);
    assert_eq!(ids(&folder).len(), 1, "nothing was run");
    for bad in ["a b", "last", "../x", "-x", "a.b", ""] {
        let ended = folder.pipe(&["run", &format!("--name={bad}")]);
        assert_eq!(ended.code, Some(2), "{bad}");
        assert!(ended.stderr.contains("is no name for a run"), "{bad}: {}", ended.stderr);
    }
    // A run that failed gives its name up to the next try.
    assert_eq!(folder.pipe(&["run", "--name", "next", "--set", "number.n=9"]).code, Some(1));
    folder.run(&["--name", "next", "--set", "number.n=5"]);
    let runs = folder.pipe(&["log", "--json"]).json();
    let names: Vec<&serde_json::Value> =
        runs["runs"].as_array().unwrap().iter().map(|run| &run["name"]).collect();
    assert_eq!(names, [&"next".into(), &serde_json::Value::Null, &"base".into()]);
    // Another pipeline has names of its own.
    fs::copy(folder.path("pipeline.yaml"), folder.path("other.yaml")).unwrap();
    assert_eq!(folder.pipe(&["run", "-f", "other.yaml", "--name", "base"]).code, Some(0));
}

#[test]
fn a_run_is_called_by_its_name_its_id_or_its_place() {
    let folder = Folder::new(TWO);
    let none = folder.pipe(&["trace", "last"]);
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("no run of this pipeline is remembered"), "{}", none.stderr);
    folder.run(&["--name", "base"]);
    folder.run(&["--set", "number.n=4"]);
    folder.run(&["--set", "number.n=5"]);
    let ids = ids(&folder);
    let called = |word: &str| {
        let ended = folder.pipe(&["trace", word]);
        assert_eq!(ended.code, Some(0), "{word}: {}", ended.stderr);
        ended.json()["otherData"]["run"].as_str().unwrap().to_owned()
    };
    assert_eq!(called("last"), ids[0]);
    assert_eq!((called("~1"), called("last~1")), (ids[1].clone(), ids[1].clone()));
    for word in ["~2", "base", &ids[2], &ids[2][..7]] {
        assert_eq!(called(word), "base", "{word}");
    }
    let beyond = folder.pipe(&["trace", "~3"]);
    assert_eq!(beyond.code, Some(2));
    assert!(beyond.stderr.contains("3 are remembered"), "{}", beyond.stderr);
    let unknown = folder.pipe(&["trace", "bose"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("did you mean `base`?"), "{}", unknown.stderr);
    let listed = folder.pipe(&["trace", "something-else"]);
    assert!(listed.stderr.contains(&format!("there are base, {}", ids[0])), "{}", listed.stderr);
}

#[test]
fn an_id_that_several_begin_with_lists_them() {
    let folder = Folder::new(TWO);
    folder.run(&["--name", "base"]);
    folder.run(&[]);
    // Let both ids begin with the same digits.
    for (file, id) in folder.cached("runs").into_iter().zip(["abcd0001-base", "abcd0002"]) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let stamp = name.split('-').next().unwrap();
        fs::rename(&file, file.with_file_name(format!("{stamp}-{id}.json"))).unwrap();
    }
    let ended = folder.pipe(&["trace", "abc"]);
    assert_eq!(ended.code, Some(2));
    for part in ["the ids of 2 runs begin with `abc`", "`abcd0001` (base, ", "`abcd0002` ("] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert_eq!(folder.pipe(&["trace", "abcd0002"]).code, Some(0));
}

#[test]
fn a_pin_is_a_file_beside_the_run() {
    let folder = Folder::new(TWO);
    folder.run(&["--name", "base"]);
    let pins = |folder: &Folder| {
        let files = folder.cached("runs");
        files.into_iter().filter(|file| file.extension().unwrap() == "pin").count()
    };
    let pinned = folder.pipe(&["cache", "pin", "base"]);
    assert_eq!(pinned.code, Some(0), "{}", pinned.stderr);
    assert!(pinned.stdout.starts_with("pinned run base ("), "{}", pinned.stdout);
    assert_eq!(pins(&folder), 1);
    let pin = folder.cached("runs").into_iter().find(|file| file.extension().unwrap() == "pin");
    assert!(pin.unwrap().with_extension("json").is_file());
    assert!(folder.pipe(&["log"]).stdout.trim_end().ends_with("pinned"));
    assert!(folder.pipe(&["cache", "pin", "last"]).stdout.starts_with("already pinned: run base"));
    assert!(folder.pipe(&["cache", "unpin", "base"]).stdout.starts_with("unpinned run base ("));
    assert_eq!(pins(&folder), 0);
    let again = folder.pipe(&["cache", "unpin", "base"]);
    assert_eq!((again.code, again.stdout.starts_with("not pinned: ")), (Some(0), true));
    assert_eq!(folder.pipe(&["cache", "pin", "bass"]).code, Some(2));
    assert_eq!(folder.pipe(&["cache", "pin"]).code, Some(2));
}

#[test]
fn a_run_whose_file_is_damaged_is_passed_over_with_a_warning() {
    let folder = Folder::new(TWO);
    folder.run(&[]);
    folder.run(&["--set", "number.n=4"]);
    let newest = folder.cached("runs").pop().unwrap();
    Folder::damage(&newest, |path| fs::write(path, "{\"format\":1}").unwrap());
    let ended = folder.pipe(&["log"]);
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("does not tell what a run did"), "{}", ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);
    let last = folder.pipe(&["log", "--json"]).json()["runs"][0]["id"].clone();
    let trace = folder.pipe(&["trace", "last"]);
    assert_eq!(trace.code, Some(0), "{}", trace.stderr);
    assert!(format!("{}{}", trace.stdout, trace.stderr).contains(last.as_str().unwrap()));
    let damaged =
        newest.file_stem().unwrap().to_str().unwrap().split('-').nth(1).unwrap().to_owned();
    assert_eq!(folder.pipe(&["trace", &damaged]).code, Some(3), "who asks for it is told");
    assert!(folder.executed(&[]).is_empty(), "the results are what they were");
}
