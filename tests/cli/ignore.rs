//! What of the user's folders is read: not what pipe makes itself, nor what editors leave, nor what `.pipeignore` names.

use std::{fs, os::unix::fs::symlink};

use crate::support::Folder;

/// A pipeline that lists the files of the input `written`.
fn listing(written: &str) -> Folder {
    Folder::new(&format!(
        "stages:\n  list:\n    kind: command\n    inputs: {{ i: {{ file: \"{written}\" }} }}\n    shell: true\n    \
         run: \"cd {{inputs.i}} && find . -type f | LC_ALL=C sort > {{outputs.n}}\"\n    outputs: [n]\n"
    ))
}

fn listed(folder: &Folder) -> Vec<String> {
    folder.run(&[]);
    folder.read("out/list/n").lines().map(|line| line[2..].to_owned()).collect()
}

#[test]
fn the_pipeline_s_own_folder_is_an_input_without_what_pipe_makes() {
    for written in [".", "./", "../NAME"] {
        let folder = listing(".");
        let name = folder.path("").file_name().unwrap().to_str().unwrap().to_owned();
        let yaml = folder
            .read("pipeline.yaml")
            .replace("\".\"", &format!("\"{}\"", written.replace("NAME", &name)));
        folder.write("pipeline.yaml", yaml);
        folder.write("a.csv", "1");
        assert_eq!(listed(&folder), ["a.csv", "pipeline.yaml"], "{written}");
        // What the first run has made is nothing new.
        assert!(folder.executed(&[]).is_empty(), "{written}");
        assert!(folder.path("out").is_dir() && folder.path("cache").is_dir());
    }
}

#[test]
fn pipe_s_own_folders_are_left_out_by_whatever_name() {
    let folder = listing("data");
    folder.write("data/a", "1");
    fs::create_dir_all(folder.path("store")).unwrap();
    folder.run(&["--set", "cache=store"]);
    symlink("../store", folder.path("data/store")).unwrap();
    symlink("../out", folder.path("data/made")).unwrap();
    folder.run(&["--set", "cache=store"]);
    assert_eq!(folder.read("out/list/n"), "./a\n");
}

#[test]
fn what_editors_and_interpreters_leave_is_no_input() {
    let folder = listing("data");
    folder.write("data/a", "1");
    assert_eq!(listed(&folder), ["a"]);
    for name in [
        ".git/HEAD",
        "a~",
        ".a.swp",
        ".~lock.a.ods#",
        "sub/__pycache__/m.pyc",
        ".DS_Store",
        ".ipynb_checkpoints/n.ipynb",
    ] {
        folder.write(&format!("data/{name}"), "x");
    }
    // As Emacs locks a file.
    symlink("me@here.1234:5678", folder.path("data/.#a")).unwrap();
    // The folder `sub` is one more; what is left out isn't.
    fs::remove_dir_all(folder.path("data/sub")).unwrap();
    assert!(folder.executed(&[]).is_empty());
    folder.write("data/.pipeignore", "!a~\n!.git\n");
    assert_eq!(listed(&folder), [".git/HEAD", "a", "a~"]);
}

