//! The `out` folder, and `pipe out`.

use std::fs;

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
    assert_eq!(folder.pipe(&["out", "generate.spectra"]).code, Some(2));
    assert_eq!(folder.read("out/generate/spectra/notes.txt"), "mine");
}
