//! `docs/cache-format.md` says what is true: its examples are computed from its own bytes.

use std::{fs, path::Path};

use super::record::Recipe;
use crate::base::{digest::Digest, tree::Tree};

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cache-format.md");
    fs::read_to_string(path).unwrap()
}

/// The fenced block with the mark `name`.
fn block(name: &str) -> String {
    let document = document();
    let start = document.find(&format!("```{name}\n")).unwrap() + name.len() + 4;
    let end = start + document[start..].find("```").unwrap();
    document[start..end].to_owned()
}

fn bytes(name: &str) -> Vec<u8> {
    let text = block(&format!("bytes {name}"));
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let bytes = lines.flat_map(str::split_whitespace);
    bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn digest(name: &str) -> Digest {
    block(&format!("digest {name}")).trim().parse().unwrap()
}

fn context(of: &str) -> String {
    let document = document();
    let context = format!("pipe 2026-11 {of} v1");
    assert!(document.contains(&format!("`{context}`")), "{context}");
    context
}

#[test]
fn the_tree_of_the_document_has_the_digest_of_its_bytes() {
    let hash = blake3::derive_key(&context("tree"), &bytes("tree"));
    assert_eq!(Digest::from_bytes(hash).hex(), digest("tree").hex());
    let tree = Tree::from_json(block("json tree").as_bytes()).unwrap();
    assert_eq!(tree.digest(), digest("tree"));
}

#[test]
fn the_tree_of_the_second_format_has_the_digest_of_its_bytes() {
    let context = "pipe 2026-11 tree v2";
    assert!(document().contains(&format!("`{context}`")));
    let hash = blake3::derive_key(context, &bytes("rich"));
    assert_eq!(Digest::from_bytes(hash).hex(), digest("rich").hex());
    let tree = Tree::from_json(block("json rich").as_bytes()).unwrap();
    assert_eq!(tree.digest(), digest("rich"));
}

#[test]
fn the_recipe_of_the_document_has_the_fingerprint_of_its_bytes() {
    let hash = blake3::derive_key(&context("fingerprint"), &bytes("recipe"));
    assert_eq!(Digest::from_bytes(hash).hex(), digest("recipe").hex());
    let recipe: Recipe = serde_json::from_str(&block("json recipe")).unwrap();
    assert_eq!(recipe.fingerprint().as_bytes(), digest("recipe").as_bytes());
}

#[test]
fn the_document_names_every_folder_of_a_cache() {
    let listing = block("text");
    for folder in super::format::FOLDERS {
        assert!(listing.contains(&format!("{folder}/")), "{folder}");
    }
    context("workspace");
    context("memory");
    context("verified");
    context("memo");
}
