//! Drawings of the pipeline.

use std::process::Stdio;

use insta::assert_snapshot;

use crate::support::Folder;

const PIPELINE: &str = "\
stages:
  last:
    kind: command
    inputs: { a: first.a.csv, own: { file: 'my \"file\".txt' } }
    run: cp {inputs.a} {outputs.o}
    outputs: [o]
  first: { kind: command, run: 'touch {outputs.a.csv} {outputs.b}', outputs: [a.csv, b] }
";

#[test]
fn each_format_draws_the_same_graph() {
    let folder = Folder::new(PIPELINE);
    folder.write("my \"file\".txt", "");
    assert_snapshot!(folder.pipe(&["graph"]).stdout, @r###"
first
last   ← first.a.csv, my "file".txt
"###);
    assert_snapshot!(folder.pipe(&["graph", "--format", "mermaid"]).stdout, @r###"
flowchart TD
    f0[/"my #quot;file#quot;.txt"/]
    s1["first"]
    s0["last"]
    s1 -->|"a.csv"| s0
    f0 --> s0
"###);
    assert_snapshot!(folder.pipe(&["graph", "--format", "dot"]).stdout, @r###"
digraph pipeline {
    rankdir = TB;
    node [shape = box];
    f0 [label = "my \"file\".txt", shape = note];
    s1 [label = "first", tooltip = "command"];
    s0 [label = "last", tooltip = "command"];
    s1 -> s0 [label = "a.csv"];
    f0 -> s0 [label = ""];
}
"###);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = Folder::new(PIPELINE);
    folder.write("my \"file\".txt", "");
    let mut child =
        folder.command(&["graph"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = folder.ended(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
