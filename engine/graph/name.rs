//! The names that a pipeline gives: to stages, inputs, outputs and variables.

/// The longest name, in bytes.
const LONGEST: usize = 64;

/// What a name must look like, for messages.
pub(crate) const RULE: &str = "a name has letters, digits, `_` and `-`, doesn't begin with `-`, and is at most 64 characters long";

/// Whether `text` may be a name: it stands in file names, so it is plain.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// What the name of a run must look like, for messages.
pub(crate) const RUN_RULE: &str = "a name has letters, digits, `_` and `-`, doesn't begin with `-`, is at most 64 \
     characters long, and isn't `last`";

/// Whether `text` may be the name of a run: it stands in file names, and is told from a file's path by having no dot.
pub(crate) fn is_run_name(text: &str) -> bool {
    is_name(text) && text != "last"
}

/// The longest name of an output, in bytes.
const LONGEST_OUTPUT: usize = 128;

/// What the name of a command's output must look like, for messages.
pub(crate) const OUTPUT_RULE: &str = "a name has letters, digits, `_`, `-` and single dots inside, and is at most 128 \
     characters long";

/// Whether `text` may be the name of a command's output: a name that may have an ending, such as `table.csv`. It can't leave
/// its folder.
pub(crate) fn is_output_name(text: &str) -> bool {
    text.len() <= LONGEST_OUTPUT
        && !text.starts_with('-')
        && text.split('.').all(|word| {
            !word.is_empty()
                && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::{is_name, is_output_name};

    #[test]
    fn outputs_may_have_endings() {
        for name in ["a", "table.csv", "a.tar.gz", "_-.x"] {
            assert!(is_output_name(name), "{name}");
        }
        for name in
            ["", ".", "..", ".a", "a.", "a..b", "a/b", "../a", "-a", "é.b", &"x".repeat(129)]
        {
            assert!(!is_output_name(name), "{name}");
        }
    }

    #[test]
    fn names_are_plain() {
        for name in ["a", "A-b_9", "2024", "_", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a.b", "a/b", "..", "é", "a b", "a\0", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
