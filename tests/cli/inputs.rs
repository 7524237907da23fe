//! The user's files and folders as inputs: what can't be read is told by its name, and nothing waits for it.

use std::{fs, os::unix::fs::symlink};

use crate::support::Folder;

/// A pipeline that counts the files of the input `written`.
fn counting(written: &str) -> Folder {
    Folder::new(&format!(
        "stages:\n  count:\n    kind: command\n    inputs: {{ i: {{ file: {written} }} }}\n    shell: true\n    \
         run: \"find {{inputs.i}} -type f | wc -l > {{outputs.n}}\"\n    outputs: [n]\n"
    ))
}

fn refused(folder: &Folder, told: &str) {
    let ended = folder.pipe(&["run"]);
    assert_ne!(ended.code, Some(0), "{}", ended.stdout);
    assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
}

#[test]
fn special_files_are_refused_by_name_and_never_waited_for() {
    let folder = counting("data");
    folder.write("data/a", "a");
    let fifo = |name: &str| {
        assert!(
            std::process::Command::new("mkfifo").arg(folder.path(name)).status().unwrap().success()
        );
    };
    fifo("data/pipe");
    refused(&folder, "data/pipe` is a FIFO");
    fs::remove_file(folder.path("data/pipe")).unwrap();
    symlink("/dev/zero", folder.path("data/zeros")).unwrap();
    refused(&folder, "data/zeros` is a device");
    fs::remove_file(folder.path("data/zeros")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(folder.path("data/socket")).unwrap();
    refused(&folder, "data/socket` is a socket");
    drop(socket);
    fs::remove_dir_all(folder.path("data")).unwrap();
    fifo("data");
    refused(&folder, "data` is a FIFO");
}

#[cfg(target_os = "linux")]
#[test]
fn files_that_the_system_makes_up_are_refused() {
    let folder = counting("/proc/self/status");
    refused(
        &folder,
        "`/proc/self/status` says that it has 0 bytes, and has not: copy what it holds",
    );
}

#[test]
fn links_that_lead_nowhere_or_in_circles_are_told_as_that() {
    let folder = counting("data");
    folder.write("data/a", "a");
    symlink("b/c", folder.path("data/dangling")).unwrap();
    refused(&folder, "data/dangling` leads to `b/c`, where there is nothing");
    fs::remove_file(folder.path("data/dangling")).unwrap();
    symlink(".", folder.path("data/circle")).unwrap();
    refused(&folder, "data/circle` leads back to `ROOT/data`, which it is in");
}

#[test]
fn a_bomb_of_links_is_not_unfolded() {
    let folder = counting("data");
    for level in 0..30 {
        let here = folder.path(&format!("data/{level}"));
        fs::create_dir_all(&here).unwrap();
        for name in ["a", "b"] {
            symlink(format!("../{}", level + 1), here.join(name)).unwrap();
        }
    }
    folder.write("data/30/x", "x");
    refused(&folder, "links to folders");
}

#[test]
fn names_that_are_no_text_are_told_as_they_are() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = counting("data");
    folder.write("data/back\\slash", "a");
    folder.run(&[]);
    assert_eq!(folder.read("out/count/n").trim(), "1");
    fs::write(folder.path("data").join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "").unwrap();
    refused(&folder, "data/caf\\xe9` has a name that is not UTF-8");
}

#[test]
fn an_empty_folder_is_an_input() {
    let folder = counting("data");
    fs::create_dir(folder.path("data")).unwrap();
    folder.run(&[]);
    assert_eq!(folder.read("out/count/n").trim(), "0");
    fs::create_dir(folder.path("data/more")).unwrap();
    assert_eq!(folder.executed(&[]), ["count"]);
}

#[test]
fn a_workspace_whose_name_is_no_text_is_refused_with_a_word() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = Folder::empty();
    let odd = folder.path("").join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&odd).unwrap();
    fs::write(
        odd.join("pipeline.yaml"),
        "stages:\n  s:\n    kind: command\n    run: touch {outputs.o}\n    outputs: [o]\n",
    )
    .unwrap();
    for arguments in [&["run"][..], &["plan"], &["status"], &["log"], &["cache", "gc"]] {
        let mut command = folder.command(arguments);
        let ended = folder.ended(command.current_dir(&odd).output().unwrap());
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("caf\\xe9/pipeline.yaml` is not UTF-8"), "{}", ended.stderr);
    }
    let left: Vec<_> = fs::read_dir(&odd).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn hashing_ends_when_the_run_is_stopped() {
    let folder = Folder::empty();
    let marker = folder.path("marker");
    folder.write(
        "pipeline.yaml",
        format!(
            "stages:\n  big:\n    kind: command\n    inputs: {{ i: {{ file: big }} }}\n    run: cp {{inputs.i}} {{outputs.o}}\n    \
             outputs: [o]\n  mark: {{ kind: command, run: \"sh -c 'touch $0 $1' {} {{outputs.o}}\", outputs: [o] }}\n",
            marker.display()
        ),
    );
    // It would take minutes.
    fs::File::create(folder.path("big")).unwrap().set_len(1 << 41).unwrap();
    let child =
        folder.command(&["run", "-j", "2"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while !marker.exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = folder.ended(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(!ended.stderr.contains("failed"), "{}", ended.stderr);
}
