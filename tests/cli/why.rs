//! `pipe why`: the reason, down to the key and the file.

use crate::support::Folder;

/// `sum` reads a folder of the user's, a script, an environment variable, and what `number` made.
const PIPELINE: &str = "\
stages:
  number: { kind: command, config: { n: 3 }, run: \"sh -c 'echo $1 > $2' - {config.n} {outputs.n}\", outputs: [n] }
  sum:
    kind: command
    inputs: { n: number, table: { file: data } }
    config: { digits: 2, title: short }
    run: sh sum.sh {inputs.n} {inputs.table} {outputs.o} {config.digits} {config.title}
    outputs: [o]
    files: [sum.sh]
    env: [COLOUR]
";

fn folder() -> Folder {
    let folder = Folder::new(PIPELINE);
    folder.write("sum.sh", "cat $1 $2/* > $3");
    for name in ["a", "b", "c"] {
        folder.write(&format!("data/{name}.csv"), name);
    }
    folder
}

fn why(folder: &Folder, arguments: &[&str]) -> String {
    let ended = folder.pipe(&[&["why", "sum"], arguments].concat());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    ended.stdout
}

#[test]
fn a_stage_without_a_past_and_one_that_waits_say_so() {
    let folder = folder();
    let number = folder.pipe(&["why", "number"]).stdout;
    assert_eq!(
        number,
        "execute   number  first run\n          no earlier run of this pipeline had such a stage\n"
    );
    let waits = why(&folder, &[]);
    assert_eq!(
        waits,
        "unknown   sum  depends on `number`, which has no result yet\n          \
         its own answer waits for what must be executed first:\n\
         execute   number  first run\n"
    );
    assert!(!folder.path("cache").exists());
    let object = folder.pipe(&["why", "sum", "--json"]).json();
    assert_eq!(object["why"]["why"], "waits");
    assert_eq!(object["first"][0]["stage"], "number");
    assert_eq!(object["first"][0]["why"]["why"], "first-run");
}

#[test]
fn a_reused_stage_says_that_nothing_changed_and_where_its_result_was_made() {
    let folder = folder();
    folder.run(&[]);
    let reused = why(&folder, &[]);
    assert!(reused.starts_with("reuse     sum  nothing changed\n          made "), "{reused}");
    folder.run(&["--set", "sum.digits=3"]);
    let known = why(&folder, &[]);
    assert!(known.starts_with("reuse     sum  the result is known\n"), "{known}");
}

#[test]
fn the_key_the_file_and_the_variable_are_named() {
    let folder = folder();
    folder.run(&[]);
    let reason = |text: String| {
        let line = text.lines().next().unwrap().to_owned();
        line.strip_prefix("execute   sum  ").unwrap_or_else(|| panic!("{line}")).to_owned()
    };
    assert_eq!(reason(why(&folder, &["--set", "sum.digits=3"])), "config.digits 2 → 3");
    let colour = folder.command(&["why", "sum"]).env("COLOUR", "red").output().unwrap();
    assert_eq!(reason(folder.ended(colour).stdout), "env COLOUR changed");
    // One file.
    folder.write("data/b.csv", "other");
    assert_eq!(reason(why(&folder, &[])), "input table changed: b.csv");
    // A script, and the command line.
    folder.write("data/b.csv", "b");
    folder.write("sum.sh", "cat $2/* $1 > $3");
    assert_eq!(reason(why(&folder, &[])), "file sum.sh changed");
    folder.write("sum.sh", "cat $1 $2/* > $3");
    folder.write("pipeline.yaml", PIPELINE.replace("run: sh sum.sh", "run: bash sum.sh"));
    let changed = reason(why(&folder, &[]));
    assert!(changed.starts_with("run sh sum.sh {inputs.n} {inp"), "{changed}");
    let whole = why(&folder, &[]);
    assert!(
        whole.contains("\n            + bash sum.sh {inputs.n} {inputs.table} {outputs.o} "),
        "{whole}"
    );
    // An input by another name.
    folder.write("pipeline.yaml", PIPELINE.replace("table", "rows"));
    let renamed = reason(why(&folder, &[]));
    assert!(renamed.ends_with("input rows added; input table removed"), "{renamed}");
}

#[test]
fn many_files_are_counted_and_the_first_are_named() {
    let folder = folder();
    folder.run(&[]);
    for number in 0..20 {
        folder.write(&format!("data/n{number:02}.csv"), "new");
    }
    std::fs::remove_file(folder.path("data/c.csv")).unwrap();
    folder.write("data/a.csv", "changed");
    let text = why(&folder, &[]);
    assert!(
        text.starts_with(
            "execute   sum  input table changed: a.csv, n00.csv added, n01.csv added and 19 more\n"
        ),
        "{text}"
    );
    for line in ["input table: 22 files", "  changed  a.csv", "  added    n08.csv", "  and 12 more"]
    {
        assert!(text.contains(&format!("          {line}\n")), "{line}: {text}");
    }
    let object = folder.pipe(&["why", "sum", "--json"]).json();
    let files = &object["why"]["changes"][0]["files"];
    assert_eq!(files["added"].as_array().unwrap().len(), 20);
    assert_eq!((&files["changed"][0], &files["removed"][0]), (&"a.csv".into(), &"c.csv".into()));
    let plan = folder.pipe(&["plan"]).stdout;
    let reason = text.lines().next().unwrap().split("sum  ").nth(1).unwrap();
    assert!(plan.contains(reason), "{plan}");
}

#[test]
fn the_plan_answers_in_the_words_of_why() {
    let folder = folder();
    let same = |arguments: &[&str], expected: &str| {
        let plan = folder.pipe(&[&["plan"], arguments].concat()).stdout;
        let lines: Vec<String> = plan
            .lines()
            .filter(|line| line.contains(" sum "))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        let why = why(&folder, arguments);
        let answer = why.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!((lines.as_slice(), answer.as_str()), (&[expected.to_owned()][..], expected));
    };
    same(&[], "unknown sum depends on `number`, which has no result yet");
    folder.run(&[]);
    same(&[], "reuse sum nothing changed");
    same(&["--set", "sum.digits=3"], "execute sum config.digits 2 → 3");
    folder.write("data/b.csv", "other");
    folder.write("sum.sh", "cat $2/* $1 > $3");
    same(&[], "execute sum file sum.sh changed; input table changed: b.csv");
}

#[test]
fn chunks_of_arrays_are_named() {
    let folder = Folder::new(
        "stages:\n  made:\n    kind: command\n    config: { n: 1 }\n    shell: true\n    run: |\n      \
         mkdir -p {outputs.z}/flux/c/0\n      echo 1 | tee {outputs.z}/zarr.json {outputs.z}/flux/zarr.json\n      \
         echo 1 > {outputs.z}/flux/c/0/0\n      echo {config.n} > {outputs.z}/flux/c/0/1\n    outputs: [z]\n  \
         sum: { kind: command, inputs: { z: made }, run: \"sh -c 'ls $1 > $2' - {inputs.z} {outputs.o}\", outputs: [o] }\n",
    );
    folder.run(&[]);
    folder.run(&["made", "--set", "made.n=2"]);
    let text = why(&folder, &["--set", "made.n=2"]);
    assert!(text.starts_with("execute   sum  input z changed: chunk 0/1 of flux\n"), "{text}");
}

#[test]
fn the_nearest_result_is_what_is_compared_with() {
    let folder = folder();
    for (digits, title, name) in [("2", "x", "near"), ("9", "y", "far"), ("8", "z", "newest")] {
        let set = [format!("sum.digits={digits}"), format!("sum.title={title}")];
        folder.run(&["--set", &set[0], "--set", &set[1], "--name", name]);
    }
    // Two keys away from the newest and the second, one from the first.
    let text = why(&folder, &["--set", "sum.title=v"]);
    assert!(text.starts_with("execute   sum  config.title x → v\n"), "{text}");
    assert!(text.contains("compared with its nearest result, of run near\n"), "{text}");
    // As near to all of them: the newest counts.
    let text = why(&folder, &["--set", "sum.title=v", "--set", "sum.digits=1"]);
    assert!(text.starts_with("execute   sum  config.digits 8 → 1; config.title z → v\n"), "{text}");
}

#[test]
fn a_stage_that_failed_or_lost_its_result_says_so() {
    let folder = folder();
    folder.run(&[]);
    folder.write("sum.sh", "exit 1");
    assert_eq!(folder.pipe(&["run"]).code, Some(1));
    let text = why(&folder, &[]);
    assert!(
        text.starts_with("execute   sum  file sum.sh changed; its last run failed\n"),
        "{text}"
    );
    folder.write("sum.sh", "cat $1 $2/* > $3");
    for record in folder.cached("records") {
        std::fs::remove_file(record).unwrap();
    }
    let text = folder.pipe(&["why", "number"]).stdout;
    assert_eq!(text, "execute   number  its result is no longer in the cache\n");
    let broken = Folder::new(&PIPELINE.replace("sh sum.sh", "false"));
    broken.write("sum.sh", "");
    broken.write("data/a.csv", "");
    assert_eq!(broken.pipe(&["run"]).code, Some(1));
    assert!(why(&broken, &[]).starts_with("execute   sum  its last run failed\n"));
}

#[test]
fn a_stage_that_is_not_there_is_told() {
    let folder = folder();
    let unknown = folder.pipe(&["why", "sun"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("did you mean `sum`?"), "{}", unknown.stderr);
    assert_eq!(folder.pipe(&["why"]).code, Some(2));
}
