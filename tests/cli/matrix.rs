//! Matrices, what gathers their combinations, and the choice of the best.

use std::fs;

use serde_json::Value;

use crate::support::Folder;

const TUNING: &str = include_str!("../../examples/tuning/pipeline.yaml");

/// `made` writes a number for each combination, and a line into a file outside; `score` makes a document of it.
fn sweep(folder: &Folder) -> String {
    format!(
        "\
stages:
  shared: {{ kind: command, shell: true, run: \"echo shared >> {runs}; echo 10 > {{outputs.o}}\", outputs: [o] }}
  made:
    kind: command
    matrix: {{ x: [3, 1], sign: [plus, minus] }}
    inputs: {{ s: shared }}
    config: {{ offset: 0 }}
    shell: true
    run: |
      echo made {{config.x}} {{config.sign}} >> {runs}
      test {{config.sign}} = plus || exec echo $(( $(cat {{inputs.s}}) - {{config.x}} + {{config.offset}} )) > {{outputs.n.txt}}
      echo $(( $(cat {{inputs.s}}) + {{config.x}} + {{config.offset}} )) > {{outputs.n.txt}}
    outputs: [n.txt]
  score:
    kind: command
    inputs: {{ n: made }}
    shell: true
    run: |
      printf '{{\"f1\": {{\"value\": %s}}}}' $(cat {{inputs.n}}) > {{outputs.m.json}}
    outputs: [m.json]
  best:
    kind: select
    inputs: {{ candidates: \"made.n.txt[*]\", metrics: \"score.m.json[*]\" }}
    metric: f1.value
    goal: max
  all:
    kind: command
    inputs: {{ n: \"made.n.txt[*]\" }}
    run: sh -c 'cd $1 && grep -r . | sort > $2' - {{inputs.n}} {{outputs.list}}
    outputs: [list]
  after:
    kind: command
    inputs: {{ n: best.best, one: \"made.n.txt[x=1,sign=minus]\" }}
    run: sh -c 'cat $1 $2 > $3' - {{inputs.n}} {{inputs.one}} {{outputs.o}}
    outputs: [o]
",
        runs = folder.path("runs").display()
    )
}

fn folder() -> Folder {
    let folder = Folder::empty();
    folder.write("pipeline.yaml", sweep(&folder));
    folder
}

#[test]
fn combinations_share_what_is_before_them_and_are_gathered_and_chosen_from() {
    let folder = folder();
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let runs = folder.read("runs");
    assert_eq!(runs.lines().filter(|line| *line == "shared").count(), 1);
    assert_eq!(runs.lines().count(), 5, "{runs}");
    assert_eq!(
        folder.read("out/all/list"),
        "x=1,sign=minus/n.txt:9\nx=1,sign=plus/n.txt:11\nx=3,sign=minus/n.txt:7\nx=3,sign=plus/n.txt:13\n"
    );
    assert_eq!(folder.read("out/made/x=3,sign=minus/n.txt"), "7\n");
    assert_eq!(folder.read("out/best/best"), "13\n");
    assert_eq!(folder.read("out/after/o"), "13\n9\n");
    let choice: Value = serde_json::from_str(&folder.read("out/best/choice/choice.json")).unwrap();
    assert_eq!(choice["best"]["combination"], "x=3,sign=plus");
    assert_eq!(choice["best"]["values"]["x"], 3);
    assert_eq!(choice["table"].as_array().unwrap().len(), 4);
    assert_eq!(choice["table"][3]["metric"], 9);
    assert!(folder.executed(&[]).is_empty());
    // The other goal is another choice: nothing is computed but that, and what reads it.
    assert_eq!(folder.executed(&["--set", "best.goal=min"]), ["after", "best"]);
    assert_eq!(folder.read("out/best/best"), "7\n");
}

#[test]
fn a_longer_axis_computes_what_is_new() {
    let folder = folder();
    folder.run(&[]);
    let executed = folder.executed(&["--set", "made.matrix.x=[3, 1, 5]"]);
    assert_eq!(
        executed,
        [
            "after",
            "all",
            "best",
            "made[x=5,sign=minus]",
            "made[x=5,sign=plus]",
            "score[x=5,sign=minus]",
            "score[x=5,sign=plus]"
        ]
    );
    assert_eq!(folder.read("out/best/best"), "15\n");
    // A key of all combinations, and of some of them.
    let some = folder.executed(&["--set", "made[sign=minus].offset=100"]);
    assert_eq!(some.iter().filter(|name| name.starts_with("made")).count(), 2, "{some:?}");
    assert_eq!(folder.read("out/best/best"), "109\n");
}

#[test]
fn one_names_combinations_as_they_are_shown() {
    let folder = folder();
    let ran = folder.run(&["made[x=1]"]);
    assert_eq!(
        ran.keys().collect::<Vec<_>>(),
        ["made[x=1,sign=minus]", "made[x=1,sign=plus]", "shared"]
    );
    let plan = folder.pipe(&["plan", "made"]);
    assert!(plan.stdout.ends_with("5 stages: 2 to execute, 3 to reuse\n"), "{}", plan.stdout);
    let status = folder.pipe(&["status"]);
    assert!(status.stdout.contains("current    made[x=1,sign=plus]\n"), "{}", status.stdout);
    let show = |what: &str| folder.pipe(&["show", what]);
    assert_eq!(show("made[x=1,sign=plus].n.txt").stdout, "11\n");
    assert_eq!(show("made.n.txt[x=1,sign=plus]").stdout, "11\n");
    let several = show("made[x=1]");
    assert!(several.stdout.contains("made[x=1,sign=minus].n.txt"), "{}", several.stdout);
    assert!(several.stderr.contains("pipe show 'made[x=1,sign=plus].n.txt'"), "{}", several.stderr);
    assert_eq!(
        folder.pipe(&["out", "made[x=1]", "there"]).stdout,
        "there/made/x=1,sign=plus/n.txt\nthere/made/x=1,sign=minus/n.txt\n"
    );
    assert_eq!(folder.read("there/made/x=1,sign=minus/n.txt"), "9\n");
    for (arguments, part) in [
        (["run", "maed[x=1]"], "did you mean `made`?"),
        (["run", "made[x=2]"], "there are made[x=3,sign=plus], made[x=3,sign=minus], "),
        (["run", "shared[x=2]"], "`shared` has no matrix"),
        (["run", "made[x"], "no `]` ends it"),
        (["why", "made"], "names 4 combinations, and one is needed"),
        (["show", "made.m[x=1]"], "no output of `made` called `m`"),
        (["show", "made[x=3].n.txt"], "make it: `pipe run 'made[x=3,sign=plus]'`"),
    ] {
        let ended = folder.pipe(&arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{arguments:?}: {}", ended.stderr);
    }
    let graph = folder.pipe(&["graph"]).stdout;
    assert!(graph.contains("best                   ← made.n.txt[*], score.m.json[*]\n"), "{graph}");
    let mermaid = folder.pipe(&["graph", "--format", "mermaid"]).stdout;
    assert!(mermaid.contains("s4 -->|\"n.txt\"| s9"), "{mermaid}");
}

#[test]
fn combinations_that_come_to_the_same_are_computed_once() {
    let folder = Folder::empty();
    let runs = folder.path("runs");
    folder.write(
        "pipeline.yaml",
        format!(
            "stages:\n  text:\n    kind: command\n    matrix: {{ n: [1, 2, 3, 4] }}\n    run: sh -c 'echo same > $1' - {{outputs.o}}\n    outputs: [o]\n  \
             slow:\n    kind: command\n    inputs: {{ t: text }}\n    shell: true\n    \
             run: echo slow >> {}; sleep 0.2; cp {{inputs.t}} {{outputs.o}}\n    outputs: [o]\n",
            runs.display()
        ),
    );
    let ended = folder.pipe(&["run", "-j", "4"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(runs).unwrap(), "slow\n");
    assert_eq!(ended.stderr, "", "nobody is told to wait for this very run");
}

#[test]
fn a_choice_without_numbers_names_the_combination() {
    let folder = folder();
    folder.run(&["score"]);
    let failed = |set: &[&str], part: &str| {
        let mut all = vec!["run", "best"];
        all.extend(set);
        let ended = folder.pipe(&all);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    };
    failed(
        &["--set", "best.metric=f1.valu"],
        "the metrics of `x=3,sign=plus` have no `f1.valu`; the keys there are value",
    );
    failed(&["--set", "best.metric=f1"], "`f1` of `x=3,sign=plus` is a mapping");
    failed(&["--set", "best.file=none.json"], "have no file `none.json`");
    folder.write(
        "pipeline.yaml",
        sweep(&folder).replace("$(cat {inputs.n})", "$(tr 7 x < {inputs.n} | sed s/x/null/)"),
    );
    failed(&[], "`f1.value` of `x=3,sign=minus` is null (not a number)");
}

#[test]
fn of_equals_the_first_is_chosen() {
    let folder = folder();
    let yaml = sweep(&folder).replace("$(cat {inputs.n})", "5");
    for goal in ["max", "min"] {
        folder.write("pipeline.yaml", yaml.replace("goal: max", &format!("goal: {goal}")));
        folder.run(&["best"]);
        assert_eq!(folder.read("out/best/best"), "13\n");
    }
    // Another order is another choice, where there are equals.
    assert_eq!(folder.executed(&["best", "--set", "made.matrix.x=[1, 3]"]), ["best"]);
    assert_eq!(folder.read("out/best/best"), "11\n");
}

#[test]
fn the_example_tunes_a_network_in_a_moment() {
    let folder = Folder::new(TUNING);
    let small = [
        "--set",
        "generate.count=600",
        "--set",
        "train.epochs=1",
        "--set",
        "train.dense=[8]",
        "--set",
        "train.matrix.filters=[2, 3]",
    ];
    let ran = folder.run(&small);
    assert_eq!(ran.len(), 18);
    let choice: Value = serde_json::from_str(&folder.read("out/best/choice/choice.json")).unwrap();
    assert_eq!(choice["table"].as_array().unwrap().len(), 4);
    // What was chosen is known as what it was chosen from.
    assert_eq!(ran["decompose"], "reused");
    assert!(folder.executed(&small).is_empty());
    let longer = [&small[..6], &["--set", "train.matrix.filters=[2, 3, 4]"]].concat();
    let executed = folder.executed(&longer);
    assert_eq!(executed.iter().filter(|name| name.starts_with("train")).count(), 2, "{executed:?}");
}
