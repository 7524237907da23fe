//! What is complained about, and where.

use super::Folder;

#[test]
fn every_complaint_stands_at_its_place() {
    let folder = Folder::new();
    let command = |rest: &str| {
        format!(
            "stages:\n  c:\n    kind: command\n    outputs: [x]\n    inputs: {{ raw: {{ file: data/raw.csv }} }}\n    config: {{ a: {{ b: 1 }}, l: [1] }}\n{rest}"
        )
    };
    let generate = |config: &str| format!("stages:\n  generate:\n    config: {config}\n");
    let cases: &[(String, &str)] = &[
        (
            String::from("vras: {}\nstages:\n  generate:\n"),
            "1:1+4: unknown key `vras` (did you mean `vars`?)",
        ),
        (
            String::from("cache: [1]\nfoo: 1\n"),
            r"1:1+0: the pipeline has no `stages` (declare them: `stages: { NAME: { kind: …, inputs: …, config: … } }`)
1:8+3: `cache` must be the path of a folder, but is a list
2:1+3: unknown key `foo` (the keys of a pipeline are vars, cache, device, stages)",
        ),
        (
            String::from("stages: 3\n"),
            "1:9+1: `stages` must be a mapping from names to stages, but is `3`",
        ),
        (
            String::from("- a\n"),
            "1:1+3: a pipeline must be a mapping, but is a list (it begins with `stages:`)",
        ),
        (String::from("stages: {}\n"), "1:9+2: `stages` is empty"),
        (
            String::from("vars: [a]\nstages:\n  bad name:\n    kind: generate\n"),
            r"1:7+3: `vars` must be a mapping from names to values, but is a list
3:3+8: `bad name` is no name for a stage (a name has letters, digits, `_` and `-`, doesn't begin with `-`, and is at most 64 characters long)",
        ),
        (
            String::from("stages:\n  genrate:\n  x:\n    kind: trian\n  y:\n    knid: generate\n"),
            r"2:3+7: the stage `genrate` has no `kind`, and no kind is called `genrate` (did you mean `generate`?)
4:11+5: no kind is called `trian` (did you mean `train`?)
5:3+1: the stage `y` has no `kind`, and no kind is called `y` (the kinds are compare, generate, train, command, select)
6:5+4: unknown key `knid` (did you mean `kind`?)",
        ),
        (
            String::from(
                "stages:\n  generate: { count: 3 }\n  g: { kind: generate, run: x, shell: true }\n  h: { run: x }\n  i: 3\n",
            ),
            r"2:15+5: unknown key `count` (`count` is a key of the config: `config: { count: … }`)
3:24+3: `run` belongs to `kind: command`, but this is `generate`
3:32+5: `shell` belongs to `kind: command`, but this is `generate`
4:3+1: the stage `h` has no `kind` (a stage that runs a program says `kind: command`)
5:6+1: the stage `i` must be a mapping, but is `3` (its keys are kind, inputs, config, matrix, for_each, run, outputs, files, env, secrets, shell, metric, goal, file)",
        ),
        (
            generate("{ count: ten, epochs: 3 }"),
            r"3:22+3: `count` must be a whole number ≥ 1, but is `ten` (`count`: How many spectra to make)
3:27+6: unknown key `epochs` (the keys are amplitude, axis, count, kernels, limit, noise, note, rate)",
        ),
        (
            generate("{ count: 0, axis: { start: .nan, strat: 1 }, amplitude: [1, 2, 3] }"),
            r"3:22+1: `count` must be a whole number ≥ 1, but is `0` (`count`: How many spectra to make)
3:40+4: `axis.start` must be a number, but is `.nan` (`axis.start`: Where the axis starts [km/s])
3:46+5: unknown key `axis.strat` (did you mean `start`?)
3:69+9: `amplitude` must be a list of 2 numbers, but has 3 (`amplitude`: The range of the amplitudes [K])",
        ),
        (
            generate(
                "{ count: 1.5, amplitude: [a, 2], noise: wite, limit: 300, note: 3, kernels: [1, -1] }",
            ),
            r"3:22+3: `count` must be a whole number ≥ 1, but is `1.5` (`count`: How many spectra to make)
3:39+1: `amplitude[0]` must be a number, but is `a`
3:53+4: `noise` must be `quiet` or `white`, but is `wite` (did you mean `white`?)
3:66+3: `limit` must be a whole number from 0 to 255 or empty, but is `300`
3:77+1: `note` must be a text or empty, but is `3`
3:93+2: `kernels[1]` must be a whole number ≥ 0, but is `-1`",
        ),
        (
            generate("{ amplitude: [2, 1] }"),
            "3:26+6: `amplitude`: the range ends before it begins (swap its ends)",
        ),
        (
            generate("{ count: \"10\", noise: [], rate: fast, axis: 3 }"),
            r"3:22+4: `count` must be a whole number ≥ 1, but is the text `10` (`count`: How many spectra to make)
3:35+2: `noise` must be `quiet` or `white`, but is a list (`noise`: Where the noise comes from)
3:45+4: `rate` must be `constant` or a mapping with `falling`, but is `fast` (`rate`: How the rate goes)
3:57+1: `axis` must be a mapping, but is `3`",
        ),
        (
            generate("{ rate: { falling: { by: 2 } }, count: 18446744073709551616 }"),
            r"3:38+1: `rate.falling.by` must be a number from 0 to 1, but is `2` (`rate.falling.by`: By this factor)
3:52+20: `count` must be a whole number ≥ 1, but is `18446744073709551616`, which 64 bits can't hold (`count`: How many spectra to make)",
        ),
        (
            generate("{ rate: { faling: { by: 2 } }, count: yes }"),
            r"3:21+21: `rate` must be `constant` or a mapping with `falling`, but is a mapping (`rate`: How the rate goes)
3:51+3: `count` must be a whole number ≥ 1, but is `yes` (`count`: How many spectra to make)",
        ),
        (generate("[1]"), "3:13+3: the config must be a mapping, but is a list"),
        (
            String::from(
                "vars: { n: ten }\nstages:\n  generate:\n    config: { count: \"${n}\", limit: 1, limit: 2 }\n",
            ),
            r"4:22+6: `count` must be a whole number ≥ 1, but is `ten` [1:12+3: the value comes from here] (`count`: How many spectra to make)
4:40+5: the key `limit` is given twice [4:30+5: first here]",
        ),
        (
            String::from("stages:\n  train: { config: { epochs: 1 } }\n  generate:\n"),
            "2:3+5: the stage `train` lacks its input `spectra` (`spectra` (spectra): what to learn from)",
        ),
        (
            String::from(
                "stages:\n  train:\n    inputs: { spectra: genrate, start: generate.truth, strat: generate }\n    config: {}\n  generate:\n",
            ),
            r"3:24+7: no stage is called `genrate` (did you mean `generate`?)
3:40+14: `start` must be of type `checkpoint`, but `generate.truth` is `table` (`start`: where to go on)
3:56+5: `train` has no input `strat` (did you mean `start`?)
4:13+2: `epochs` is missing (`epochs`: How many passes to make)",
        ),
        (
            String::from(
                "stages:\n  train:\n    inputs: { spectra: generate.spectre, start: generate }\n    config: { epochs: 1 }\n  generate:\n",
            ),
            r"3:33+7: `generate` has no output `spectre` (did you mean `spectra`?)
3:49+8: no output of `generate` is of type `checkpoint`, which `start` needs (name one: `generate.spectra` (spectra), `generate.truth` (table))",
        ),
        (
            String::from(
                "stages:\n  train:\n    inputs: { spectra: { file: nowhere.fits }, start: [1] }\n    config: { epochs: 1 }\n",
            ),
            r"3:32+12: there is no file or folder `nowhere.fits` (it was looked for at ROOT/nowhere.fits)
3:55+3: an input must be a stage, `stage.output` or `{ file: PATH }`, but is a list",
        ),
        (
            String::from(
                "vars: { cube: }\nstages:\n  train:\n    inputs: { spectra: { file: \"${cube}\" }, start: data/raw.csv }\n    config: { epochs: 1 }\n",
            ),
            r"4:32+9: `file` must be a path, but is empty [1:9+4: the value comes from here]
4:52+8: no stage is called `data/raw` (a file is given as `{ file: data/raw.csv }`)",
        ),
        (
            String::from(
                "stages:\n  c:\n    kind: command\n    inputs: { g: generate }\n    run: cp {inputs.g} {outputs.x}\n    outputs: [x]\n  generate:\n",
            ),
            "4:18+8: `generate` has several outputs (name one: `generate.spectra` (spectra), `generate.truth` (table))",
        ),
        (
            String::from(
                "stages:\n  train:\n    inputs: [generate]\n    config: { epochs: 1 }\n  generate:\n",
            ),
            "3:13+10: `inputs` must be a mapping from names to inputs, but is a list (an input is a stage, `stage.output` or `{ file: PATH }`)",
        ),
        (
            String::from(
                "stages:\n  a: { kind: command, inputs: { i: c }, run: \"cp {inputs.i} {outputs.o}\", outputs: [o] }\n  b: { kind: command, inputs: { i: a.o }, run: \"cp {inputs.i} {outputs.o}\", outputs: [o] }\n  c: { kind: command, inputs: { i: b }, run: \"cp {inputs.i} {outputs.o}\", outputs: [o] }\n",
            ),
            "3:36+3: the stages form a cycle: a → b → c → a [4:36+1: `c` needs `b`] [2:36+1: `a` needs `c`]",
        ),
        (
            String::from(
                "vars: { a: \"${b}\", b: \"x ${a}\", c: 1, l: [1] }\nstages:\n  generate:\n    config: { note: \"é ${cc} ${l} ${\", kernels: \"${l}\" }\n",
            ),
            r"1:26+4: variables form a loop: a → b → a [1:13+4: `a` uses `b`]
4:24+5: no variable is called `cc` (did you mean `c`?)
4:30+4: the variable `l` is a list and can't stand inside a text [1:42+3: its value]
4:35+2: `${` begins a variable, but no name and `}` follow (write `$${` for a literal `${`)",
        ),
        (
            command(
                "    run: python x.py {input.raw} {inputs.rwa} {outputs.x} {outputs.y} {config.a} {config.a.c} {config.l} {config.z}\n",
            ),
            r"7:22+11: a placeholder begins with `config`, `inputs` or `outputs`, not with `input` (did you mean `{inputs.raw}`?)
7:42+3: the command has no input `rwa` (did you mean `raw`?)
7:68+1: the command has no output `y` (its outputs are x)
7:79+1: `config.a` is a mapping and can't be a word of the command
7:92+1: the config has no key `a.c` (its keys are b)
7:103+1: `config.l` is a list and can't be a word of the command
7:114+1: the config has no key `z` (its keys are a, l)",
        ),
        (
            command("    run: echo hello\n"),
            "4:15+1: nothing in `run` makes the output `x` (use `{outputs.x}`, the path at which it is to be made)",
        ),
        (
            command(""),
            "2:3+1: the command `c` has nothing to `run` (such as `run: python clean.py {inputs.raw} {outputs.table}`)",
        ),
        (
            command("    run: ''\n"),
            "7:10+2: the command `c` has nothing to `run` (such as `run: python clean.py {inputs.raw} {outputs.table}`)",
        ),
        (
            command("    run: cat 'x {outputs.x}\n"),
            "7:14+1: this quote is never closed (write `\\'` for a quote alone)",
        ),
        (
            command("    run: cat {inputs.raw} > {outputs.x}\n"),
            "7:27+1: `>` means something to a shell only (set `shell: true`, or put it in quotes if it is an argument)",
        ),
        (
            command(
                "    shell: true\n    run: |\n      # don't mind\n      cat \"{inputs.raw}\" > {outputs.x}\n",
            ),
            "10:12+12: a placeholder stands within quotes (remove the quotes: what it stands for is made one word of the shell by itself; to an inner script give it as an argument: `sh -c '… \"$1\"' - {config.KEY}`)",
        ),
        (
            command(
                "    shell: maybe\n    run: [a, \"{outputs.x}\", []]\n    files: [a/../x, /etc/passwd, none.py, ., clean.py, clean.py]\n    env: [LANG=C, 1A]\n",
            ),
            r"7:12+5: `shell` must be `true`, one of `bash`, `dash`, `ksh`, `mksh`, `sh`, `zsh`, or a list of a program and its arguments, but is `maybe` (another program is given the script as its last argument: `shell: [perl, -e]`)
9:13+6: `a/../x` is no path from the pipeline's folder (`files` stand at their own paths when the command runs: give one such as `a/b.py` or `../a/b.py`)
9:21+11: `/etc/passwd` is no path from the pipeline's folder (`files` stand at their own paths when the command runs: give one such as `a/b.py` or `../a/b.py`)
9:34+7: there is no file or folder `none.py` (it was looked for at ROOT/none.py)
9:43+1: `.` is no path from the pipeline's folder (`files` stand at their own paths when the command runs: give one such as `a/b.py` or `../a/b.py`)
9:56+8: `clean.py` stands in `files` twice
10:11+6: `LANG=C` is not a valid environment variable name (`env` lists names: write `LANG`)
10:19+2: `1A` is not a valid environment variable name",
        ),
        (
            String::from(
                "stages:\n  c: { kind: command, run: a, outputs: [../x, a/b, ok.csv, ok.csv] }\n  d: { kind: command, run: a }\n  e: { kind: command, run: a, outputs: x }\n  f: { kind: command, inputs: { i: c.ok.csv, j: d }, run: \"a {outputs.z}\", outputs: [z], config: { big: 1e999 } }\n",
            ),
            r"2:41+4: `../x` is no name for an output (a name has letters, digits, `_`, `-` and single dots inside, and is at most 128 characters long)
2:47+3: `a/b` is no name for an output (a name has letters, digits, `_`, `-` and single dots inside, and is at most 128 characters long)
2:60+6: `ok.csv` stands in `outputs` twice
3:3+1: the command `d` has no `outputs` (list what it makes: `outputs: [NAME, …]`, and use `{outputs.NAME}` in `run`)
4:40+1: `outputs` must be a list of names, but is `x` (write `[x]`)
5:105+5: `1e999` can't be stored as a number (put it in quotes to make it a text)",
        ),
        (
            String::from("stages:\n  generate:\n    config: { note: ${x} }\n"),
            r#"3:22+1: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}' (inside `{…}` and `[…]`, `${name}` must stand in quotes: `"${name}"`)"#,
        ),
        (
            String::from("stages:\n\tgenerate:\n"),
            "2:2+1: this is not YAML: tabs disallowed within this context (block indentation) (YAML is indented with spaces, not with tabs)",
        ),
        (
            String::from("stages:\n  generate:\n  train: &t {}\n  generate:\n  x: *y\n"),
            r"3:3+5: the stage `train` lacks its input `spectra` (`spectra` (spectra): what to learn from)
3:3+5: `epochs` is missing (`epochs`: How many passes to make)
4:3+8: the key `generate` is given twice [2:3+8: first here]
5:6+2: no anchor is called `y` (a plain text can't begin with `*`: put it in quotes if it is no alias)",
        ),
    ];
    for (yaml, expected) in cases {
        assert_eq!(folder.complaints(yaml, &[]).trim_end(), *expected, "in\n{yaml}");
    }
}

#[test]
fn complaints_about_overrides_point_into_them() {
    let folder = Folder::new();
    let yaml = "vars: { cube: x }\nstages:\n  generate:\n  c: { kind: command, run: \"a {outputs.o}\", outputs: [o] }\n";
    let complaints = |overrides: &[&str]| folder.complaints(yaml, overrides);
    assert_eq!(
        complaints(&["generate.coutn=3", "genrate.count=3", "vars.cub=3", "generate.count=é"]),
        r"set 1:10+5: unknown key `coutn` (did you mean `count`?)
set 2:1+7: no stage is called `genrate` (did you mean `generate`?)
set 3:6+3: no variable is called `cub` (did you mean `cube`?)
set 4:16+1: `count` must be a whole number ≥ 1, but is `é` (`count`: How many spectra to make)
"
    );
    assert_eq!(
        complaints(&[
            "generate",
            "generate=3",
            "vars=3",
            "a.b=3",
            "generate..x=1",
            "=",
            "cache=[1]",
            "generate.count=[1"
        ]),
        r"set 1:1+8: `--set` needs a key, `=` and a value (such as `train.epochs=10`, `vars.cube=PATH` or `cache=PATH`)
set 2:1+8: `generate` is nothing that can be set (what can be set: `STAGE.KEY=VALUE`, `vars.NAME=VALUE`, `cache=PATH` and `device=DEVICE`)
set 3:1+4: `vars` is nothing that can be set (what can be set: `STAGE.KEY=VALUE`, `vars.NAME=VALUE`, `cache=PATH` and `device=DEVICE`)
set 4:1+1: no stage is called `a`
set 5:1+11: a word is missing before `=`
set 6:1+1: a word is missing before `=`
set 7:7+3: `cache` must be the path of a folder, but is a list
set 8:16+1: this is not YAML: unclosed bracket '['
"
    );
    assert_eq!(
        complaints(&["generate.note=a: b", "generate.note=${cub}", "c.x=${"]),
        r"set 1:15+0: the value reads as a list or a mapping in block style (put a text in quotes; write a list as `[a, b]` and a mapping as `{a: b}`)
set 2:15+6: no variable is called `cub` (did you mean `cube`?)
set 3:3+1: the command `c` has no `config`, and so nothing that can be set (give it one: `config: { KEY: VALUE }`, and use `{config.KEY}` in `run`)
set 3:5+2: `${` begins a variable, but no name and `}` follow (write `$${` for a literal `${`)
"
    );
}

#[test]
fn an_override_without_vars_is_told_where_the_variable_is() {
    let folder = Folder::new();
    let yaml = "vars: { n: 3, cube: x }\nstages: { generate: { config: { count: \"${n}\" } } }\n";
    assert_eq!(
        folder.complaints(yaml, &["n=4", "cub=a.fits", "cach=there", "count=5", "vars.n.x=1"]),
        r"set 1:1+1: `n` is nothing that can be set (did you mean `vars.n=4`?)
set 2:1+3: `cub` is nothing that can be set (did you mean `vars.cube=a.fits`?)
set 3:1+4: `cach` is nothing that can be set (did you mean `cache=there`?)
set 4:1+5: `count` is nothing that can be set (what can be set: `STAGE.KEY=VALUE`, `vars.NAME=VALUE`, `cache=PATH` and `device=DEVICE`)
set 5:1+8: `vars.n.x` is nothing that can be set (what can be set: `STAGE.KEY=VALUE`, `vars.NAME=VALUE`, `cache=PATH` and `device=DEVICE`)
"
    );
}

#[test]
fn a_kind_may_take_inputs_under_any_names() {
    let folder = Folder::new();
    let yaml =
        |inputs: &str| format!("stages:\n  generate:\n  compare: {{ inputs: {{ {inputs} }} }}\n");
    let loaded = folder.load(&yaml("a: generate.truth, b-2: generate, spectra: generate"), &[]);
    let loaded = loaded.unwrap_or_else(|complaints| panic!("{complaints}"));
    let names: Vec<&String> = loaded.stages[1].inputs.keys().collect();
    assert_eq!(names, ["a", "b-2", "spectra"]);
    assert_eq!(
        folder.complaints(&yaml("a: generate.spectra, 'b c': generate, '*': generate"), &[]),
        r"3:27+16: `a` must be of type `table`, but `generate.spectra` is `spectra` (did you mean `generate.truth`?)
3:45+5: `b c` is no name for an input (a name has letters, digits, `_` and `-`, doesn't begin with `-`, and is at most 64 characters long)
3:62+3: `*` is no name for an input (a name has letters, digits, `_` and `-`, doesn't begin with `-`, and is at most 64 characters long)
"
    );
    assert_eq!(
        folder.complaints(&yaml("spectra: generate"), &[]),
        "3:3+7: the stage `compare` lacks a `table` (`compare` takes one or more, under any names: the tables)\n"
    );
}