#[test]
fn rules_are_written_as_git_s_are() {
    let folder = listing("data");
    for name in ["a.csv", "a.tmp", "raw/b.csv", "raw/keep.tmp", "raw/deep/c.csv", "notes/d.md"] {
        folder.write(&format!("data/{name}"), "x");
    }
    folder.write(".gitignore", "*.csv\n");
    folder.write("data/.gitignore", "*.csv\n");
    folder.write(".pipeignore", "*.tmp\n/data/notes/\n.gitignore\n");
    folder.write("data/raw/.pipeignore", "!keep.tmp\ndeep\n");
    assert_eq!(listed(&folder), ["a.csv", "raw/b.csv", "raw/keep.tmp"]);
    // What is left out may change as it likes.
    folder.write("data/a.tmp", "other");
    assert!(folder.executed(&[]).is_empty());
    folder.write(".pipeignore", "[z-a]\n");
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("line 1 of `ROOT/.pipeignore` is no pattern"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_pattern_is_a_folder_of_what_fits_it() {
    let folder = listing("data/*.fits");
    for name in ["a.fits", "b.fits", "c.txt", "sub/d.fits"] {
        folder.write(&format!("data/{name}"), name);
    }
    assert_eq!(listed(&folder), ["a.fits", "b.fits"]);
    folder.write("data/c.txt", "other");
    assert!(folder.executed(&[]).is_empty());
    folder.write("data/e.fits", "more");
    assert_eq!(listed(&folder), ["a.fits", "b.fits", "e.fits"]);
    let yaml = folder.read("pipeline.yaml");
    folder.write("pipeline.yaml", yaml.replace("data/*.fits", "data/**/[a-d].fits"));
    assert_eq!(listed(&folder), ["a.fits", "b.fits", "sub/d.fits"]);
    folder.write("pipeline.yaml", yaml.replace("*.fits", "*.fit"));
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let told = "no file fits `data/*.fit`: `ROOT/data` holds `a.fits`, `b.fits`, `c.txt`";
    assert!(
        ended.stderr.contains(told) && ended.stderr.contains("pipeline.yaml:"),
        "{}",
        ended.stderr
    );
    // A file may be called as a pattern is.
    folder.write("data/[x].fits/y", "1");
    folder.write("pipeline.yaml", yaml.replace("*.fits", "[x].fits"));
    assert_eq!(listed(&folder), ["y"]);
}

#[test]
fn files_of_a_command_may_be_a_pattern() {
    let folder = Folder::new(
        "stages:\n  s:\n    kind: command\n    files: [\"lib/*.sh\"]\n    run: sh lib/main.sh {outputs.o}\n    outputs: [o]\n",
    );
    folder.write("lib/main.sh", ". lib/more.sh; say > $1");
    folder.write("lib/more.sh", "say() { ls lib; }");
    folder.write("lib/notes.txt", "");
    folder.run(&[]);
    assert_eq!(folder.read("out/s/o"), "main.sh\nmore.sh\n");
    folder.write("lib/third.sh", "");
    assert_eq!(folder.executed(&[]), ["s"]);
}

#[test]
fn files_above_the_pipeline_stand_above_the_command() {
    let folder = Folder::new("stages: {}\n");
    let yaml = |files: &str| {
        format!(
            "stages:\n  s:\n    kind: command\n    files: [{files}]\n    run: sh bin/main.sh {{outputs.o}}\n    outputs: [o]\n"
        )
    };
    folder.write(
        "a/b/bin/main.sh",
        ". ../../lib/say.sh; { say; find ../.. -name '*.sh'; } | sort > $1",
    );
    folder.write("lib/say.sh", "say() { echo first; }");
    folder.write("lib/more.sh", "");
    folder.write("a/other.sh", "");
    let here = folder.path("a/b/pipeline.yaml");
    let run = |files: &str| {
        folder.write("a/b/pipeline.yaml", yaml(files));
        let ended = folder.pipe(&["run", "-f", here.to_str().unwrap()]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout.contains("executed  s")
    };
    assert!(run("bin/main.sh, ../../lib/say.sh"));
    let listed = folder.read("a/b/out/s/o");
    let names: Vec<&str> = listed.lines().collect();
    assert!(names.contains(&"../../lib/say.sh") && names.contains(&"first"), "{listed}");
    assert_eq!(names.len(), 3, "{listed}");
    // What counts is what they hold, as it does for the others.
    assert!(!run("bin/main.sh, .././../lib/say.sh"));
    folder.write("lib/say.sh", "say() { echo second; }");
    assert!(run("bin/main.sh, ../../lib/say.sh"));
    assert!(folder.read("a/b/out/s/o").contains("second"));
    assert!(run("bin/main.sh, \"../../lib/*.sh\", ../other.sh"));
    let listed = folder.read("a/b/out/s/o");
    assert!(listed.contains("../../lib/more.sh") && listed.contains("/other.sh"), "{listed}");
    folder.write("lib/say.sh", "say() { echo third; }");
    assert!(run("bin/main.sh, ../../lib/say.sh"));
    assert_eq!(folder.read("a/b/out/s/o").lines().count(), 3);
}

#[test]
fn what_another_stage_has_placed_is_no_file_of_the_user_s() {
    let stages = |file: &str, files: &str| {
        format!(
            "stages:\n  prep:\n    kind: command\n    run: touch {{outputs.p.txt}}\n    outputs: [p.txt]\n  use:\n    \
             kind: command\n    inputs: {{ i: {{ file: \"{file}\" }} }}\n    files: [{files}]\n    \
             run: cp {{inputs.i}} {{outputs.o}}\n    outputs: [o]\n"
        )
    };
    let folder = Folder::new(&stages("mine", ""));
    folder.write("mine", "");
    let refused = |file: &str, files: &str| {
        folder.write("pipeline.yaml", stages(file, files));
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(2), "{file} {files}: {}", ended.stderr);
        assert!(ended.stderr.contains("lies in `out`"), "{file} {files}: {}", ended.stderr);
        assert!(ended.stderr.contains("write `prep.p.txt`"), "{file} {files}: {}", ended.stderr);
    };
    // Before the first run as well as after it.
    refused("out/prep/p.txt", "");
    folder.write("pipeline.yaml", stages("mine", ""));
    folder.run(&[]);
    symlink("out/prep/p.txt", folder.path("file")).unwrap();
    symlink("out", folder.path("folder")).unwrap();
    let absolute = folder.path("out/prep/p.txt").display().to_string();
    for file in [
        "out/prep/p.txt",
        "./out//prep/p.txt",
        "x/../out/prep/p.txt",
        "file",
        "folder/prep/p.txt",
        &absolute,
    ] {
        refused(file, "");
    }
    for files in ["out/prep/p.txt", "folder/prep/p.txt"] {
        refused("mine", files);
    }
    for file in ["out", "out/prep", "out/*/p.txt"] {
        folder.write("pipeline.yaml", stages(file, ""));
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(2), "{file}: {}", ended.stderr);
        assert!(ended.stderr.contains("lies in `out`"), "{file}: {}", ended.stderr);
    }
}

#[test]
fn a_home_is_looked_up_and_no_folder_is_called_so() {
    let folder = listing("~/data");
    folder.write("home/data/a", "1");
    let run = |arguments: &[&str], home: Option<&str>| {
        let mut command = folder.command(arguments);
        match home {
            Some(home) => command.env("HOME", folder.path(home)),
            None => command.env("HOME", ""),
        };
        folder.ended(command.output().unwrap())
    };
    let ended = run(&["run", "--set", "cache=~/store"], Some("home"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(folder.path("home/store/format").is_file());
    assert!(!folder.path("~").exists());
    for (cache, told) in [
        ("~other/store", "homes of other users aren't looked up"),
        ("$HOME/store", "variable of the environment"),
        ("${HOME}/store", "HOME"),
        ("x/$USER", "variable of the environment"),
    ] {
        let ended = run(&["run", "--set", &format!("cache={cache}")], Some("home"));
        assert_eq!(ended.code, Some(2), "{cache}: {}", ended.stderr);
        assert!(ended.stderr.contains(told), "{cache}: {}", ended.stderr);
    }
    let names: Vec<_> =
        fs::read_dir(folder.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains(['~', '$'])), "{names:?}");
}
