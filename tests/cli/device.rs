//! Where stages compute: `device` in the pipeline, `--device` before it.

use insta::assert_snapshot;

use crate::support::Folder;

const PIPELINE: &str = "\
device: cuda
stages:
  a: { kind: command, run: \"touch {outputs.o}\", outputs: [o] }
";

#[test]
fn cuda_is_refused_at_its_place_where_it_was_not_built_in() {
    let folder = Folder::new(PIPELINE);
    let ended = folder.pipe(&["run", "--color", "never"]);
    assert_eq!(ended.code, Some(2));
    assert!(!folder.path("out").exists());
    assert_snapshot!(ended.stderr, @r"
error: this program was built without CUDA
 --> pipeline.yaml:1:9
  |
1 | device: cuda
  |         ^^^^
  |
  = help: choose `auto` or `cpu`, or use a program that was built with it

error: 1 error in pipeline.yaml; nothing was run
");
    let ended = folder.pipe(&["run", "--color", "never", "--set", "device=cuda"]);
    assert!(ended.stderr.contains(" --> --set:1:8"), "{}", ended.stderr);
    let ended = folder.pipe(&["run", "--color", "never", "--device", "cuda"]);
    assert_eq!(ended.code, Some(2));
    assert_snapshot!(ended.stderr, @r"
error: `--device cuda`: this program was built without CUDA
help: choose `auto` or `cpu`, or use a program that was built with it. Nothing was run
");
}

#[test]
fn the_device_is_no_part_of_what_is_computed() {
    let folder = Folder::new(PIPELINE);
    assert_eq!(folder.executed(&["--device", "cpu"]), ["a"]);
    assert!(folder.executed(&["--device", "auto"]).is_empty());
    assert!(folder.executed(&["--set", "device=auto"]).is_empty());
    // Nothing has to be computed, so nothing is missing.
    assert!(folder.executed(&[]).is_empty());
}

#[test]
fn a_device_that_does_not_exist_is_refused() {
    let folder = Folder::new(&PIPELINE.replace("cuda", "cdua"));
    let ended = folder.pipe(&["run", "--color", "never"]);
    assert_eq!(ended.code, Some(2));
    assert_snapshot!(ended.stderr, @r"
error: `device` must be one of `auto`, `cpu`, `cuda`, but is `cdua`
 --> pipeline.yaml:1:9
  |
1 | device: cdua
  |         ^^^^
  |
  = help: did you mean `cuda`?

error: 1 error in pipeline.yaml; nothing was run
");
    let ended = folder.pipe(&["run", "--device", "gpu"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("there is no device `gpu`"), "{}", ended.stderr);
}
