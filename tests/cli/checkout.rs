//! `pipe checkout`.

use std::fs;

use crate::support::Folder;

const TWO: &str = "\
stages:
  number: { kind: command, config: { n: 3 }, run: \"sh -c 'test $1 -lt 9 && echo $1 > $2' - {config.n} {outputs.n}\", outputs: [n] }
  copy: { kind: command, inputs: { n: number }, run: \"cp {inputs.n} {outputs.o}\", outputs: [o] }
";

#[test]
fn an_earlier_run_comes_back_without_executing() {
    let folder = Folder::new(TWO);
    folder.run(&["--name", "three"]);
    folder.run(&["--set", "number.n=5"]);
    assert_eq!(folder.read("out/copy/o"), "5\n");
    let back = folder.pipe(&["checkout", "three"]);
    assert_eq!((back.code, back.stderr.as_str()), (Some(0), ""));
    assert_eq!(back.stdout, "out/number/n\nout/copy/o\n");
    assert_eq!(
        (folder.read("out/number/n"), folder.read("out/copy/o")),
        ("3\n".into(), "3\n".into())
    );
    // It is no run, and the next one puts the newest outputs back.
    assert_eq!(folder.pipe(&["log", "--json"]).json()["remembered"], 2);
    assert!(folder.executed(&["--set", "number.n=5"]).is_empty());
    assert_eq!(folder.read("out/copy/o"), "5\n");
    assert_eq!(folder.pipe(&["checkout", "three", "--stage", "copy"]).stdout, "out/copy/o\n");
    assert_eq!(
        (folder.read("out/number/n"), folder.read("out/copy/o")),
        ("5\n".into(), "3\n".into())
    );
}

#[test]
fn what_was_edited_is_kept_aside() {
    let folder = Folder::new(TWO);
    folder.run(&["--name", "three"]);
    folder.run(&["--set", "number.n=5"]);
    folder.write("out/copy/o", "mine");
    let back = folder.pipe(&["checkout", "three"]);
    assert_eq!(back.code, Some(0));
    assert!(
        back.stderr
            .contains("warning: `out/copy/o` had been edited; it is kept as `out/copy/o.edited-1`"),
        "{}",
        back.stderr
    );
    assert_eq!(
        (folder.read("out/copy/o"), folder.read("out/copy/o.edited-1")),
        ("3\n".into(), "mine".into())
    );
}

#[test]
fn what_is_gone_is_named_and_nothing_is_half_done() {
    let folder = Folder::new(TWO);
    folder.run(&["--name", "three"]);
    folder.run(&["--set", "number.n=5"]);
    // `number` and `copy` of a run are the same bytes: take another content for one of them.
    folder.write(
        "pipeline.yaml",
        TWO.replace(
            "cp {inputs.n} {outputs.o}",
            "sh -c 'wc -c < $1 > $2' - {inputs.n} {outputs.o}",
        ),
    );
    folder.run(&["--name", "counted"]);
    folder.run(&["--set", "number.n=-5"]);
    let blobs = folder.cached("blobs");
    let lost = blobs.iter().find(|blob| fs::read_to_string(blob).is_ok_and(|text| text == "2\n"));
    fs::remove_file(lost.unwrap()).unwrap();
    let before = (folder.read("out/number/n"), folder.read("out/copy/o"));
    let ended = folder.pipe(&["checkout", "counted"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stdout);
    assert!(ended.stderr.contains("`copy.o` (blob "), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing was changed"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("number.n"), "{}", ended.stderr);
    assert_eq!((folder.read("out/number/n"), folder.read("out/copy/o")), before);
    // What is there can be had.
    assert_eq!(folder.pipe(&["checkout", "counted", "--stage", "number"]).code, Some(0));
    assert_eq!(folder.read("out/number/n"), "3\n");
}

#[test]
fn a_run_that_failed_brings_back_what_it_made() {
    let folder = Folder::new(TWO);
    assert_eq!(folder.pipe(&["run", "--set", "number.n=9"]).code, Some(1));
    let nothing = folder.pipe(&["checkout", "last"]);
    assert_eq!(nothing.code, Some(0));
    assert!(
        nothing.stderr.contains("`number` has no outputs in that run: it failed"),
        "{}",
        nothing.stderr
    );
    assert!(nothing.stderr.contains("has nothing to bring back"), "{}", nothing.stderr);
    let stage = folder.pipe(&["checkout", "last", "--stage", "number"]);
    assert_eq!(stage.code, Some(2));
    for arguments in
        [&["checkout", "last", "--stage", "nubmer"][..], &["checkout", "none"], &["checkout"]]
    {
        assert_eq!(folder.pipe(arguments).code, Some(2), "{arguments:?}");
    }
}

#[test]
fn arrays_come_on_request_and_what_is_the_users_is_kept_aside() {
    let folder =
        Folder::new("stages:\n  generate:\n    config: { count: 12, channels: 16, seed: 1 }\n");
    folder.run(&["--name", "one"]);
    folder.run(&["--set", "generate.seed=2"]);
    let files = folder.pipe(&["checkout", "one"]);
    assert_eq!(files.code, Some(0), "{}", files.stderr);
    assert!(!folder.path("out/generate/spectra").exists());
    let arrays = folder.pipe(&["checkout", "one", "--arrays"]);
    assert!(arrays.stdout.contains("out/generate/spectra\n"), "{}", arrays.stdout);
    assert!(folder.path("out/generate/spectra/zarr.json").is_file());
    // Another run's array takes its place, and what was edited is kept aside.
    assert_eq!(folder.pipe(&["checkout", "last", "--arrays"]).code, Some(0));
    folder.write("out/generate/spectra/notes.txt", "mine");
    let edited = folder.pipe(&["checkout", "one", "--arrays"]);
    assert_eq!(edited.code, Some(0), "{}", edited.stderr);
    assert!(
        edited.stderr.contains("is kept as `out/generate/spectra.edited-1`"),
        "{}",
        edited.stderr
    );
    assert_eq!(folder.read("out/generate/spectra.edited-1/notes.txt"), "mine");
    assert!(!folder.path("out/generate/spectra/notes.txt").exists());
}

#[test]
fn a_run_in_a_shared_cache_can_not_lead_out_of_the_folder() {
    let folder = Folder::new(TWO);
    folder.run(&[]);
    let file = folder.cached("runs").pop().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let hostile = text.replace("\"name\":\"copy\"", "\"name\":\"../../up\"");
    assert_ne!(text, hostile);
    Folder::damage(&file, |path| fs::write(path, hostile).unwrap());
    let ended = folder.pipe(&["checkout", "last"]);
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    assert!(ended.stderr.contains("is no name of a stage's output"), "{}", ended.stderr);
    assert!(!folder.path("out/../../up").exists());
}
