//! What commands make: it comes back as it was, or is refused by its name.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use crate::support::Folder;

/// A pipeline whose command `make` runs `make.sh`, with the path of its output.
fn making(script: &str) -> Folder {
    let folder = Folder::new(
        "stages:\n  make:\n    kind: command\n    inputs: { i: { file: data } }\n    files: [make.sh]\n    \
         run: sh make.sh {inputs.i} {outputs.o}\n    outputs: [o]\n",
    );
    folder.write("data/x", "the input's content\n");
    folder.write("make.sh", format!("set -e\n{script}"));
    folder
}

#[test]
fn programs_empty_folders_links_and_odd_names_come_back() {
    let folder = making(
        "mkdir -p $2/bin $2/empty\nprintf '#!/bin/sh\\necho ran\\n' > $2/bin/tool\nchmod 755 $2/bin/tool\n\
         echo plain > $2/plain\nln -s bin/tool $2/tool\nln -s $2/bin $2/absolute\necho odd > $2/'back\\slash'\n",
    );
    folder.write(
        "pipeline.yaml",
        folder.read("pipeline.yaml")
            + "  use:\n    kind: command\n    inputs: { o: make.o }\n    shell: true\n    outputs: [said]\n    \
               run: \"{inputs.o}/tool > {outputs.said}; test -d {inputs.o}/empty; test ! -x {inputs.o}/plain || \
               test -w /; cat {inputs.o}/back* {inputs.o}/absolute/tool >> {outputs.said}\"\n",
    );
    assert_eq!(folder.executed(&[]), ["make", "use"]);
    let said = folder.read("out/use/said");
    assert_eq!(said, "ran\nodd\n#!/bin/sh\necho ran\n");
    let check = || {
        let out = folder.path("out/make/o");
        assert!(out.join("empty").is_dir());
        assert_eq!(fs::read_link(out.join("tool")).unwrap(), Path::new("bin/tool"));
        assert_eq!(fs::read_link(out.join("absolute")).unwrap(), Path::new("bin"));
        assert_eq!(fs::read_to_string(out.join("back\\slash")).unwrap(), "odd\n");
        let runs = |name: &str| fs::metadata(out.join(name)).unwrap().mode() & 0o111 != 0;
        assert!(runs("bin/tool") && !runs("plain"));
    };
    check();
    // From the cache they come back, too, and nobody takes them for edited.
    fs::remove_dir_all(folder.path("out")).unwrap();
    assert!(folder.executed(&[]).is_empty());
    check();
    assert!(folder.executed(&[]).is_empty());
    assert!(!folder.path("out/make/o.edited-1").exists());
    let shown = folder.pipe(&["show", "make.o"]).stdout;
    assert!(shown.contains("→ bin/tool") && shown.contains("empty/"), "{shown}");
    let ended = folder.pipe(&["cache", "verify"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn that_a_file_became_a_program_is_a_change() {
    let folder = making("echo made > $2\n");
    folder.run(&[]);
    assert!(folder.executed(&[]).is_empty());
    let runs = |mode| {
        fs::set_permissions(folder.path("data/x"), fs::Permissions::from_mode(mode)).unwrap();
    };
    runs(0o755);
    assert_eq!(folder.executed(&[]), ["make"]);
    runs(0o644);
    assert!(folder.executed(&[]).is_empty());
    fs::create_dir(folder.path("data/new")).unwrap();
    assert_eq!(folder.executed(&[]), ["make"]);
}

#[test]
fn an_empty_folder_is_an_output() {
    let folder = making("mkdir $2\n");
    assert_eq!(folder.executed(&[]), ["make"]);
    assert!(folder.path("out/make/o").is_dir());
    assert!(folder.executed(&[]).is_empty());
    fs::remove_dir(folder.path("out/make/o")).unwrap();
    assert!(folder.executed(&[]).is_empty());
    assert!(folder.path("out/make/o").is_dir());
}

#[test]
fn what_can_not_be_kept_is_refused_by_name() {
    for (script, told) in [
        (
            "mkdir $2; ln -s /etc/passwd $2/l",
            "`o/l` to `/etc/passwd`, which is outside of the output",
        ),
        (
            "mkdir $2; ln -s ../../../.. $2/up",
            "`o/up` to `../../../..`, which is outside of the output",
        ),
        ("mkdir $2; ln -s none $2/l", "`o/l` to `none`, where there is nothing"),
        ("ln -s none $2", "`o` to `none`, where there is nothing"),
        ("ln -s /etc/passwd $2", "`o` to `/etc/passwd`, which is outside of the output"),
        ("mkdir -p $2/d; mkfifo $2/d/pipe", "`o/d/pipe` a FIFO"),
        ("mkfifo $2", "`o` a FIFO"),
        ("mkdir $2; : > $2/\"$(printf 'caf\\351')\"", "`o/caf\\xe9`, whose name is not UTF-8"),
    ] {
        let folder = making(script);
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(1), "{script}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(told), "{script}: {}", ended.stderr);
        assert!(!ended.stderr.contains("cache"), "{script}: {}", ended.stderr);
    }
}

/// Runs the pipeline as somebody whom permissions bind: not as root.
fn run_as_anybody(folder: &Folder) {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        folder.run(&[]);
        return;
    }
    let binary = folder.path("program");
    fs::copy(env!("CARGO_BIN_EXE_pipe"), &binary).unwrap();
    let mut all = vec![folder.path("")];
    while let Some(path) = all.pop() {
        std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        if path.is_dir() {
            all.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    let nobody = NOBODY.to_string();
    let arguments = ["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "./program", "run"];
    let mut command = folder.program("setpriv", &arguments);
    let ended = folder.ended(command.env("HOME", folder.path("")).output().unwrap());
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn protected_folders_and_files_are_kept() {
    for script in [
        "mkdir -p $2/d/e; echo 1 > $2/d/e/f; chmod 555 $2/d/e $2/d $2",
        "mkdir -p $2/d/e; echo 1 > $2/d/e/f; chmod 0 $2/d/e/f $2/d/e $2/d $2",
    ] {
        let folder = making(script);
        run_as_anybody(&folder);
        assert_eq!(folder.read("out/make/o/d/e/f"), "1\n", "{script}");
    }
    for script in ["umask 0777; echo 1 > $2", "echo 1 > $2; chmod 0 $2"] {
        let folder = making(script);
        run_as_anybody(&folder);
        assert_eq!(folder.read("out/make/o"), "1\n", "{script}");
    }
}

#[test]
fn a_link_to_an_input_is_its_content() {
    for script in [
        "ln -s $1 $2",
        "mkdir $2; ln -s $1/x $2/x",
        "mkdir $2; ln -s /proc/self/cwd/../none/../x $2/y 2>/dev/null; rm $2/y; ln -s $1/x $2/x",
        "mkdir $2; ln $1/x $2/x",
        "cp -r $1 made; ln -s $PWD/made $2",
        "mkdir $2; cp $1/x made; ln -s $PWD/made $2/x",
    ] {
        let folder = making(script);
        assert_eq!(folder.executed(&[]), ["make"], "{script}");
        assert_eq!(folder.read("out/make/o/x"), "the input's content\n", "{script}");
        assert!(fs::symlink_metadata(folder.path("out/make/o/x")).unwrap().is_file(), "{script}");
        assert_eq!(folder.read("data/x"), "the input's content\n", "{script}");
    }
}

#[test]
fn a_link_to_another_stage_s_output_takes_no_room() {
    let folder = making("head -c 2000000 /dev/zero > $2\n");
    folder.write(
        "pipeline.yaml",
        folder.read("pipeline.yaml")
            + "  same:\n    kind: command\n    inputs: { o: make.o }\n    outputs: [all, part]\n    shell: true\n    \
               run: \"ln -s {inputs.o} {outputs.all} && mkdir {outputs.part} && ln -s {inputs.o} {outputs.part}/x && \
               ln {inputs.o} {outputs.part}/y\"\n",
    );
    assert_eq!(folder.executed(&[]), ["make", "same"]);
    for name in ["out/same/all", "out/same/part/x", "out/same/part/y"] {
        assert_eq!(fs::metadata(folder.path(name)).unwrap().len(), 2_000_000);
    }
    let large = folder.cached("blobs").into_iter();
    assert_eq!(large.filter(|blob| fs::metadata(blob).unwrap().len() == 2_000_000).count(), 1);
}
