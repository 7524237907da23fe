//! The pages of `docs/`: what they show is what the program says.
//!
//! Every block marked ```` ```console ```` is run in a folder of the page's own, in order. A line that begins with `$ ` is a
//! command for a shell; below it stands what it prints, on stdout and stderr alike. In there `[..]` stands for any text
//! within a line, and a line `...` for any lines. The files that the commands need come from the page itself:
//!
//! * a block whose mark has a file's name, such as ```` ```yaml pipeline.yaml ````, is that file from there on;
//! * a comment `<!-- file NAME` holds a file that the reader need not see, up to its `-->`;
//! * a comment `<!-- copy PATH NAME -->` copies a file of the repository, or a folder of it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use crate::support::Folder;

/// A part of a page, with the number of its first line.
#[derive(Debug, PartialEq)]
enum Part {
    File { name: String, text: String },
    Copy { from: String, name: String },
    Command { line: usize, command: String, expected: Vec<String> },
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn parts(page: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        if let Some(mark) = line.strip_prefix("```").filter(|mark| !mark.is_empty()) {
            let block: Vec<(usize, &str)> =
                lines.by_ref().take_while(|(_, l)| *l != "```").collect();
            match mark.split_once(' ') {
                Some((_, name)) => parts.push(Part::File {
                    name: name.to_owned(),
                    text: block.iter().flat_map(|(_, line)| [line, "\n"]).collect(),
                }),
                None if mark == "console" => parts.extend(commands(&block)),
                None => {}
            }
        } else if let Some(name) = line.strip_prefix("<!-- file ") {
            let text = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "-->");
            let text = text.flat_map(|line| [line, "\n"]).collect();
            parts.push(Part::File { name: name.trim().to_owned(), text });
        } else if let Some(copy) = line.strip_prefix("<!-- copy ") {
            let (from, name) = copy.trim_end_matches("-->").trim().split_once(' ').expect(line);
            parts.push(Part::Copy { from: from.to_owned(), name: name.to_owned() });
        }
    }
    parts
}

fn commands(block: &[(usize, &str)]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (number, text) in block {
        if let Some(command) = text.strip_prefix("$ ") {
            let command = command.to_owned();
            parts.push(Part::Command { line: number + 1, command, expected: Vec::new() });
        } else if let Some(Part::Command { expected, .. }) = parts.last_mut() {
            expected.push((*text).trim_end().to_owned());
        } else {
            panic!("line {}: a console block begins with a command", number + 1);
        }
    }
    parts
}

/// Whether the lines that were printed are those that were expected.
fn is_as_expected(found: &[&str], expected: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=found.len()).any(|skipped| is_as_expected(&found[skipped..], rest))
        }
        Some((first, rest)) => found
            .split_first()
            .is_some_and(|(line, more)| is_line(line, first) && is_as_expected(more, rest)),
    }
}

/// Whether a line is as `pattern` says, in which `[..]` stands for any text.
fn is_line(line: &str, pattern: &str) -> bool {
    let Some((head, tail)) = pattern.split_once("[..]") else { return line == pattern };
    line.strip_prefix(head).is_some_and(|rest| {
        let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
        ends.into_iter().any(|at| is_line(&rest[at..], tail))
    })
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
        return;
    }
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

/// Runs a page; gives what is not as it says.
fn failures(name: &str, page: &str) -> String {
    let folder = Folder::empty();
    let binary = Path::new(env!("CARGO_BIN_EXE_pipe")).parent().unwrap().to_owned();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([binary].into_iter().chain(std::env::split_paths(&others)));
    let path = path.unwrap();
    let mut failures = String::new();
    for part in parts(page) {
        match part {
            Part::File { name, text } => folder.write(&name, text),
            Part::Copy { from, name } => copy(&root().join(from), &folder.path(&name)),
            Part::Command { line, command, expected } => {
                // Stderr goes where stdout goes, in the order in which both are written.
                let script = format!("exec 2>&1\n{command}\n");
                let mut shell = folder.program("/bin/sh", &["-c", &script]);
                let ended = shell.env("PATH", &path).env("TZ", "UTC").output().unwrap();
                let ended = folder.ended(ended);
                let found: Vec<&str> = ended.stdout.lines().map(str::trim_end).collect();
                if !is_as_expected(&found, &expected) {
                    let _ = writeln!(
                        failures,
                        "{name}:{line}: $ {command}\n--- the page says\n{}\n--- the program says\n{}\n",
                        expected.join("\n"),
                        found.join("\n")
                    );
                }
            }
        }
    }
    failures
}

#[test]
fn the_pages_show_what_the_program_says() {
    let mut pages: Vec<PathBuf> =
        fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    assert!(!pages.is_empty());
    let mut all = String::new();
    for page in pages {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        all.push_str(&failures(&name, &fs::read_to_string(&page).unwrap()));
    }
    assert!(all.is_empty(), "\n{all}");
}

#[test]
fn a_page_that_is_wrong_is_found_out() {
    let page = "<!-- file hidden.txt\none\ntwo\n-->\n```text seen.txt\nthree\n```\n```console\n$ cat hidden.txt seen.txt\n\
                one\n...\nth[..]e\n$ echo a; echo b >&2\na\nb\n```\n";
    assert_eq!(failures("page", page), "");
    let wrong = failures("page", &page.replace("th[..]e", "th[..]x"));
    assert!(wrong.starts_with("page:9: $ cat"), "{wrong}");
    assert!(wrong.contains("one\ntwo\nthree"), "{wrong}");
}

#[test]
fn placeholders_stand_for_what_differs() {
    assert!(is_line("a 12 b 3 c", "a [..] b [..] c"));
    assert!(is_line("[..]", "[..]") && is_line("", "[..]") && is_line("é", "[..]"));
    assert!(!is_line("a 12 c", "a [..] b"));
    let lines = |expected: &[&str]| -> Vec<String> {
        expected.iter().map(|line| (*line).to_owned()).collect()
    };
    assert!(is_as_expected(&["1", "2", "3"], &lines(&["1", "..."])));
    assert!(is_as_expected(&["1"], &lines(&["...", "1", "..."])));
    assert!(!is_as_expected(&["1", "2"], &lines(&["1"])));
    assert!(!is_as_expected(&["1"], &lines(&["1", "2"])));
}
