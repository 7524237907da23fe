//! `pipe metrics`.

use crate::support::Folder;

/// A command that makes a document, a folder with two, a text and a Zarr group, and a built-in kind with arrays.
const DOCUMENTS: &str = "\
stages:
  score:
    kind: command
    config: { n: 3 }
    files: [score.sh]
    run: sh score.sh {config.n} {outputs.m.json} {outputs.several} {outputs.t.txt} {outputs.z}
    outputs: [m.json, several, t.txt, z]
  generate: { config: { count: 3, channels: 16 } }
";

fn folder() -> Folder {
    let folder = Folder::new(DOCUMENTS);
    folder.write(
        "score.sh",
        "n=$1\n\
         echo '{\"f1\": 0.'$n', \"count\": '$n', \"f1_by\": {\"width\": 0.5}, \"name\": \"x\", \"long\": ['$(seq -s, 40)']}' > $2\n\
         mkdir $3 $5\necho '{\"a\": 1}' > $3/one.json\necho '{\"a\": 2}' > $3/two.json\necho none > $4\n\
         echo '{\"zarr_format\": 3}' > $5/zarr.json\n",
    );
    folder
}

#[test]
fn numbers_stand_side_by_side() {
    let folder = folder();
    folder.run(&["--name", "three"]);
    folder.run(&["--set", "score.n=4", "--name", "four"]);
    let table = folder.pipe(&["metrics"]);
    assert_eq!((table.code, table.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        table.stdout,
        " number                    four  three\n \
         score.m.json:count           4      3\n \
         score.m.json:f1            0.4    0.3\n \
         score.m.json:f1_by.width   0.5    0.5\n \
         score.several/one.json:a     1      1\n \
         score.several/two.json:a     2      2\n"
    );
    let one = folder.pipe(&["metrics", "three", "--key", "f1*"]).stdout;
    assert_eq!(
        one,
        " number                    three\n score.m.json:f1             0.3\n score.m.json:f1_by.width    0.5\n"
    );
    let stage = folder.pipe(&["metrics", "--stage", "generate"]).stdout;
    assert_eq!(stage, "no documents with numbers\n");
}

#[test]
fn programs_read_json_and_csv() {
    let folder = folder();
    folder.run(&["--name", "three"]);
    folder.run(&["--set", "score.n=4"]);
    let object = folder.pipe(&["metrics", "--json", "three", "last"]).json();
    assert_eq!(object["runs"][0]["name"], "three");
    assert_eq!(object["runs"][0]["numbers"]["score.m.json:f1"], 0.3);
    assert_eq!(object["runs"][1]["numbers"]["score.m.json:count"], 4.0);
    let csv = folder.pipe(&["metrics", "--csv", "--key", "count", "--key", "*:f1"]).stdout;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines[0], "run,name,started,score.m.json:count,score.m.json:f1");
    assert!(lines[1].ends_with(",4,0.4") && lines[2].ends_with(",3,0.3"), "{csv}");
    assert!(lines[2].split(',').nth(1) == Some("three"), "{csv}");
    assert_eq!(lines.len(), 3);
}

#[test]
fn the_last_five_runs_are_shown() {
    let folder = folder();
    for n in 1..=7 {
        folder.run(&["--set", &format!("score.n={n}"), "--name", &format!("n{n}")]);
    }
    let head = folder.pipe(&["metrics", "--key", "count"]).stdout;
    let names: Vec<&str> = head.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(names, ["number", "n7", "n6", "n5", "n4", "n3"]);
}

#[test]
fn what_means_nothing_or_is_gone_is_told() {
    let folder = folder();
    assert_eq!(folder.pipe(&["metrics"]).code, Some(2));
    folder.run(&[]);
    let key = folder.pipe(&["metrics", "--key", "coutn"]);
    assert_eq!(key.code, Some(2));
    assert!(key.stderr.contains("did you mean `count`?"), "{}", key.stderr);
    let stage = folder.pipe(&["metrics", "--stage", "scor"]);
    assert_eq!(stage.code, Some(2));
    assert!(stage.stderr.contains("did you mean `score`?"), "{}", stage.stderr);
    assert_eq!(folder.pipe(&["metrics", "~7"]).code, Some(2));
    assert_eq!(folder.pipe(&["metrics", "--csv", "--json"]).code, Some(2));
    for tree in folder.cached("trees") {
        std::fs::remove_file(tree).unwrap();
    }
    let gone = folder.pipe(&["metrics"]);
    assert_eq!(gone.code, Some(0));
    assert!(gone.stderr.contains("warning: `score.m.json` of run"), "{}", gone.stderr);
    assert_eq!(gone.stdout, "no documents with numbers\n");
}

#[test]
fn the_documents_of_built_in_kinds_count_and_their_weights_do_not() {
    let folder = Folder::new(include_str!("../../pipeline.yaml"));
    folder.run(&crate::support::SMALL);
    let object = folder.pipe(&["metrics", "--json"]).json();
    let numbers = object["runs"][0]["numbers"].as_object().unwrap();
    assert!(numbers.keys().any(|key| key.starts_with("evaluate.metrics:")), "{numbers:?}");
    assert!(numbers.keys().all(|key| !key.starts_with("train.checkpoint")), "{numbers:?}");
}
