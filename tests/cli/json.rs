//! The report for programs.

use crate::support::Folder;

const ONE: &str = "stages:\n  one: { kind: command, run: \"sh -c 'echo $1 > $2' - {config.n} {outputs.o}\", config: { n: 1 }, outputs: [o] }\n";

#[test]
fn the_report_has_the_documented_shape_and_nothing_else_is_on_stdout() {
    let folder = Folder::new(ONE);
    for (arguments, outcome) in [
        (&["plan", "--json"][..], "would-execute"),
        (&["run", "--json"], "executed"),
        (&["run", "--json"], "reused"),
        (&["plan", "--json"], "would-reuse"),
    ] {
        let ended = folder.pipe(arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        let report = ended.json();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(&report), ["ok", "seconds", "stages"]);
        let stage = &report["stages"][0];
        assert_eq!(keys(stage), ["fingerprint", "name", "outcome", "outputs", "reason", "seconds"]);
        assert_eq!(stage["outcome"], outcome);
        assert_eq!(stage["fingerprint"].as_str().unwrap().len(), 64);
        assert!(report["seconds"].is_number());
        if outcome != "would-execute" {
            assert_eq!(stage["outputs"]["o"].as_str().unwrap().len(), 64);
        }
    }
}

#[test]
fn the_kinds_are_told_with_their_keys() {
    let kinds = Folder::empty().pipe(&["stages", "--json"]).json();
    let kinds = kinds["kinds"].as_array().unwrap();
    let generate = kinds.iter().find(|kind| kind["name"] == "generate").unwrap();
    let count =
        generate["config"].as_array().unwrap().iter().find(|key| key["name"] == "count").unwrap();
    assert!(count["default"].is_number(), "{count}");
    assert!(kinds.iter().any(|kind| kind["name"] == "command"));
}
