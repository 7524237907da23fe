//! The program `pipe`.
fn main() {}
