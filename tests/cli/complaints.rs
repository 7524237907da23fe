//! What is said about a pipeline that is wrong.

use insta::assert_snapshot;

use crate::support::Folder;

#[test]
fn every_slip_is_shown_at_its_place_at_once() {
    let folder = Folder::new(
        "\
vars: { seed: one }
stages:
  generate:
    config: { coutn: 100, channels: -3, seed: \"${seed}\" }
  split:
    inputs: { spectra: generate.spectre }
  train:
    inputs: { truth: genrate.truth }
    config: { epochs: ten }
  clean:
    kind: command
    run: sh clean.sh {inptus.raw} > x
    outputs: [../table]
",
    );
    let ended = folder.pipe(&["run", "--color", "never", "--set", "generate.sead=3"]);
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.stdout, "");
    assert!(!folder.path("cache").exists());
    assert_snapshot!(ended.stderr, @r###"
error: unknown key `coutn`
 --> pipeline.yaml:4:15
  |
4 |     config: { coutn: 100, channels: -3, seed: "${seed}" }
  |               ^^^^^
  |
  = help: did you mean `count`?

error: `channels` must be a whole number from 2 to 1000000, but is `-3`
 --> pipeline.yaml:4:37
  |
4 |     config: { coutn: 100, channels: -3, seed: "${seed}" }
  |                                     ^^
  |
  = help: `channels`: The number of channels

error: `seed` must be a whole number ≥ 0, but is `one`
 --> pipeline.yaml:4:47
  |
1 | vars: { seed: one }
  |               --- the value comes from here
...
4 |     config: { coutn: 100, channels: -3, seed: "${seed}" }
  |                                               ^^^^^^^^^
  |
  = help: `seed`: The seed of everything random

error: `generate` has no output `spectre`
 --> pipeline.yaml:6:33
  |
6 |     inputs: { spectra: generate.spectre }
  |                                 ^^^^^^^
  |
  = help: did you mean `spectra`?

error: the stage `train` lacks its inputs `scaled`, `spectra`, `rows`, `scaler`
 --> pipeline.yaml:8:13
  |
8 |     inputs: { truth: genrate.truth }
  |             ^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: `pipe stages train` tells what they are

error: no stage is called `genrate`
 --> pipeline.yaml:8:22
  |
8 |     inputs: { truth: genrate.truth }
  |                      ^^^^^^^
  |
  = help: did you mean `generate`?

error: `epochs` must be a whole number ≥ 1, but is `ten`
 --> pipeline.yaml:9:23
  |
9 |     config: { epochs: ten }
  |                       ^^^
  |
  = help: `epochs`: The most epochs: passes over all training spectra

error: a placeholder begins with `config`, `inputs` or `outputs`, not with `inptus`
  --> pipeline.yaml:12:22
   |
12 |     run: sh clean.sh {inptus.raw} > x
   |                      ^^^^^^^^^^^^
   |
   = help: did you mean `{inputs.raw}`?

error: `>` means something to a shell only
  --> pipeline.yaml:12:35
   |
12 |     run: sh clean.sh {inptus.raw} > x
   |                                   ^
   |
   = help: set `shell: true`, or put it in quotes if it is an argument

error: `../table` is no name for an output
  --> pipeline.yaml:13:15
   |
13 |     outputs: [../table]
   |               ^^^^^^^^
   |
   = help: a name has letters, digits, `_`, `-` and single dots inside, and is at most 128 characters long

error: unknown key `sead`
 --> --set:1:10
  |
1 | generate.sead=3
  |          ^^^^
  |
  = help: did you mean `seed`?

error: 11 errors in pipeline.yaml; nothing was run
"###);
}

#[test]
fn a_loop_is_named() {
    let command = |input: &str| {
        format!(
            "{{ kind: command, inputs: {{ i: {input} }}, run: \"cp {{inputs.i}} {{outputs.o}}\", outputs: [o] }}"
        )
    };
    let folder = Folder::new(&format!(
        "stages:\n  a: {}\n  b: {}\n  c: {}\n",
        command("c"),
        command("a"),
        command("b")
    ));
    let ended = folder.pipe(&["plan"]);
    assert_eq!(ended.code, Some(2));
    assert_snapshot!(ended.stderr, @r###"
error: the stages form a cycle: a → b → c → a
 --> pipeline.yaml:3:36
  |
2 |   a: { kind: command, inputs: { i: c }, run: "cp {inputs.i} {outputs.o}", outputs: [o] }
  |                                    - `a` needs `c`
3 |   b: { kind: command, inputs: { i: a }, run: "cp {inputs.i} {outputs.o}", outputs: [o] }
  |                                    ^ `b` needs `a`
4 |   c: { kind: command, inputs: { i: b }, run: "cp {inputs.i} {outputs.o}", outputs: [o] }
  |                                    - `c` needs `b`

error: 1 error in pipeline.yaml; nothing was run
"###);
}

#[test]
fn hostile_names_and_texts_do_no_harm() {
    for yaml in [
        "stages:\n  ../up: { kind: command, run: \"touch {outputs.o}\", outputs: [o] }\n",
        "stages:\n  a: { kind: command, run: \"touch {outputs.o}\", outputs: [../../o] }\n",
        "stages:\n  a: { kind: command, run: \"touch {outputs./tmp/o}\", outputs: [/tmp/o] }\n",
        "stages:\n  a: { kind: command, run: \"touch {outputs.o}\", outputs: [o], files: [/etc/secret] }\n",
        "stages:\n  \"\\e[31mred\": { kind: generate }\n",
        "stages: &a [*a]\n",
        "\u{0}",
    ] {
        let folder = Folder::new(yaml);
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(2), "{yaml}: {}", ended.stdout);
        assert!(!ended.stderr.contains('\u{1b}'), "{yaml}: {}", ended.stderr);
        assert!(ended.stderr.contains("pipeline.yaml:"), "{yaml}: {}", ended.stderr);
    }
    let deep = Folder::new(&format!("stages: {}", "[".repeat(100_000)));
    assert_eq!(deep.pipe(&["plan"]).code, Some(2));
}

#[test]
fn a_program_is_told_in_json_too() {
    let folder = Folder::new("stages:\n  nothing:\n");
    let ended = folder.pipe(&["run", "--json"]);
    assert_eq!(ended.code, Some(2));
    let report = ended.json();
    assert_eq!(report["ok"], false);
    assert_eq!(report["stages"].as_array().unwrap().len(), 0);
    assert!(report["errors"][0].as_str().unwrap().starts_with("pipeline.yaml:2:3: "), "{report}");
    assert!(ended.stderr.contains("error: "), "{}", ended.stderr);
}
