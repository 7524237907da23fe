//! Text from data, from files' names and from a cache that others write to: every command shows it, and none lets it control the
//! terminal or pass for a message.

use std::{fs, os::unix::ffi::OsStrExt as _, path::Path};

use crate::support::{Ended, Folder};

/// Moves the cursor, sets the title, rings, is a C1 control, turns the direction, and begins a line that looks like a message.
const EVIL: &str = "\u{1b}]0;TITLE\u{7}\u{1b}[2J\u{9b}31m\u{202e}\u{2066}\r\u{8}\u{7f}";
/// What must begin no line.
const FORGED: &str = "error: forged";

/// Whether a terminal would do anything with it but show it.
fn controls(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text without the styles that the program uses itself.
fn without_styles(text: &str) -> String {
    let mut text = text.to_owned();
    for style in [
        "0", "1", "2", "4", "31", "32", "33", "34", "35", "36", "90", "91", "92", "93", "94", "95",
        "96",
    ] {
        text = text.replace(&format!("\u{1b}[{style}m"), "");
    }
    text
}

fn check(what: &str, shows_texts: bool, ended: &Ended) {
    for (text, is_told) in [(&ended.stdout, !shows_texts), (&ended.stderr, true)] {
        let shown = without_styles(text);
        assert!(
            !shown.contains(controls),
            "{what}: {:?}",
            shown.lines().find(|line| line.contains(controls))
        );
        let forged = is_told && shown.lines().any(|line| line.starts_with(FORGED));
        assert!(!forged, "{what}: {shown}");
    }
}

/// Runs a command with and without colours and checks what it says.
fn told(folder: &Folder, arguments: &[&str]) -> Ended {
    // What these show is a text with lines of its own.
    let shows_texts = ["show", "logs"].contains(&arguments[0]);
    let colored = folder.pipe(&[&["--color", "always"], arguments].concat());
    check(&format!("{arguments:?} in colours"), shows_texts, &colored);
    let ended = folder.pipe(arguments);
    check(&format!("{arguments:?}"), shows_texts, &ended);
    assert!(ended.code.is_some_and(|code| code <= 3), "{arguments:?}: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{arguments:?}: {}", ended.stderr);
    ended
}

/// The text in quotes, as YAML and JSON take it.
fn yaml(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c == '\n' || controls(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fn name() -> String {
    format!("n\n{FORGED}{}.txt", EVIL.replace('/', ""))
}

/// What a command writes and prints, by a script that no quoting of YAML gets at.
const MAKE: &str = r#"
mkdir "$2"
cp evil "$2/$(cat name)"
cp evil.json "$3"
cp evil.csv "$4"
cp evil "$5"
cat evil
cat evil >&2
test "$6" = 1 || exit 7
"#;

fn hostile() -> Folder {
    let folder = Folder::empty();
    folder.write(
        "pipeline.yaml",
        format!(
            "vars: {{ v: {text} }}\n\
             stages:\n\
             \x20 x:\n\
             \x20   kind: command\n\
             \x20   inputs: {{ in: {{ file: in }} }}\n\
             \x20   files: [evil, evil.json, evil.csv, name, make.sh]\n\
             \x20   config: {{ ok: 1, v: \"${{v}}\", {text}: {text} }}\n\
             \x20   run: sh make.sh {{inputs.in}} {{outputs.d}} {{outputs.o.json}} {{outputs.t.csv}} {{outputs.t.txt}} {{config.ok}}\n\
             \x20   outputs: [d, o.json, t.csv, t.txt]\n\
             \x20 each:\n\
             \x20   kind: command\n\
             \x20   inputs: {{ d: x.d }}\n\
             \x20   for_each: d\n\
             \x20   run: cp {{inputs.d}} {{outputs.o}}\n\
             \x20   outputs: [o]\n\
             \x20 m: {{ kind: command, matrix: {{ a: [{text}, two] }}, run: \"touch {{outputs.o}}\", outputs: [o] }}\n",
            text = yaml(EVIL),
        ),
    );
    let text = format!("t\n{FORGED}{EVIL}\n");
    folder.write("evil", &text);
    folder.write("evil.json", format!("{{{}: {}, \"n\": 1}}", yaml(&text), yaml(&text)));
    folder.write("evil.csv", format!("\"h{EVIL}\",b\n\"{text}\",2\n"));
    folder.write("make.sh", MAKE);
    folder.write("name", name());
    folder.write(&format!("in/{}", name()), "1\n");
    folder.write("in/b", "1\n");
    folder
}

/// Puts hostile text wherever the files of runs have any.
fn forge_runs(folder: &Folder) {
    let text = format!("because\n{FORGED}{EVIL}");
    for file in folder.cached("runs") {
        let mut run: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        for key in ["host", "version", "started", "pipeline"] {
            run[key] = text.clone().into();
        }
        for stage in run["stages"].as_array_mut().unwrap() {
            stage["reason"] = text.clone().into();
            if stage.get("error").is_some() {
                stage["error"]["message"] = text.clone().into();
            }
        }
        fs::remove_file(&file).unwrap();
        fs::write(&file, run.to_string()).unwrap();
        let stem = file.file_stem().unwrap().to_str().unwrap();
        fs::rename(&file, file.with_file_name(format!("{stem}-{EVIL}.json"))).unwrap();
    }
}

/// Each command, with what lets it show the most.
const COMMANDS: &[&[&str]] = &[
    &["run", "-v"],
    &["run", "--json"],
    &["plan", "-v"],
    &["plan", "--json"],
    &["status"],
    &["status", "--json"],
    &["why", "x"],
    &["why", "x", "--json"],
    &["why", "each"],
    &["graph"],
    &["graph", "--format", "dot"],
    &["out", "x.d", "there"],
    &["out", "x.t.txt", "that"],
    &["show", "x"],
    &["show", "x.d"],
    &["show", "each.o"],
    &["show", "x.o.json"],
    &["show", "x.t.csv"],
    &["show", "x.t.txt"],
    &["show", "x.d", "--path", "nothing"],
    &["log"],
    &["log", "--stages"],
    &["log", "--json"],
    &["diff", "~1", "last"],
    &["diff", "~1", "last", "--json"],
    &["metrics"],
    &["metrics", "--csv"],
    &["metrics", "--json"],
    &["logs", "x"],
    &["logs", "x", "--run", "~1"],
    &["trace"],
    &["checkout", "last"],
    &["checkout", "nothing"],
    &["cache", "pin", "last"],
    &["cache", "unpin", "last"],
    &["cache", "verify"],
    &["cache", "verify", "--json"],
    &["cache", "size"],
    &["cache", "size", "--json"],
    &["cache", "gc"],
    &["cache", "gc", "--json"],
    &["trust", "."],
    &["trust", "--list"],
    &["stages"],
    &["stages", "--json"],
    &["init", "new"],
    &["completions", "bash"],
];

#[test]
fn no_command_is_left_out() {
    let folder = Folder::empty();
    let commands = |words: &[&str]| {
        let help = folder.pipe(&[words, &["--help"]].concat());
        let listed = help.stdout.split("Commands:\n").nth(1).unwrap_or_default().to_owned();
        let listed = listed.lines().take_while(|line| line.starts_with("  "));
        let names = listed.filter(|line| !line.starts_with("   "));
        names.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = commands(&[]);
    assert!(all.len() > 10, "{all:?}");
    for name in all.iter().filter(|name| *name != "help") {
        let within = commands(&[name]);
        let covered = |word: &str| {
            COMMANDS
                .iter()
                .any(|command| command[0] == name && (word.is_empty() || command[1] == word))
        };
        assert!(covered(""), "{name}");
        for word in within.iter().filter(|word| *word != "help") {
            assert!(covered(word), "{name} {word}");
        }
    }
}

#[test]
fn text_from_data_controls_no_terminal() {
    let folder = hostile();
    let first = told(&folder, &["run", "-v"]);
    assert_eq!(first.code, Some(0), "{}{}", first.stdout, first.stderr);
    let failed = told(&folder, &["run", "--set", "x.ok=2"]);
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    folder.write(&format!("in/c{}", name()), "2\n");
    for command in COMMANDS {
        told(&folder, command);
    }
    forge_runs(&folder);
    for command in COMMANDS {
        told(&folder, command);
    }
}

/// A pipeline, or what is typed, with hostile text where something is wrong.
#[test]
fn complaints_control_no_terminal() {
    let folder = hostile();
    let text = yaml(EVIL);
    let raw = EVIL.replace('\r', "");
    for yaml in [
        format!("stages:\n  x: {{ kind: {text} }}\n"),
        format!("stages:\n  {text}: {{ kind: command }}\n"),
        format!("stages:\n  x: {{ kind: com{raw} }}\n"),
        "stages:\n  x: { kind: com\u{9b}31m\u{202e}x, run: y }\n".to_owned(),
        format!("{text}: 1\nstages: {{}}\n"),
        format!(
            "stages:\n  x: {{ kind: command, inputs: {{ i: {{ file: {text} }} }}, run: \"cp {{inputs.i}} {{outputs.o}}\", outputs: [o] }}\n"
        ),
        format!(
            "stages:\n  x: {{ kind: command, inputs: {{ i: {text} }}, run: \"cp {{inputs.i}} {{outputs.o}}\", outputs: [o] }}\n"
        ),
        format!("stages:\n  x: {{ kind: command, run: {text}, outputs: [o] }}\n"),
        format!(
            "stages:\n  x: {{ kind: command, run: \"false {{outputs.o}}\", env: [{text}], outputs: [o] }}\n"
        ),
        format!(
            "cache: {text}\nstages:\n  x: {{ kind: command, run: \"false {{outputs.o}}\", outputs: [o] }}\n"
        ),
    ] {
        folder.write("wrong.yaml", &yaml);
        for command in [&["plan"][..], &["run"], &["run", "--json"], &["graph"], &["status"]] {
            told(&folder, &[command, &["-f", "wrong.yaml"]].concat());
        }
    }
    for arguments in [
        &["plan", EVIL][..],
        &["run", "--set", EVIL],
        &["run", "--set", &format!("x.{EVIL}=1")],
        &["run", "--set", &format!("x.v={EVIL}")],
        &["run", "--name", EVIL],
        &["checkout", EVIL],
        &["show", EVIL],
        &["show", "x.d", "--path", EVIL],
        &["logs", EVIL],
        &["diff", EVIL, "last"],
        &["plan", "-f", EVIL],
        &["cache", "size", "--cache", EVIL],
        &[EVIL],
        &["run", &format!("--{EVIL}")],
    ] {
        told(&folder, arguments);
    }
}

/// What can't be an input is named.
#[test]
fn names_of_what_is_refused_control_no_terminal() {
    let folder = Folder::new(
        "stages: { x: { kind: command, inputs: { i: { file: in } }, run: \"cp -r {inputs.i} {outputs.o}\", outputs: [o] } }",
    );
    fs::create_dir(folder.path("in")).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"\xff\x1b[2J\nerror: forged");
    let path = folder.path("in").join(odd);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o644)).unwrap();
    let refused = told(&folder, &["run"]);
    assert_ne!(refused.code, Some(0), "{}", refused.stdout);
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(Path::new("nowhere"), &path).unwrap();
    told(&folder, &["run"]);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "x").unwrap();
    for command in COMMANDS {
        told(&folder, command);
    }
}
