//! Manifests: what is read has only paths that are safe, each once and in order, and is written and read again as the
//! same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pipe_engine::Tree;

fuzz_target!(|bytes: &[u8]| {
    let Ok(tree) = Tree::from_json(bytes) else { return };
    let paths: Vec<&str> = tree.files().iter().map(|entry| entry.path.as_str()).collect();
    assert!(paths.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()), "{paths:?}");
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
        assert!(moved.iter().all(|entry| is_safe(entry.path.as_str())));
    }
});

/// Whether a file at this path stays in the folder that it is put under, said in other words than the engine's.
fn is_safe(path: &str) -> bool {
    use std::path::{Component, Path};
    let mut parts = Path::new(path).components();
    let ordinary = parts.all(|part| matches!(part, Component::Normal(_)));
    let plain = !path.is_empty() && !path.contains(['\0', '\\']) && path.len() <= 4096;
    path == "."
        || ordinary
            && plain
            && !path.ends_with('/')
            && !path.contains("//")
            && !path.contains("/./")
}
