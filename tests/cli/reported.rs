//! What users of other pipeline runners reported as bugs, told here as stories that must end well.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::support::Folder;

/// A stage that copies a file of the user's, and one that reads the copy.
const COPY: &str = "\
stages:
  copy:
    kind: command
    inputs: { raw: { file: raw.txt } }
    run: cp {inputs.raw} {outputs.text.txt}
    outputs: [text.txt]
  count:
    kind: command
    inputs: { text: copy }
    shell: true
    run: wc -l < {inputs.text} > {outputs.lines.txt}
    outputs: [lines.txt]
";

fn copying() -> Folder {
    let folder = Folder::new(COPY);
    folder.write("raw.txt", "one\ntwo\n");
    folder
}

#[test]
fn an_input_that_was_deleted_is_missed_though_its_results_are_there() {
    let folder = copying();
    folder.run(&[]);
    fs::remove_file(folder.path("raw.txt")).unwrap();
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("there is no file or folder `raw.txt`"), "{}", ended.stderr);
    // Back with the same bytes, it is the same.
    folder.write("raw.txt", "one\ntwo\n");
    assert!(folder.executed(&[]).is_empty());
}

#[test]
fn touching_an_input_runs_nothing_and_an_edit_of_any_age_what_reads_it() {
    let folder = copying();
    folder.run(&[]);
    let raw = fs::File::options().append(true).open(folder.path("raw.txt")).unwrap();
    raw.set_modified(std::time::SystemTime::now()).unwrap();
    assert!(folder.executed(&[]).is_empty());
    folder.write("raw.txt", "one\ntwo\nthree\n");
    // It claims to be older than everything that was made of it.
    raw.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(folder.executed(&[]), ["copy", "count"]);
    assert_eq!(folder.read("out/count/lines.txt").trim(), "3");
}

#[test]
fn what_a_failing_command_had_written_is_never_taken_for_its_output() {
    let yaml = |code: &str| {
        format!(
            "stages:\n  half:\n    kind: command\n    shell: true\n    outputs: [text.txt]\n    \
             run: echo half > {{outputs.text.txt}}; exit {code}\n  next:\n    kind: command\n    \
             inputs: {{ text: half }}\n    run: cp {{inputs.text}} {{outputs.text.txt}}\n    outputs: [text.txt]\n"
        )
    };
    let folder = Folder::new(&yaml("3"));
    for _ in 0..2 {
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(!folder.path("out/half").exists() && !folder.path("out/next").exists());
    }
    folder.write("pipeline.yaml", yaml("0"));
    assert_eq!(folder.executed(&[]), ["half", "next"]);
    assert_eq!(folder.read("out/next/text.txt"), "half\n");
}

#[test]
fn a_folder_that_a_stage_makes_is_not_made_again_and_again() {
    let folder = Folder::new(
        "stages:\n  split:\n    kind: command\n    inputs: { raw: { file: raw.txt } }\n    shell: true\n    \
         outputs: [parts]\n    run: |\n      mkdir {outputs.parts}\n      head -n 1 {inputs.raw} > {outputs.parts}/.head\n      \
         tail -n 1 {inputs.raw} > {outputs.parts}/.tail\n",
    );
    folder.write("raw.txt", "one\ntwo\n");
    assert_eq!(folder.executed(&[]), ["split"]);
    assert_eq!(folder.read("out/split/parts/.tail"), "two\n");
    assert!(folder.executed(&[]).is_empty());
}

#[test]
fn a_file_that_the_user_puts_into_an_output_is_kept() {
    let folder = Folder::new(
        "stages:\n  made:\n    kind: command\n    config: { n: 1 }\n    shell: true\n    outputs: [parts]\n    \
         run: mkdir {outputs.parts} && echo {config.n} > {outputs.parts}/a\n",
    );
    folder.run(&[]);
    folder.write("out/made/parts/notes.txt", "mine");
    folder.run(&["--set", "made.n=2"]);
    assert_eq!(folder.read("out/made/parts/a"), "2\n");
    assert!(!folder.path("out/made/parts/notes.txt").exists(), "the output is what the stage made");
    assert_eq!(folder.read("out/made/parts.edited-1/notes.txt"), "mine");
}

