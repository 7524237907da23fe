//! The `out` folder, and `pipe out`.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::support::Folder;

const TWO: &str = "\
stages:
  made: { kind: command, run: \"sh -c 'echo one > $1; mkdir $2; echo a > $2/a' - {outputs.f.txt} {outputs.d}\", outputs: [f.txt, d] }
  read: { kind: command, inputs: { i: made.f.txt }, run: \"cp {inputs.i} {outputs.o}\", outputs: [o] }
";

#[test]
fn what_is_done_to_out_enters_no_result_and_harms_no_cache() {
    let folder = Folder::new(TWO);
    folder.run(&[]);
    folder.write("out/made/f.txt", "edited");
    fs::remove_file(folder.path("out/read/o")).unwrap();
    let again = folder.pipe(&["run"]);
    assert_eq!(again.code, Some(0));
    assert!(again.stdout.contains("2 reused"), "{}", again.stdout);
    assert!(
        again.stderr.contains("warning: `out/made/f.txt` had been edited; it is kept as"),
        "{}",
        again.stderr
    );
    assert_eq!(folder.read("out/made/f.txt"), "one\n");
    assert_eq!(folder.read("out/made/f.txt.edited-1"), "edited");
    assert_eq!(folder.read("out/read/o"), "one\n");
    fs::remove_dir_all(folder.path("out")).unwrap();
    assert!(folder.executed(&[]).is_empty());
    assert_eq!(folder.read("out/read/o"), "one\n");
}

#[test]
fn out_puts_an_output_where_one_wants_it() {
    let folder = Folder::new(TWO);
    let early = folder.pipe(&["out", "made"]);
    assert_eq!(early.code, Some(2));
    assert!(early.stderr.contains("pipe run made"), "{}", early.stderr);
    folder.run(&[]);
    fs::remove_dir_all(folder.path("out")).unwrap();
    assert_eq!(folder.pipe(&["out", "made"]).stdout, "out/made/f.txt\nout/made/d\n");
    assert_eq!(folder.read("out/made/d/a"), "a\n");
    assert_eq!(folder.pipe(&["out", "made.f.txt", "there/x"]).stdout, "there/x\n");
    assert_eq!(folder.read("there/x"), "one\n");
    // It is there already.
    assert_eq!(folder.pipe(&["out", "made.f.txt", "there/x"]).code, Some(0));
    folder.write("there/x", "mine");
    let refused = folder.pipe(&["out", "made.f.txt", "there/x"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert_eq!(folder.read("there/x"), "mine");
    let unknown = folder.pipe(&["out", "made.g"]);
    assert_eq!(unknown.code, Some(2));
}

#[test]
fn arrays_come_on_request_and_follow_the_pipeline() {
    let yaml = "stages:\n  generate:\n    config: { count: 12, channels: 16, seed: 1 }\n";
    let folder = Folder::new(yaml);
    folder.run(&[]);
    assert!(!folder.path("out/generate/spectra").exists());
    assert_eq!(folder.pipe(&["out", "generate.spectra"]).stdout, "out/generate/spectra\n");
    assert!(folder.path("out/generate/spectra/zarr.json").is_file());
    folder.write("pipeline.yaml", yaml.replace("seed: 1", "seed: 2"));
    folder.run(&[]);
    let second = folder.pipe(&["out", "generate.spectra"]);
    assert_eq!(second.code, Some(0), "what this command put there gives way: {}", second.stderr);
    folder.write("out/generate/spectra/notes.txt", "mine");
    folder.write("pipeline.yaml", yaml);
    let edited = folder.pipe(&["out", "generate.spectra"]);
    assert_eq!((edited.code, edited.stdout.as_str()), (Some(0), "out/generate/spectra\n"));
    let told = "warning: `out/generate/spectra` had been edited; it is kept as `out/generate/spectra.edited-1`";
    assert!(edited.stderr.contains(told), "{}", edited.stderr);
    assert_eq!(folder.read("out/generate/spectra.edited-1/notes.txt"), "mine");
    assert!(!folder.path("out/generate/spectra/notes.txt").exists());
}

/// `TWO` with its second stage renamed, and without the folder that the first one makes.
fn other() -> String {
    TWO.replace("; mkdir $2; echo a > $2/a' - {outputs.f.txt} {outputs.d}", "' - {outputs.f.txt}")
        .replace("[f.txt, d]", "[f.txt]")
        .replace("read:", "copy:")
}

#[test]
fn what_no_stage_makes_any_more_leaves_out() {
    let folder = Folder::new(TWO);
    folder.run(&[]);
    folder.write("out/notes.txt", "mine");
    folder.write("pipeline.yaml", other());
    let after = folder.pipe(&["run"]);
    assert_eq!((after.code, after.stderr.as_str()), (Some(0), ""), "{}", after.stdout);
    assert!(!folder.path("out/read").exists(), "the stage was renamed");
    assert!(!folder.path("out/made/d").exists(), "the output was dropped");
    assert_eq!(folder.read("out/made/f.txt"), "one\n");
    assert_eq!(folder.read("out/copy/o"), "one\n");
    assert_eq!(folder.read("out/notes.txt"), "mine");
    // And back again, from the cache.
    folder.write("pipeline.yaml", TWO);
    assert!(folder.executed(&[]).is_empty());
    assert_eq!(folder.read("out/made/d/a"), "a\n");
    assert!(!folder.path("out/copy").exists());
}

#[test]
fn what_no_stage_makes_any_more_stays_if_it_was_edited_and_that_is_told_once() {
    let folder = Folder::new(TWO);
    folder.run(&[]);
    folder.write("out/read/o", "edited");
    folder.write("out/made/d/mine", "added");
    folder.write("pipeline.yaml", other());
    let after = folder.pipe(&["run"]);
    assert_eq!(after.code, Some(0), "{}", after.stderr);
    for path in ["out/read/o", "out/made/d"] {
        let told = format!("warning: no stage makes `{path}` any more; it was left");
        assert!(after.stderr.contains(&told), "{}", after.stderr);
    }
    assert_eq!(folder.pipe(&["run"]).stderr, "");
    assert_eq!(folder.read("out/read/o"), "edited");
    assert_eq!(
        (folder.read("out/made/d/mine"), folder.read("out/made/d/a")),
        ("added".into(), "a\n".into())
    );
}

#[test]
fn a_stage_that_fails_or_is_not_asked_for_keeps_what_it_made_before() {
    let folder = Folder::new(TWO);
    folder.run(&[]);
    folder.write("pipeline.yaml", TWO.replace("cp {inputs.i}", "false {inputs.i}"));
    assert_eq!(folder.pipe(&["run"]).code, Some(1));
    assert_eq!(folder.read("out/read/o"), "one\n");
    folder.write("pipeline.yaml", other().replace("cp {inputs.i}", "false {inputs.i}"));
    assert_eq!(folder.pipe(&["run"]).code, Some(1));
    assert_eq!(folder.read("out/read/o"), "one\n", "until there is something in its place");
    folder.write("pipeline.yaml", TWO);
    folder.run(&["made"]);
    assert_eq!(folder.read("out/read/o"), "one\n");
    assert_eq!(folder.pipe(&["out", "made.f.txt"]).code, Some(0));
    assert_eq!(folder.read("out/read/o"), "one\n");
}

#[test]
fn pipelines_that_share_a_folder_leave_each_others_outputs() {
    let folder = Folder::new(TWO);
    folder.write(
        "other.yaml",
        "stages: { third: { kind: command, run: \"sh -c 'echo 3 > $1' - {outputs.o}\", outputs: [o] } }",
    );
    folder.run(&[]);
    folder.run(&["-f", "other.yaml"]);
    folder.run(&[]);
    folder.run(&["-f", "other.yaml"]);
    assert_eq!(
        (folder.read("out/read/o"), folder.read("out/third/o")),
        ("one\n".into(), "3\n".into())
    );
    folder.write("pipeline.yaml", other());
    folder.run(&[]);
    assert!(!folder.path("out/read").exists());
    assert_eq!(folder.read("out/third/o"), "3\n");
}

/// What a folder from elsewhere can bring: links and special files in the place of what `out` keeps for itself.
#[test]
fn what_stands_in_the_place_of_outs_own_files_is_never_followed_written_to_or_removed() {
    let folder = Folder::new(TWO);
    folder.write("home/keys", "precious");
    folder.write("home/docs/thesis", "precious");
    folder.write("out/.new-mine/notes", "mine");
    let owns = [
        ".placed.json",
        ".placed.json.new",
        ".requested.json",
        ".requested.json.new",
        ".new-x",
        ".new-0123456789abcdef0123456789abcdef",
    ];
    for (number, name) in owns.iter().enumerate() {
        let victim = if name.starts_with(".new-") { "docs" } else { "keys" };
        symlink(folder.path("home").join(victim), folder.path("out").join(name)).unwrap();
        let after = folder.pipe(&["run"]);
        assert_eq!(after.code, Some(0), "{number} {name}: {}", after.stderr);
        assert_eq!(folder.read("out/read/o"), "one\n");
    }
    assert_eq!(folder.read("home/keys"), "precious");
    assert_eq!(folder.read("home/docs/thesis"), "precious");
    assert_eq!(folder.read("out/.new-mine/notes"), "mine");
    assert_eq!(fs::read_dir(folder.path("home/docs")).unwrap().count(), 1);
    assert_eq!(folder.pipe(&["run"]).stderr, "");
}

#[test]
fn a_lock_that_is_no_plain_file_is_refused_with_a_word() {
    let folder = Folder::new(TWO);
    folder.write("keys", "precious");
    let lock = folder.path("out/.lock");
    fs::create_dir(folder.path("out")).unwrap();
    let is_refused = |what: &str| {
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(3), "{what}: {}", ended.stderr);
        assert!(ended.stderr.contains("`ROOT/out/.lock` is no plain file"), "{}", ended.stderr);
        assert!(ended.stderr.contains("help: move it away"), "{}", ended.stderr);
    };
    symlink(folder.path("keys"), &lock).unwrap();
    is_refused("a link");
    assert_eq!(folder.read("keys"), "precious");
    fs::remove_file(&lock).unwrap();
    fifo(&lock);
    is_refused("a pipe");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    is_refused("a folder");
    fs::remove_dir(&lock).unwrap();
    assert_eq!(folder.pipe(&["run"]).code, Some(0));
}

#[test]
fn a_state_that_is_none_is_set_aside() {
    let folder = Folder::new(TWO);
    fs::create_dir(folder.path("out")).unwrap();
    fifo(&folder.path("out/.placed.json"));
    let first = folder.pipe(&["run"]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(first.stderr.contains("kept as `out/.placed.json.edited-1`"), "{}", first.stderr);
    folder.write("out/.placed.json", "my own notes");
    folder.write("out/read/o", "edited");
    let second = folder.pipe(&["run"]);
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    assert_eq!(folder.read("out/.placed.json.edited-2"), "my own notes");
    assert_eq!(folder.read("out/read/o.edited-1"), "edited");
    assert_eq!(folder.pipe(&["run"]).stderr, "");
}

#[test]
fn a_state_from_elsewhere_makes_no_file_ours() {
    let folder = Folder::new(TWO);
    folder.run(&[]);
    folder.write("out/gone/x", "mine");
    folder.write("thesis/x", "mine");
    let state = folder.read("out/.placed.json");
    let mut state: serde_json::Value = serde_json::from_str(&state).unwrap();
    let mut forged = state["outputs"]["read/o"].clone();
    forged["files"][0][1] = 4.into();
    for key in ["gone/x", "../thesis/x", "a/../../thesis/x", "/etc/hostname"] {
        state["outputs"][key] = forged.clone();
    }
    folder.write("out/.placed.json", state.to_string());
    folder.write("pipeline.yaml", other());
    assert_eq!(folder.pipe(&["run"]).code, Some(0));
    assert_eq!(
        (folder.read("out/gone/x"), folder.read("thesis/x")),
        ("mine".into(), "mine".into())
    );
    assert!(!folder.path("out/read").exists(), "what is ours goes");
}

#[test]
fn a_link_to_elsewhere_costs_nobody_a_file() {
    let precious = |folder: &Folder| {
        folder.write("home/o", "precious");
        folder.write("home/read/o", "precious");
    };
    for (link, target) in [("out/read", "home"), ("out", "home")] {
        let folder = Folder::new(TWO);
        precious(&folder);
        if link != "out" {
            fs::create_dir(folder.path("out")).unwrap();
        }
        symlink(folder.path(target), folder.path(link)).unwrap();
        let ended = folder.pipe(&["run"]);
        assert_eq!(ended.code, Some(3), "{link}: {}", ended.stderr);
        let told = "/o` leads through a link to something that pipe didn't put there";
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        assert_eq!(
            (folder.read("home/o"), folder.read("home/read/o")),
            ("precious".into(), "precious".into())
        );
        // What stands there isn't moved, and without it the link is as good as any.
        fs::remove_file(folder.path("home/o")).unwrap();
        fs::remove_file(folder.path("home/read/o")).unwrap();
        assert_eq!(folder.pipe(&["run"]).code, Some(0));
        assert_eq!(folder.read("out/read/o"), "one\n");
        folder.write("out/read/o", "edited");
        assert_eq!(folder.pipe(&["run"]).code, Some(0));
        assert_eq!(folder.read("out/read/o.edited-1"), "edited");
        // The folder behind the link isn't ours, only what was placed in it.
        folder.write("pipeline.yaml", other());
        fs::remove_file(folder.path("out/read/o.edited-1")).unwrap();
        folder.write("home/letter", "precious");
        assert_eq!(folder.pipe(&["run"]).code, Some(0));
        assert!(!folder.path("out/read/o").exists());
        assert_eq!(folder.read("home/letter"), "precious");
        assert!(folder.path(target).is_dir());
    }
}

#[test]
fn links_and_files_in_the_way_are_told_or_set_aside() {
    let folder = Folder::new(TWO);
    fs::create_dir(folder.path("out")).unwrap();
    symlink("nowhere", folder.path("out/read")).unwrap();
    let dangling = folder.pipe(&["run"]);
    assert_eq!(dangling.code, Some(3), "{}", dangling.stderr);
    let told = "`ROOT/out/read` is a link, and there is no folder where it leads";
    assert!(dangling.stderr.contains(told), "{}", dangling.stderr);
    fs::remove_file(folder.path("out/read")).unwrap();
    folder.write("out/read", "mine");
    assert_eq!(folder.pipe(&["run"]).code, Some(0));
    assert_eq!(
        (folder.read("out/read/o"), folder.read("out/read.edited-1")),
        ("one\n".into(), "mine".into())
    );
    fs::remove_dir_all(folder.path("out")).unwrap();
    folder.write("out", "mine");
    let file = folder.pipe(&["run"]);
    assert_eq!(file.code, Some(3), "{}", file.stderr);
    assert!(file.stderr.contains("`ROOT/out` is no folder"), "{}", file.stderr);
    assert_eq!(folder.read("out"), "mine");
    fs::remove_file(folder.path("out")).unwrap();
    symlink("nowhere", folder.path("out")).unwrap();
    let dangling = folder.pipe(&["run"]);
    assert!(dangling.stderr.contains("`ROOT/out` is a link, and"), "{}", dangling.stderr);
}

/// The version before kept a map of what it had placed, and another of the arrays that were asked for.
#[test]
fn what_the_version_before_placed_is_known_again() {
    let yaml = format!("{TWO}  generate: {{ config: {{ count: 12, channels: 16, seed: 1 }} }}\n");
    let folder = Folder::new(&yaml);
    folder.run(&[]);
    folder.pipe(&["out", "generate.spectra"]);
    let state: serde_json::Value = serde_json::from_str(&folder.read("out/.placed.json")).unwrap();
    let mut placed = state["outputs"].as_object().unwrap().clone();
    let array = placed.remove("generate/spectra").unwrap();
    placed.values_mut().for_each(|placed| _ = placed.as_object_mut().unwrap().remove("owner"));
    folder.write("out/.placed.json", serde_json::to_string(&placed).unwrap());
    let requested = serde_json::json!({ "generate/spectra": array["digest"] });
    folder.write("out/.requested.json", requested.to_string());
    folder
        .write("pipeline.yaml", yaml.replace("echo one", "echo two").replace("seed: 1", "seed: 2"));
    assert_eq!(folder.pipe(&["run"]).stderr, "", "nothing of it had been edited");
    assert_eq!(folder.read("out/read/o"), "two\n");
    assert!(!folder.path("out/.requested.json").exists());
    let again = folder.pipe(&["out", "generate.spectra"]);
    assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""));
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o644.into(), 0)
        .unwrap();
}
