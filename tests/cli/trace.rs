//! `pipe trace`.

use crate::support::Folder;

const DIAMOND: &str = "\
stages:
  a: { kind: command, run: \"touch {outputs.o}\", outputs: [o] }
  b: { kind: command, inputs: { i: a }, run: \"sh -c 'cat $1; sleep 0.2; touch $2' - {inputs.i} {outputs.o}\", outputs: [o] }
  c: { kind: command, inputs: { i: a }, run: \"sh -c 'cat $1; sleep 0.2; exit 1' - {inputs.i} {outputs.o}\", outputs: [o] }
  d: { kind: command, inputs: { b: b, c: c }, run: \"cp {inputs.b} {inputs.c} {outputs.o}\", outputs: [o] }
";

#[test]
fn stages_are_events_on_their_workers() {
    let folder = Folder::new(DIAMOND);
    assert_eq!(folder.pipe(&["run", "-j", "2", "-k"]).code, Some(1));
    let trace = folder.pipe(&["trace", "last"]).json();
    let events = trace["traceEvents"].as_array().unwrap();
    let event = |name: &str| {
        events.iter().find(|event| event["ph"] == "X" && event["name"] == name).unwrap()
    };
    let span = |name: &str| {
        let event = event(name);
        let began = event["ts"].as_u64().unwrap();
        (began, began + event["dur"].as_u64().unwrap())
    };
    assert_eq!(events.iter().filter(|event| event["ph"] == "X").count(), 3, "`d` never began");
    assert_eq!(event("a")["args"]["outcome"], "executed");
    assert_eq!(event("a")["args"]["reason"], "first run");
    assert_eq!(event("a")["args"]["fingerprint"].as_str().unwrap().len(), 64);
    assert_eq!(event("c")["args"]["outcome"], "failed");
    assert!(event("c")["args"]["error"].as_str().unwrap().contains("code 1"));
    // Both began after `a` ended, side by side.
    assert!(span("b").0 >= span("a").1 && span("c").0 >= span("a").1);
    assert!(span("b").0 < span("c").1 && span("c").0 < span("b").1);
    assert_ne!(event("b")["tid"], event("c")["tid"]);
    assert_eq!(event("b")["pid"], event("c")["pid"]);
    let workers = events.iter().filter(|event| event["name"] == "thread_name").count();
    assert_eq!(workers, 2);
}

#[test]
fn a_trace_goes_to_a_file() {
    let folder = Folder::new(&DIAMOND[..DIAMOND.find("  b:").unwrap()]);
    folder.run(&["--name", "base"]);
    let ended = folder.pipe(&["trace", "base", "-o", "run.json"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
    let trace: serde_json::Value = serde_json::from_str(&folder.read("run.json")).unwrap();
    assert_eq!(trace["otherData"]["run"], "base");
    assert_eq!(folder.pipe(&["trace", "base", "-o", "no/where/run.json"]).code, Some(3));
}
