//! Manifests: what is read has only paths that are safe, each once and in order, no link that leads out, and is written
//! and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pipe_engine::Tree;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tree) = Tree::from_json(bytes) else { return };
    let paths: Vec<&str> = tree.files().iter().map(|entry| entry.path.as_str()).collect();
    assert!(paths.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()), "{paths:?}");
    for folder in tree.folders() {
        assert!(is_safe(folder.as_str()) && folder.as_str() != ".", "{folder}");
    }
    for link in tree.links() {
        assert!(is_safe(link.path.as_str()) && link.path.as_str() != ".", "{link:?}");
        assert!(is_within(link.path.as_str(), &link.target), "{link:?}");
        let _ = tree.find(link.path.as_str());
    }
    for path in &paths {
        assert!(is_safe(path), "{path:?}");
        let within = format!("{path}/");
        assert!(!paths.iter().any(|other| other.starts_with(&within)), "{path:?} is a folder too");
        assert_eq!(tree.get(path).map(|entry| entry.path.as_str()), Some(*path));
    }
    assert_eq!(tree.is_file(), paths == ["."]);
    let _ = tree.size();
    let written = serde_json::to_vec(&tree).expect("a tree is JSON");
    let again = Tree::from_json(&written).expect("what was written can be read");
    assert_eq!(again, tree);
    assert_eq!(again.digest(), tree.digest());
    assert_eq!(serde_json::to_vec(&again).expect("a tree is JSON"), written);
    let fewer = tree.files().iter().skip(1).cloned().collect();
    let fewer = Tree::new(fewer).expect("a part of what can stand together can");
    assert!(fewer.files().len() == tree.files().len() || fewer.digest() != tree.digest());
    if let Ok(moved) = tree.under("a/b") {
        assert!(moved.paths().all(|path| is_safe(path.as_str())));
        Tree::of(moved).expect("what moves stands together as before");
    }
});

/// Whether the target of the link at `path` stays in the artifact, whatever links it goes by.
fn is_within(path: &str, target: &str) -> bool {
    use std::path::{Component, Path};
    let mut depth = Path::new(path).components().count() as i64 - 1;
    let mut named = false;
    target == "."
        || Path::new(target).components().all(|part| match part {
            Component::ParentDir => {
                depth -= 1;
                depth >= 0 && !named
            }
            Component::Normal(_) => {
                named = true;
                true
            }
            _ => false,
        })
}

/// Whether a file at this path stays in the folder that it is put under, said in other words than the engine's.
fn is_safe(path: &str) -> bool {
    use std::path::{Component, Path};
    let mut parts = Path::new(path).components();
    let ordinary = parts.all(|part| matches!(part, Component::Normal(_)));
    let plain = !path.is_empty() && !path.contains('\0') && path.len() <= 4096;
    path == "."
        || ordinary
            && plain
            && !path.ends_with('/')
            && !path.contains("//")
            && !path.contains("/./")
}
