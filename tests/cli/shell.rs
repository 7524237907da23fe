//! What a shell is given, and what of its surroundings a command sees.

use crate::support::Folder;

/// A pipeline of one command with these lines.
fn command(lines: &str) -> Folder {
    Folder::new(&format!("stages:\n  x:\n    kind: command\n    outputs: [o]\n    {lines}\n"))
}

#[test]
fn a_script_stops_at_the_first_line_that_fails() {
    for (shell, run, code) in [
        ("true", "echo half > {outputs.o}\n      false\n      echo whole >> {outputs.o}", 1),
        ("bash", "echo half > {outputs.o}\n      false | cat\n      echo whole >> {outputs.o}", 1),
        ("/bin/sh", "cd nowhere; echo half > {outputs.o}", 2),
        ("[/bin/sh, -c]", "false\n      echo whole > {outputs.o}", 0),
        ("true", "if false; then :; fi; false || echo whole > {outputs.o}", 0),
    ] {
        let folder = command(&format!("shell: {shell}\n    run: |\n      {run}"));
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(i32::from(code > 0)), "{shell}: {run}: {}", ended.stderr);
        if code > 0 {
            assert!(ended.stderr.contains(&format!("exited with code {code}")), "{}", ended.stderr);
            assert!(!folder.path("out/x").exists());
        }
    }
}

#[test]
fn which_shell_reads_a_script_is_a_part_of_what_it_is() {
    let folder = command("shell: true\n    run: echo $0 > {outputs.o}");
    folder.run(&[]);
    for shell in ["bash", "[bash, -c]"] {
        folder.write(
            "pipeline.yaml",
            folder.read("pipeline.yaml").replace("shell: true", &format!("shell: {shell}")),
        );
        let why = folder.pipe(&["plan"]);
        assert!(why.stdout.contains("shell true → "), "{}", why.stdout);
        assert_eq!(folder.executed(&[]), ["x"]);
        folder.write(
            "pipeline.yaml",
            folder.read("pipeline.yaml").replace(&format!("shell: {shell}"), "shell: true"),
        );
        assert!(folder.executed(&[]).is_empty());
    }
    let ended = command("shell: fish\n    run: echo > {outputs.o}").pipe(&["run"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("must be `true`, one of `bash`"), "{}", ended.stderr);
}

#[test]
fn a_second_line_without_a_shell_is_refused_with_what_to_do() {
    let ended = command("run: |\n      echo one\n      touch {outputs.o}").pipe(&["run"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("pipeline.yaml:7:7"), "{}", ended.stderr);
    for remedy in ["`run: >`", "`\\`", "`shell: true`"] {
        assert!(ended.stderr.contains(remedy), "{}", ended.stderr);
    }
    for run in [
        "|\n      touch {outputs.o}\n",
        "|\n      touch \\\n        {outputs.o}",
        ">\n      touch\n      {outputs.o}",
    ] {
        assert_eq!(command(&format!("run: {run}")).pipe(&["run"]).code, Some(0), "{run}");
    }
}

/// Values that say something to a shell.
const HOSTILE: [&str; 8] = [
    "$(touch ROOT/pwned)",
    "`touch ROOT/pwned`",
    "'; touch ROOT/pwned; '",
    "\"; touch ROOT/pwned; \"",
    "a[$(touch ROOT/pwned)]",
    "-n *",
    "new\nline  and   blanks",
    "\\\\ \\n $HOME é\u{1}",
];

#[test]
fn no_value_is_ever_a_part_of_a_script() {
    let folder = Folder::empty();
    let root = folder.path("").canonicalize().unwrap();
    for value in HOSTILE {
        let value = value.replace("ROOT", root.to_str().unwrap());
        let yaml = serde_json::to_string(&value).unwrap();
        folder.write(
            "pipeline.yaml",
            format!(
                "stages:\n  x:\n    kind: command\n    config: {{ v: {yaml} }}\n    shell: true\n    outputs: [o]\n    run: |\n      \
                 f() {{ printf %s {{config.v}}; }}\n      y=$(f a b)\n      x={{config.v}}; [ \"$x\" = \"$y\" ]\n      \
                 sh -c 'printf %s \"$1\"' - {{config.v}} > {{outputs.o}}\n"
            ),
        );
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(0), "{value}: {}", ended.stderr);
        assert_eq!(folder.read("out/x/o"), value);
        assert!(!folder.path("pwned").exists(), "{value}");
    }
    for script in [
        "echo \"{config.v}\" > {outputs.o}",
        "echo '{config.v}' > {outputs.o}",
        "sh -c 'echo {config.v}' > {outputs.o}",
        "cat > {outputs.o} <<E\n      {config.v}\n      E",
        "echo $(({config.v})) > {outputs.o}",
        "eval {config.v} > {outputs.o}",
    ] {
        let folder =
            command(&format!("config: {{ v: word }}\n    shell: bash\n    run: |\n      {script}"));
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(2), "{script}: {}", ended.stderr);
        assert!(ended.stderr.contains("a placeholder "), "{script}: {}", ended.stderr);
    }
}

