//! Matrices: the stages that they make, and what is complained about.

use super::*;

const SWEEP: &str = r#"
stages:
  generate: { config: { count: 3 } }
  train:
    matrix: { learning_rate: [1e-3, 2e-3], epochs: [1, 2] }
    inputs: { spectra: generate.spectra }
  use:
    kind: command
    inputs: { c: train.checkpoint, s: generate.spectra, one: "train.checkpoint[epochs=2,learning_rate=1e-3]" }
    run: use {inputs.c} {outputs.m}
    outputs: [m]
  best:
    kind: select
    inputs: { candidates: "train.checkpoint[*]", metrics: "use.m[*]" }
    metric: f1.value
    goal: max
"#;

fn names(pipeline: &Pipeline) -> Vec<&str> {
    pipeline.stages.iter().map(|stage| stage.name.as_str()).collect()
}

fn load(folder: &Folder, yaml: &str, overrides: &[&str]) -> Pipeline {
    folder.load(yaml, overrides).map_err(|complaints| complaints.to_string()).unwrap()
}

#[test]
fn a_matrix_makes_a_stage_for_each_combination_and_so_do_those_who_refer_to_it() {
    let pipeline = load(&Folder::new(), SWEEP, &[]);
    let labels = [
        "learning_rate=0.001,epochs=1",
        "learning_rate=0.001,epochs=2",
        "learning_rate=0.002,epochs=1",
        "learning_rate=0.002,epochs=2",
    ];
    let mut expected = vec!["generate".to_owned()];
    expected.extend(labels.iter().map(|label| format!("train[{label}]")));
    expected.extend(labels.iter().map(|label| format!("use[{label}]")));
    expected.push("best".into());
    assert_eq!(names(&pipeline), expected);
    assert_eq!(pipeline.order, (0..10).collect::<Vec<_>>());
    assert_eq!(config(&pipeline, 2), &json!({"epochs": 2, "learning_rate": 0.001}));
    let output = |stage, output: &str| Input::Output { stage, output: output.into() };
    let stage = &pipeline.stages[7];
    assert_eq!(stage.name, "use[learning_rate=0.002,epochs=1]");
    assert_eq!(stage.inputs["c"], output(3, "checkpoint"));
    assert_eq!(stage.inputs["s"], output(0, "spectra"));
    assert_eq!(stage.inputs["one"], output(2, "checkpoint"));
    let best = &pipeline.stages[9];
    assert_eq!(best.inputs["candidates"].stages().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(best.inputs["metrics"].stages().collect::<Vec<_>>(), [5, 6, 7, 8]);
    // What is chosen is what was to choose from.
    let outputs = [("best".to_owned(), MODEL), ("choice".to_owned(), CHOICE)];
    assert_eq!(best.outputs(), outputs);
}

#[test]
fn names_find_all_combinations_or_some() {
    let pipeline = load(&Folder::new(), SWEEP, &[]);
    let named = |name: &str| pipeline.stages_named(name).map_err(|error| error.to_string());
    assert_eq!(named("train"), Ok(vec![1, 2, 3, 4]));
    assert_eq!(named("train[*]"), Ok(vec![1, 2, 3, 4]));
    assert_eq!(named("train[epochs=2]"), Ok(vec![2, 4]));
    assert_eq!(named("train[epochs=2, learning_rate=1e-3]"), Ok(vec![2]));
    assert_eq!(named("use[learning_rate=0.002,epochs=1]"), Ok(vec![7]));
    for (name, part) in [
        ("trian[epochs=2]", "no stage `trian`"),
        ("train[epochs=3]", "no combination of `train` is `[epochs=3]`"),
        ("best[epochs=3]", "no combination of `best`"),
        ("train[epochs", "no `]` ends it"),
        ("train.checkpoint", "no stage `train.checkpoint`"),
    ] {
        let error = named(name).unwrap_err();
        assert!(error.contains(part), "{name}: {error}");
    }
    assert_eq!(
        pipeline.outputs_named("train[epochs=2].checkpoint"),
        Ok((vec![2, 4], Some("checkpoint")))
    );
    assert_eq!(
        pipeline.outputs_named("train.checkpoint[epochs=2]"),
        Ok((vec![2, 4], Some("checkpoint")))
    );
}

#[test]
fn equal_axes_join_and_different_ones_multiply() {
    let command = |inputs: &str| {
        format!(
            "{{ kind: command, inputs: {{ {inputs} }}, run: \"cp {{inputs.a}} {{outputs.o}}\", outputs: [o] }}"
        )
    };
    let yaml = format!(
        "stages:\n  a: {{ kind: command, matrix: {{ x: [1, 2] }}, config: {{ k: 1 }}, run: \"a {{config.x}} {{outputs.o}}\", outputs: [o] }}\n  \
         b: {{ kind: command, matrix: {{ y: [p, \"7\"], x: [2, 1] }}, run: \"b {{outputs.o}}\", outputs: [o] }}\n  \
         both: {}\n  all: {}\n  again: {}\n",
        command("a: a, b: b"),
        command("a: 'both.o[*]'"),
        command("a: both"),
    );
    let pipeline = load(&Folder::new(), &yaml, &["a.k=3", "a[x=2].k=4"]);
    let both = ["both[x=1,y=p]", "both[x=1,y=\"7\"]", "both[x=2,y=p]", "both[x=2,y=\"7\"]"];
    assert_eq!(names(&pipeline)[6..10], both);
    let pairs: Vec<Vec<&str>> = pipeline.stages[6..10]
        .iter()
        .map(|stage| {
            stage.inputs.values().flat_map(Input::stages).map(|i| names(&pipeline)[i]).collect()
        })
        .collect();
    assert_eq!(pairs[1], ["a[x=1]", "b[y=\"7\",x=1]"]);
    assert_eq!(pairs[2], ["a[x=2]", "b[y=p,x=2]"]);
    assert_eq!(names(&pipeline)[10..12], ["all", "again[x=1,y=p]"]);
    assert_eq!(
        (config(&pipeline, 0)["k"].clone(), config(&pipeline, 1)["k"].clone()),
        (json!(3), json!(4))
    );
    assert_eq!(config(&pipeline, 1)["x"], json!(2));
}

#[test]
fn an_axis_is_set_like_any_key_and_may_lie_deep() {
    let yaml = "vars: { v: [1.5, 2] }\nstages:\n  generate:\n    matrix: { axis.start: \"${v}\" }\n    config: { count: 3 }\n";
    let folder = Folder::new();
    let pipeline = load(&folder, yaml, &[]);
    assert_eq!(names(&pipeline), ["generate[axis.start=1.5]", "generate[axis.start=2]"]);
    assert_eq!(config(&pipeline, 1)["axis"]["start"], json!(2.0));
    let set =
        load(&folder, yaml, &["generate.matrix.axis.start=[7]", "generate.matrix.limit=[5, 6]"]);
    assert_eq!(names(&set), ["generate[axis.start=7,limit=5]", "generate[axis.start=7,limit=6]"]);
}

#[test]
fn what_is_wrong_with_a_matrix_is_told_at_its_place() {
    let folder = Folder::new();
    let train = |rest: &str| {
        format!(
            "stages:\n  generate:\n  train:\n    inputs: {{ spectra: generate.spectra }}\n{rest}"
        )
    };
    let cases: &[(String, &str)] = &[
        (
            train("    config: { epochs: 1 }\n    matrix: [1]\n"),
            "6:13+3: `matrix` must be a mapping from config keys to lists of values, but is a list (such as `matrix: { learning_rate: [0.001, 0.002] }`)",
        ),
        (
            train("    config: { epochs: 1 }\n    matrix: { learning_rate: 3, x y: [1], z: [] }\n"),
            "6:30+1: `learning_rate` must be a list of values, but is `3` (write `[3]`)\n6:33+3: `x y` is no config key that a matrix can vary (a name has letters, digits, `_` and `-`, doesn't begin with `-`, and is at most 64 characters long)\n6:46+2: the axis `z` has no values",
        ),
        (
            train("    matrix: { epochs: [1, 2, 1.0] }\n"),
            "5:30+3: the axis `epochs` has the value `1` twice [5:24+1: first here]",
        ),
        (
            train("    matrix: { epochs: [1, ten], learning_rat: [1] }\n"),
            "5:27+3: `epochs` must be a whole number ≥ 1, but is `ten` (`epochs`: How many passes to make)\n5:33+12: unknown key `learning_rat` (did you mean `learning_rate`?)",
        ),
        (
            train("    config: { epochs: 1 }\n    matrix: { epochs: [1, 2], epochs.x: [1] }\n"),
            "6:31+8: the axis `epochs.x` overlaps with the axis `epochs` [6:15+6: this one]",
        ),
        (
            train(
                "    matrix: { epochs: [1, 2] }\n  b: { kind: train, inputs: { spectra: \"generate.spectra[*]\", start: \"train.checkpoint[*]\" }, config: { epochs: 1 } }\n",
            ),
            "6:57+3: `spectra` takes one `spectra`, not those of all combinations (without `[*]`, the stage runs for each combination of `generate`; `[AXIS=VALUE,…]` names one)\n6:87+3: `start` takes one `checkpoint`, not those of all combinations (without `[*]`, the stage runs for each combination of `train`; `[AXIS=VALUE,…]` names one)",
        ),
    ];
    for (yaml, expected) in cases {
        assert_eq!(folder.complaints(yaml, &[]).trim_end(), *expected, "in\n{yaml}");
    }
}

#[test]
fn what_is_wrong_with_a_reference_to_a_combination_is_told_at_its_place() {
    let folder = Folder::new();
    let sweep = |from: &str, to: &str| {
        assert!(SWEEP.contains(from));
        SWEEP.replace(from, to)
    };
    let one = "train.checkpoint[epochs=2,learning_rate=1e-3]";
    let cases: &[(String, &str)] = &[
        (
            sweep(one, "train.checkpoint[epochs=3,learning_rate=1e-3]"),
            "9:63+45: `train` has no such combination (there are [learning_rate=0.001,epochs=1], [learning_rate=0.001,epochs=2], [learning_rate=0.002,epochs=1], [learning_rate=0.002,epochs=2])",
        ),
        (
            sweep(one, "train.checkpoint[epochs=2]"),
            "9:63+26: 2 combinations of `train` are meant here, and one is needed (name all axes: `[learning_rate=…,epochs=…]`)",
        ),
        (
            sweep(one, "train.checkpoint[epoch=2]"),
            "9:63+25: `train` has no axis `epoch` (did you mean `epochs`?)",
        ),
        (
            sweep(one, "train.checkpoint[epochs=2"),
            "9:79+9: `[` begins a combination, but no `]` ends it (all combinations are `stage.output[*]`, one is `stage.output[AXIS=VALUE,…]`)",
        ),
        (
            sweep(one, "generate.spectra[epochs=2]"),
            "9:63+26: `generate` has no such combination (`generate` has no matrix: write `generate` alone)",
        ),
        (
            sweep(one, "generate.spectra[*]"),
            "9:63+19: `generate` has no matrix, so there is nothing to gather (write `generate.spectra`)",
        ),
        (
            sweep("\"train.checkpoint[*]\"", "train"),
            "14:27+5: `candidates` takes an output of all combinations of a stage, not one output (write `stage.output[*]`)",
        ),
        (
            sweep("\"train.checkpoint[*]\"", "{ file: data/raw.csv }"),
            "14:27+22: `candidates` takes an output of all combinations of a stage, not a file (write `stage.output[*]`)",
        ),
        (
            sweep("    goal: max", "    goal: most\n    config: {}\n    run: x"),
            "16:11+4: `goal` must be `max` or `min`, but is `most`\n17:5+6: `config` does not belong to `kind: select` (its keys are inputs, metric, goal, file)\n18:5+3: `run` belongs to `kind: command`, but this is `select`",
        ),
        (
            sweep("    metric: f1.value\n    goal: max\n", ""),
            "12:3+4: the stage `best` has no `metric` (name the number by which to choose, with dots between its keys: `metric: f1.value`)\n12:3+4: the stage `best` has no `goal` (say whether the largest metric is best or the smallest: `goal: max` or `goal: min`)",
        ),
        (
            sweep("c: train.checkpoint,", "c: \"train.checkpoint[*]\","),
            "14:60+8: `use` has no matrix, so there is nothing to gather (write `use.m`)",
        ),
        (
            sweep("\"train.checkpoint[*]\"", "train.checkpoint[*]"),
            r#"14:43+1: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}' (inside `{…}` and `[…]`, `stage.output[*]` must stand in quotes: `"stage.output[*]"`)"#,
        ),
    ];
    for (yaml, expected) in cases {
        assert_eq!(folder.complaints(yaml, &[]).trim_end(), *expected, "in\n{yaml}");
    }
}

#[test]
fn an_override_of_a_combination_points_to_what_is_wrong_with_it() {
    let folder = Folder::new();
    for (set, expected) in [
        (
            "train[epochs=2].epochs=3",
            "set 1:1+15: `epochs` is an axis of the matrix: each combination has its value [5:44+6: the axis] (set the axis: `train.matrix.epochs=[…]`)",
        ),
        (
            "train.epochs=3",
            "set 1:7+6: `epochs` is an axis of the matrix, and stands in `config` too [5:44+6: the axis] (set the axis: `train.matrix.epochs=[…]`)",
        ),
        ("trian[epochs=2].x=3", "set 1:1+15: no stage is called `trian` (did you mean `train`?)"),
        (
            "generate[count=2].limit=3",
            "set 1:1+17: `generate` has no such combination (`generate` has no matrix: write `generate` alone)",
        ),
        (
            "best.config.x=3",
            "set 1:6+6: `config` does not belong to `kind: select` (its keys are inputs, metric, goal, file)",
        ),
        ("best.gaol=min", "set 1:6+4: unknown key `gaol` (did you mean `goal`?)"),
    ] {
        assert_eq!(folder.complaints(SWEEP, &[set]).trim_end(), expected);
    }
}
