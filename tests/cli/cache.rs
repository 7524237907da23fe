//! A cache that was damaged, or can't be used.

use std::fs;

use crate::support::Folder;

const TWO: &str = "\
stages:
  a: { kind: command, run: \"sh -c 'echo some bytes > $1' - {outputs.o}\", outputs: [o] }
  b: { kind: command, inputs: { i: a }, run: \"cp {inputs.i} {outputs.o}\", outputs: [o] }
";

#[test]
fn damage_is_found_told_and_repaired() {
    let truncate = |path: &std::path::Path| fs::write(path, "so").unwrap();
    let remove = |path: &std::path::Path| fs::remove_file(path).unwrap();
    for kind in ["blobs", "trees", "records"] {
        for (how, harm) in
            [("truncated", &truncate as &dyn Fn(&std::path::Path)), ("removed", &remove)]
        {
            let folder = Folder::new(TWO);
            folder.run(&[]);
            fs::remove_dir_all(folder.path("out")).unwrap();
            for file in folder.cached(kind) {
                Folder::damage(&file, harm);
            }
            let ended = folder.pipe(&["run"]);
            assert_eq!(ended.code, Some(0), "{kind} {how}: {}{}", ended.stdout, ended.stderr);
            assert_eq!(folder.read("out/b/o"), "some bytes\n", "{kind} {how}");
            if (kind, how) != ("records", "removed") {
                assert!(ended.stderr.contains("warning: "), "{kind} {how}: {}", ended.stderr);
            }
            assert!(folder.executed(&[]).is_empty(), "{kind} {how}");
        }
    }
}

#[test]
fn a_folder_that_is_no_cache_is_left_alone() {
    let folder = Folder::new(TWO);
    folder.write("cache/thesis.tex", "mine");
    let ended = folder.pipe(&["run"]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("is not a cache"), "{}", ended.stderr);
    folder.write("newer/format", "999\n");
    assert_eq!(folder.pipe(&["run", "--set", "cache=newer"]).code, Some(3));
    folder.write("file", "");
    assert_eq!(folder.pipe(&["run", "--set", "cache=file"]).code, Some(3));
}