#[test]
fn a_value_with_a_nul_is_refused_rather_than_left_out() {
    for shell in ["true", "false"] {
        let folder = command(&format!(
            "inputs: {{ t: {{ file: t.csv }} }}\n    for_each: t\n    shell: {shell}\n    run: cp {{item.name}} {{outputs.o}}"
        ));
        folder.write("t.csv", "name\n/etc/hostname\0\n");
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("`{item.name}` of `1` holds the character NUL"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn the_name_by_which_a_command_sees_a_file_counts() {
    let folder = command(
        "inputs: { t: { file: t.csv } }\n    shell: true\n    run: basename {inputs.t} > {outputs.o}",
    );
    folder.write("t.csv", "1");
    folder.run(&[]);
    assert_eq!(folder.read("out/x/o"), "t.csv\n");
    folder.write("t.tsv", "1");
    let yaml = folder.read("pipeline.yaml").replace("t.csv", "t.tsv");
    folder.write("pipeline.yaml", yaml);
    assert_eq!(folder.executed(&[]), ["x"]);
    assert_eq!(folder.read("out/x/o"), "t.tsv\n");
}

/// What a command sees of the variables that are set.
fn seen(folder: &Folder, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = folder.command(&["run"]);
    command.envs(variables.iter().copied());
    let ended = folder.ended(command.output().unwrap());
    (ended.code, format!("{}{}", ended.stdout, ended.stderr))
}

#[test]
fn a_command_sees_the_variables_that_it_names_and_few_others() {
    let set = [("MINE", "1"), ("OTHERS", "2"), ("SLURM_JOB_ID", "3"), ("LC_ALL", "C")];
    let run = "run: for n in MINE OTHERS SLURM_JOB_ID LC_ALL; do printenv $n || echo none; done > {outputs.o}";
    for (env, expected) in [
        ("", "none\nnone\n3\nC\n"),
        ("env: [MINE]\n    ", "1\nnone\n3\nC\n"),
        ("secrets: [OTHERS]\n    ", "none\n2\n3\nC\n"),
        ("env: inherit\n    ", "1\n2\n3\nC\n"),
    ] {
        let folder = command(&format!("shell: true\n    {env}{run}"));
        assert_eq!(seen(&folder, &set).0, Some(0));
        assert_eq!(folder.read("out/x/o"), expected, "{env}");
    }
    let folder = command("shell: true\n    run: ': {outputs.o}; echo OTHERS is not set; exit 3'");
    let (code, told) = seen(&folder, &set);
    assert_eq!(code, Some(1));
    let missed =
        "code 3; variables that are set here and were not passed to it: OTHERS, MINE (`env:`";
    assert!(told.contains(missed), "{told}");
}

#[test]
fn values_of_variables_are_compared_by_bytes_and_stand_nowhere() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let folder = command(
        "shell: true\n    env: [WORD]\n    secrets: [KEY]\n    run: printf %s \"$WORD$KEY\" | od -An -tx1 > {outputs.o}",
    );
    let run = |word: &[u8], key: &str| {
        let mut command = folder.command(&["run", "--json"]);
        command.env("WORD", OsStr::from_bytes(word)).env("KEY", key);
        let ended = folder.ended(command.output().unwrap());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.json()["stages"][0]["outcome"].as_str().unwrap().to_owned()
    };
    // Neither is text, and both look alike when they are made it.
    assert_eq!(run(b"\xff", "k1"), "executed");
    assert_eq!(run(b"\xfe", "k1"), "executed");
    assert_eq!(run(b"\xff", "k1"), "reused");
    assert_eq!(run(b"\xff", "k2"), "reused", "a secret doesn't count");
    assert_eq!(run(b"sesame-street", "open-sesame"), "executed");
    let mut why = folder.command(&["why", "x"]);
    why.env("WORD", "sesame-road");
    let why = folder.ended(why.output().unwrap()).stdout;
    assert!(why.contains("env WORD changed"), "{why}");
    assert!(!why.contains("sesame"), "{why}");
    for kind in ["records", "runs", "trees"] {
        for file in folder.cached(kind) {
            let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
            assert!(!text.contains("sesame"), "{}", file.display());
        }
    }
}
