//! Combinations of a matrix's values: what one of its stages stands for, and how that is written.

use std::fmt;

use serde_json::Value;

use super::{
    name::is_name,
    scalar::{self, Atom},
};

/// The longest name of a folder that is a label itself, in bytes.
const LONGEST_FOLDER: usize = 120;

/// The values that one of the stages of a matrix stands for: `learning_rate=0.001,filters=8`.
#[derive(Debug, Clone, PartialEq)]
pub struct Combination {
    /// The axes and their values, in order.
    pub values: Vec<(String, Value)>,
}

impl Combination {
    /// The combination as the name of a folder: the label itself, or where that has characters that mean something to
    /// file systems or shells, the label without them and a part of its hash.
    pub fn folder(&self) -> String {
        folder(&self.to_string())
    }

    /// Whether it has the same values on the same axes, in whichever order.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.values.len() == other.values.len()
            && self.values.iter().all(|pair| other.values.contains(pair))
    }
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (axis, value)) in self.values.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{axis}={}", label(value))?;
        }
        Ok(())
    }
}

/// The folder in which the outputs of the stage called `stage` stand: `train`, or `train/filters=8` for `train[filters=8]`.
pub(crate) fn stage_folder(stage: &str) -> String {
    match stage.split_once('[').and_then(|(name, rest)| Some((name, rest.strip_suffix(']')?))) {
        Some((name, label)) => format!("{name}/{}", folder(label)),
        None => stage.to_owned(),
    }
}

/// Whether `text` may be the name of a stage, with a combination or without. Its folder can't lead anywhere else then.
pub(crate) fn is_stage_name(text: &str) -> bool {
    match text.split_once('[') {
        Some((name, rest)) => {
            is_name(name) && rest.strip_suffix(']').is_some_and(|label| label.contains('='))
        }
        None => is_name(text),
    }
}

fn folder(label: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._=,+-".contains(c);
    if label.chars().all(plain) && label.len() <= LONGEST_FOLDER {
        return label.to_owned();
    }
    let mut name: String =
        label.chars().map(|c| if plain(c) { c } else { '_' }).take(LONGEST_FOLDER - 9).collect();
    name.push('~');
    name.push_str(&blake3::hash(label.as_bytes()).to_hex()[..8]);
    name
}

/// A value as it stands in a name: a plain text as it is, everything else as JSON.
pub(crate) fn label(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether `text`, written without quotes, is read as this very text.
fn is_plain(text: &str) -> bool {
    let odd = |c: char| c.is_control() || ",[]{}=\"'*&#:!|>%@`".contains(c);
    !text.is_empty()
        && text.trim() == text
        && !text.starts_with(['-', '?'])
        && !text.contains(odd)
        && matches!(scalar::plain(text), Atom::Text(_))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn folders_are_safe_and_differ_where_labels_do() {
        let folder = |value: Value| Combination { values: vec![("x".to_owned(), value)] }.folder();
        assert_eq!(folder(json!(0.001)), "x=0.001");
        assert!(folder(json!("a/../b")).starts_with("x=a_.._b~"));
        assert_ne!(folder(json!("a/b")), folder(json!("a\\b")));
        assert!(folder(json!("é".repeat(300))).len() < 255);
    }

    #[test]
    fn a_stage_has_a_folder_of_its_own() {
        assert_eq!(stage_folder("train[x=8]"), "train/x=8");
        assert_eq!(stage_folder("train"), "train");
        for name in ["train", "train[x=8]", "train[x=a/../b]"] {
            assert!(is_stage_name(name), "{name}");
        }
        for name in ["", "../train", "..", "train[..]", "train[x=8", "a/b[x=8]"] {
            assert!(!is_stage_name(name), "{name}");
        }
    }
}
