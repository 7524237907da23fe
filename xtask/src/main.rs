//! What is done with the project rather than by it: `cargo xtask layers` shows its modules by layer, and fails if an arrow points
//! up or a circle closes.

#![forbid(unsafe_code)]

mod layers;
mod modules;
mod names;

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["layers"] => layers::show(root, false),
        ["layers", "--arrows"] => layers::show(root, true),
        _ => {
            eprintln!("usage: cargo xtask layers [--arrows]");
            ExitCode::from(2)
        }
    }
}
