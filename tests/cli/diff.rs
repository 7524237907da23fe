//! `pipe diff`.

use crate::support::Folder;

const CHAIN: &str = "\
stages:
  number:
    kind: command
    config: { n: 3 }
    run: sh -c 'echo \"{\\\"n\\\":$1}\" > $2' - {config.n} {outputs.n.json}
    outputs: [n.json]
  parity:
    kind: command
    inputs: { n: number }
    config: { base: 2 }
    shell: true
    run: echo $(( $(tr -cd 0-9 < {inputs.n}) % {config.base} )) > {outputs.p}
    outputs: [p]
  other: { kind: command, run: \"touch {outputs.o}\", outputs: [o] }
";

fn diff(folder: &Folder, arguments: &[&str]) -> String {
    let ended = folder.pipe(&[&["diff"], arguments].concat());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    ended.stdout
}

#[test]
fn two_runs_are_compared_down_to_the_numbers() {
    let folder = Folder::new(CHAIN);
    folder.run(&["--name", "three"]);
    folder.run(&["--set", "number.n=5", "--name", "five"]);
    let text = diff(&folder, &["three", "five"]);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("- run three (") && lines[1].starts_with("+ run five ("),
        "{text}"
    );
    assert_eq!(lines[2..4], ["number", "  config.n 3 → 5"]);
    assert!(lines[4].starts_with("  output n.json ") && lines[4].contains(" → "), "{text}");
    assert_eq!(lines[5], "parity");
    assert!(lines[6].starts_with("  input n changed ("), "{text}");
    // Its output is the same, so it isn't told.
    assert_eq!(
        lines[7..],
        [
            " number           three  five  difference",
            " number.n.json:n      3     5          +2",
            "1 of 3 common stages are the same"
        ]
    );
    let object = folder.pipe(&["diff", "--json", "three", "five"]).json();
    let number = &object["changed"][0];
    assert_eq!(
        number["changes"][0],
        serde_json::json!({ "what": "config", "key": "config.n", "old": 3, "new": 5 })
    );
    assert_eq!(number["numbers"][0]["difference"], 2.0);
    assert_eq!(number["outputs"][0]["old"].as_str().unwrap().len(), 64);
    assert_eq!(object["same"], serde_json::json!(["other"]));
    let same = diff(&folder, &["last", "five"]);
    assert!(same.ends_with("\nall 3 stages are the same\n"), "{same}");
}

#[test]
fn stages_that_only_one_run_has_are_told() {
    let folder = Folder::new(CHAIN);
    folder.run(&["--name", "before"]);
    folder.write("pipeline.yaml", CHAIN.replace("  other:", "  another:"));
    folder.run(&[]);
    let text = diff(&folder, &["before", "last"]);
    assert!(text.contains("\n- stage other\n+ stage another\n"), "{text}");
    assert!(text.ends_with("\n2 of 2 common stages are the same\n"), "{text}");
}

#[test]
fn two_pipelines_are_compared_without_running_them() {
    let folder = Folder::new(CHAIN);
    folder.write(
        "new.yaml",
        CHAIN
            .replace("n: 3 }", "n: 4 }")
            .replace("base: 2", "base: 5")
            .replace("  other:", "  more:"),
    );
    let text = diff(&folder, &["pipeline.yaml", "new.yaml"]);
    assert_eq!(
        text,
        "- pipeline.yaml\n+ new.yaml\n- stage other\n+ stage more\nnumber\n  config.n 3 → 4\nparity\n  \
         config.base 2 → 5\n0 of 2 common stages are the same\n"
    );
    assert!(!folder.path("cache").exists());
    // What is known is compared, too.
    folder.run(&[]);
    assert_eq!(folder.pipe(&["run", "-q", "-f", "new.yaml"]).code, Some(0));
    let text = diff(&folder, &["./pipeline.yaml", "new.yaml"]);
    assert!(text.contains("  input n changed (") && text.contains("  output p "), "{text}");
    assert!(text.contains("number.n.json:n              3         4          +1\n"), "{text}");
    // A run and a pipeline.
    let text = diff(&folder, &["last", "pipeline.yaml"]);
    assert!(text.ends_with("all 3 stages are the same\n"), "{text}");
    // Where an input comes from.
    folder.write(
        "new.yaml",
        format!(
            "{}  two:{}",
            CHAIN,
            &CHAIN[CHAIN.find("number:").unwrap() + 7..CHAIN.find("  parity").unwrap()]
        )
        .replace("{ n: number }", "{ n: two }"),
    );
    let text = diff(&folder, &["pipeline.yaml", "new.yaml"]);
    assert!(text.contains("  inputs.n number.n.json → two.n.json\n"), "{text}");
}

#[test]
fn what_can_not_be_compared_is_told() {
    let folder = Folder::new(CHAIN);
    folder.run(&["--name", "three"]);
    for arguments in [&["three", "thre"][..], &["three", "none.yaml"], &["three"], &["~1", "last"]]
    {
        let ended = folder.pipe(&[&["diff"], arguments].concat());
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stdout);
    }
    folder.run(&["--set", "number.n=5"]);
    for record in folder.cached("records") {
        std::fs::remove_file(record).unwrap();
    }
    let text = diff(&folder, &["three", "last"]);
    assert!(text.contains("number\n  its config is not known: a record is gone"), "{text}");
}
