//! Help, new pipelines, completions.

use std::fmt::Write as _;

use crate::support::Folder;

#[test]
fn the_help_lists_the_commands_and_the_exit_codes() {
    let help = Folder::empty().pipe(&["--help"]);
    assert_eq!(help.code, Some(0));
    for word in [
        "run",
        "plan",
        "status",
        "why",
        "log",
        "diff",
        "metrics",
        "logs",
        "trace",
        "checkout",
        "cache",
        "graph",
        "out",
        "show",
        "stages",
        "trust",
        "init",
        "completions",
        "Exit codes:",
        "130  ",
    ] {
        assert!(help.stdout.contains(word), "{word}: {}", help.stdout);
    }
    let wrong = Folder::empty().pipe(&["rum"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("run"), "{}", wrong.stderr);
}

/// The help of the program and of every subcommand, in one text.
fn whole_help() -> String {
    fn collect(folder: &Folder, words: &[&str], all: &mut String) {
        let asked: Vec<&str> = words.iter().copied().chain(["--help"]).collect();
        let help = folder.pipe(&asked);
        assert_eq!(help.code, Some(0), "{words:?}: {}", help.stderr);
        let title = [&["pipe"], words].concat().join(" ");
        let _ = writeln!(all, "==> {title} <==\n{}", help.stdout);
        let commands = help.stdout.lines().skip_while(|line| *line != "Commands:").skip(1);
        for line in commands.take_while(|line| line.starts_with("  ")) {
            if let Some(command) =
                line.split_whitespace().next().filter(|_| !line.starts_with("   "))
            {
                collect(folder, &[words, &[command]].concat(), all);
            }
        }
    }
    let mut all = String::new();
    collect(&Folder::empty(), &[], &mut all);
    all
}

/// To be read as a whole by whoever changes a word of it: `INSTA_UPDATE=always cargo test --release --test cli whole_help`
/// writes it anew.
#[test]
fn the_whole_help_reads_as_it_was_reviewed() {
    insta::assert_snapshot!("help", whole_help());
}

#[test]
fn init_begins_a_sound_pipeline_and_overwrites_nothing() {
    let folder = Folder::empty();
    assert_eq!(folder.pipe(&["init", "new/one"]).code, Some(0));
    assert!(folder.read("new/one/.gitignore").contains("/out/"));
    let plan = folder.pipe(&["plan", "-f", "new/one/pipeline.yaml", "--json"]);
    assert_eq!(plan.code, Some(0), "{}", plan.stderr);
    folder.write("new/one/pipeline.yaml", "mine");
    assert_eq!(folder.pipe(&["init", "new/one"]).code, Some(2));
    assert_eq!(folder.read("new/one/pipeline.yaml"), "mine");
}

#[test]
fn completions_are_scripts() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = Folder::empty().pipe(&["completions", shell]);
        assert_eq!(ended.code, Some(0));
        for word in ["why", "metrics", "checkout", "unpin", "--name"] {
            let word = if shell == "fish" { word.trim_start_matches('-') } else { word };
            assert!(ended.stdout.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn the_kinds_are_told_in_words() {
    let all = Folder::empty().pipe(&["stages"]);
    for word in ["generate", "train", "command", "count", "inputs", "outputs"] {
        assert!(all.stdout.contains(word), "{word}");
    }
    assert!(all.stdout.lines().all(|line| line.chars().count() <= 100), "wrapped to the terminal");
    let one = Folder::empty().pipe(&["stages", "generate"]);
    assert!(one.stdout.starts_with("generate\n"), "{}", one.stdout);
    let none = Folder::empty().pipe(&["stages", "genrate"]);
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("did you mean `generate`?"));
}