#[test]
fn an_output_that_is_edited_in_place_harms_neither_the_cache_nor_what_follows() {
    let folder = copying();
    folder.run(&[]);
    let out = folder.path("out/copy/text.txt");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&out, "forged\n").unwrap();
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(folder.read("out/copy/text.txt"), "one\ntwo\n");
    assert_eq!(folder.read("out/copy/text.txt.edited-1"), "forged\n");
    assert_eq!(folder.read("out/count/lines.txt").trim(), "2");
    assert!(folder.pipe(&["cache", "verify"]).stdout.contains("sound"));
}

#[test]
fn a_stage_whose_results_change_from_run_to_run_finds_them_again_after_a_collection() {
    let folder = Folder::new(
        "stages:\n  random:\n    kind: command\n    config: { n: 1 }\n    shell: true\n    outputs: [number.txt]\n    \
         run: od -An -N8 -tx8 /dev/urandom > {outputs.number.txt}; echo {config.n} >> {outputs.number.txt}\n",
    );
    folder.run(&[]);
    let first = folder.read("out/random/number.txt");
    folder.run(&["--set", "random.n=2"]);
    let ended = folder.pipe(&["cache", "gc", "--yes", "--keep-runs", "1", "--grace", "0s"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // It was collected, so it is made anew, and that result stands from then on.
    assert_eq!(folder.executed(&[]), ["random"]);
    let second = folder.read("out/random/number.txt");
    assert_ne!(first, second);
    assert!(folder.executed(&["--set", "random.n=2"]).is_empty());
    assert!(folder.executed(&[]).is_empty());
    assert_eq!(folder.read("out/random/number.txt"), second);
}

#[test]
fn a_cache_whose_files_someone_removed_by_hand_is_filled_again() {
    let folder = copying();
    folder.run(&[]);
    for removed in ["cache/blobs", "cache/trees", "cache/records", "cache"] {
        fs::remove_dir_all(folder.path(removed)).unwrap();
        assert!(!folder.executed(&[]).is_empty(), "{removed}");
        assert_eq!(folder.read("out/count/lines.txt").trim(), "2");
        assert!(folder.executed(&[]).is_empty(), "{removed}");
    }
}

#[test]
fn a_colleague_in_another_folder_finds_what_was_made() {
    let (mine, theirs, shared) = (copying(), copying(), Folder::empty());
    let cache = format!("cache={}", shared.path("cache").display());
    assert_eq!(mine.executed(&["--set", &cache]), ["copy", "count"]);
    assert!(theirs.executed(&["--set", &cache]).is_empty());
    assert_eq!(theirs.read("out/count/lines.txt").trim(), "2");
}

#[test]
fn a_command_that_adds_to_its_input_fails_and_what_it_read_stays_as_it_was() {
    let folder = Folder::new(
        "stages:\n  first:\n    kind: command\n    shell: true\n    outputs: [parts]\n    \
         run: mkdir {outputs.parts} && echo one > {outputs.parts}/a\n  next:\n    kind: command\n    \
         inputs: { parts: first }\n    shell: true\n    outputs: [text.txt]\n    \
         run: chmod u+w {inputs.parts}/a && echo two >> {inputs.parts}/a; cat {inputs.parts}/a > {outputs.text.txt}\n",
    );
    for _ in 0..2 {
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains("`parts`"), "{}", ended.stderr);
        assert!(!folder.path("out/next").exists());
    }
    let ended = folder.pipe(&["run", "first"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(folder.read("out/first/parts/a"), "one\n");
}

#[test]
fn a_folder_with_blanks_and_quotes_in_its_name_is_one_like_any() {
    let folder = Folder::empty();
    let odd = "a user's \"folder\" $HOME; `x`";
    folder.write(&format!("{odd}/pipeline.yaml"), COPY);
    folder.write(&format!("{odd}/raw.txt"), "one\n");
    let mut command = folder.command(&["run"]);
    command.current_dir(folder.path(odd));
    let ended = folder.ended(command.output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(folder.read(&format!("{odd}/out/count/lines.txt")).trim(), "1");
}

#[test]
fn stages_without_inputs_are_remembered_too() {
    let folder = Folder::new(
        "stages:\n  made:\n    kind: command\n    run: touch {outputs.o}\n    outputs: [o]\n",
    );
    assert_eq!(folder.executed(&[]), ["made"]);
    assert!(folder.executed(&[]).is_empty());
}

#[test]
fn a_stage_that_is_renamed_keeps_its_results() {
    let folder = copying();
    folder.run(&[]);
    folder.write(
        "pipeline.yaml",
        COPY.replace("  copy:", "  duplicate:").replace("text: copy", "text: duplicate"),
    );
    assert!(folder.executed(&[]).is_empty());
    assert_eq!(folder.read("out/duplicate/text.txt"), "one\ntwo\n");
}

#[test]
fn two_pipelines_in_one_folder_share_results() {
    let folder = copying();
    folder.run(&[]);
    folder.write("other.yaml", COPY.replace("  count:", "  lines:"));
    assert!(folder.executed(&["-f", "other.yaml"]).is_empty());
}

const SETTABLE: &str = "\
vars: { color: red }
stages:
  a:
    kind: command
    config: { text: \"${color}\", deep: { n: 1 } }
    run: \"sh -c 'echo $1 $2 > $3' - {config.text} {config.deep.n} {outputs.o}\"
    outputs: [o]
  none: { kind: command, run: \"touch {outputs.o}\", outputs: [o] }
";

#[test]
fn a_key_that_a_command_has_not_is_not_set() {
    let folder = Folder::new(SETTABLE);
    for (set, told) in [
        ("a.txt=5", "the config of the command `a` has no `txt`"),
        ("a.deep.m=5", "the config of the command `a` has no `m`"),
        ("none.n=5", "the command `none` has no `config`"),
    ] {
        let ended = folder.pipe(&["run", "--set", set]);
        assert_eq!(ended.code, Some(2), "{set}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(told) && ended.stderr.contains("--set:1:"),
            "{}",
            ended.stderr
        );
    }
    let ended = folder.pipe(&["run", "--set", "a.txt=5"]);
    assert!(ended.stderr.contains("did you mean `text`?"), "{}", ended.stderr);
    folder.run(&["--set", "a.text=5", "--set", "a.deep.n=7"]);
    assert_eq!(folder.read("out/a/o"), "5 7\n");
}

#[test]
fn what_is_set_is_the_whole_text_also_after_a_hash() {
    let folder = Folder::new(SETTABLE);
    for color in ["#ff0000", "red #1", "#", "a#b", "x # y"] {
        folder.run(&["--set", &format!("vars.color={color}")]);
        assert_eq!(folder.read("out/a/o"), format!("{color} 1\n"));
    }
    for value in ["\"red\" # one", "[a] # one", "{a: b} #"] {
        let ended = folder.pipe(&["run", "--set", &format!("vars.color={value}")]);
        assert_eq!(ended.code, Some(2), "{value}: {}", ended.stderr);
        assert!(ended.stderr.contains("what follows `#` would be a comment"), "{}", ended.stderr);
    }
    folder.run(&["--set", "vars.color=\"red # one\""]);
    assert_eq!(folder.read("out/a/o"), "red # one 1\n");
}

#[test]
fn a_file_may_say_that_it_is_yaml_1_2() {
    let folder = copying();
    folder.write("pipeline.yaml", format!("%YAML 1.2\n---\n{COPY}"));
    folder.run(&[]);
    folder.write("pipeline.yaml", format!("%YAML 1.1\n---\n{COPY}"));
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("pipeline.yaml:1:1"), "{}", ended.stderr);
}

#[test]
fn a_command_for_each_of_nothing_makes_nothing() {
    let folder = Folder::new(
        "stages:
  each:
    kind: command
    inputs: { x: { file: data } }
    for_each: x
    run: cp {inputs.x} {outputs.o}
    outputs: [o]
  again:
    kind: command
    inputs: { x: each.o }
    for_each: x
    run: cp {inputs.x} {outputs.o}
    outputs: { o: \"{item.stem}.again\" }
  rows:
    kind: command
    inputs: { x: { file: rows.csv } }
    for_each: x
    run: cp {inputs.x} {outputs.o}
    outputs: [o]
",
    );
    fs::create_dir(folder.path("data")).unwrap();
    folder.write("rows.csv", "a,b\n");
    assert_eq!(folder.executed(&[]), ["again", "each", "rows"]);
    assert!(folder.executed(&[]).is_empty());
    assert!(folder.path("out/again/o").is_dir());
    folder.write("data/one", "1\n");
    folder.write("rows.csv", "a,b\n1,2\n");
    assert_eq!(folder.executed(&[]), ["again", "each", "rows"]);
    assert_eq!(folder.read("out/again/o/o.again"), "1\n");
    fs::remove_file(folder.path("data/one")).unwrap();
    assert!(folder.executed(&["again"]).is_empty(), "nothing is known, too");
    assert_eq!(fs::read_dir(folder.path("out/again/o")).unwrap().count(), 0);
}
