//! A JSON document as an aligned outline.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The widest list that stays on one line, in characters.
const WIDEST: usize = 72;

/// A line for each value; keys of one mapping are aligned.
pub(crate) fn show(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(object) => mapping(object, 0, &mut text),
        Value::Array(items) => list(items, 0, &mut text),
        scalar => text.push_str(&inline(scalar)),
    }
    text.trim_end().to_owned()
}

fn mapping(object: &Map<String, Value>, indent: usize, text: &mut String) {
    let flat = |value: &Value| one_line(value).is_some();
    let width = object
        .iter()
        .filter(|(_, value)| flat(value))
        .map(|(key, _)| key.chars().count())
        .max()
        .unwrap_or(0);
    for (key, value) in object {
        text.push_str(&" ".repeat(indent));
        match (one_line(value), value) {
            (Some(line), _) => {
                let _ = writeln!(text, "{key:width$}  {line}");
            }
            (None, Value::Object(object)) => {
                let _ = writeln!(text, "{key}");
                mapping(object, indent + 2, text);
            }
            (None, Value::Array(items)) => {
                let _ = writeln!(text, "{key}");
                list(items, indent + 2, text);
            }
            (None, other) => {
                let _ = writeln!(text, "{key}  {}", inline(other));
            }
        }
    }
}

fn list(items: &[Value], indent: usize, text: &mut String) {
    for item in items {
        match (one_line(item), item) {
            (None, Value::Object(object)) => {
                let start = text.len();
                mapping(object, indent + 2, text);
                // The first key stands beside the dash.
                if text.len() > start + indent {
                    text.replace_range(start + indent..=start + indent, "-");
                }
            }
            (None, Value::Array(items)) => {
                let _ = writeln!(text, "{}-", " ".repeat(indent));
                list(items, indent + 2, text);
            }
            (Some(line), _) => {
                let _ = writeln!(text, "{}- {line}", " ".repeat(indent));
            }
            (None, other) => {
                let _ = writeln!(text, "{}- {}", " ".repeat(indent), inline(other));
            }
        }
    }
}

/// The value in one line, if it is a scalar, or a short list of scalars, or empty.
fn one_line(value: &Value) -> Option<String> {
    match value {
        Value::Object(object) => object.is_empty().then(|| "{}".to_owned()),
        Value::Array(items) => {
            let scalars = items.iter().all(|item| !item.is_object() && !item.is_array());
            let line = inline(value);
            (scalars && line.chars().count() <= WIDEST).then_some(line)
        }
        scalar => Some(inline(scalar)),
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.replace('\n', " "),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::Number(number) => match number.as_f64() {
            Some(real) if number.is_f64() => self::number(real),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A real with about six digits, which is what one reads.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    if !(1e-4..1e9).contains(&size) {
        return format!("{value:.5e}");
    }
    let whole = size.log10().floor() as i32;
    let decimals = usize::try_from(5 - whole).unwrap_or(0).min(9);
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{number, show};

    #[test]
    fn keys_are_aligned_and_lists_stay_short() {
        let value = json!({
            "accuracy": 0.961_234_567,
            "count": 3,
            "matrix": [[1, 2], [3, 4]],
            "r2": { "amplitude": 1e-7, "mean": 1.0 },
            "rows": [{ "a": 1, "b": "x" }, { "a": 2, "b": null }],
        });
        let expected = "\
accuracy  0.961235
count     3
matrix
  - [1, 2]
  - [3, 4]
r2
  amplitude  1.00000e-7
  mean       1
rows
  - a  1
    b  x
  - a  2
    b  –";
        assert_eq!(show(&value), expected);
    }

    #[test]
    fn numbers_have_six_digits() {
        let cases = [
            (0.0, "0"),
            (1234.5, "1234.5"),
            (1_234_567.8, "1234568"),
            (0.000_123_456_78, "0.000123457"),
            (-2.5, "-2.5"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
