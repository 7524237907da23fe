//! What a schema wants, in words: "a whole number ≥ 1", "one of `a`, `b`".

use serde_json::Value;

/// The part of the schema `root` that the reference `target` (such as `#/$defs/Range`) names.
pub(super) fn resolve<'s>(root: &'s Value, target: &str) -> Option<&'s Value> {
    root.pointer(target.strip_prefix('#')?)
}

/// `schema`, or what it refers to.
pub(super) fn followed<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let mut schema = schema;
    for _ in 0..16 {
        let Some(target) = schema.get("$ref").and_then(Value::as_str) else { break };
        let Some(next) = resolve(root, target) else { break };
        schema = next;
    }
    schema
}

/// The names of JSON types that `schema` allows; empty if it doesn't say.
pub(super) fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The values that `schema` lists, if it does.
pub(super) fn choices(schema: &Value) -> Vec<&Value> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    schema.get("const").into_iter().chain(listed).collect()
}

/// The key or the tag by which a mapping is told to be this branch of an enumeration.
pub(super) fn tag<'s>(root: &'s Value, branch: &'s Value) -> Option<&'s str> {
    let properties = followed(root, branch).get("properties")?.as_object()?;
    let tag = properties.values().find_map(|rules| rules.get("const")?.as_str());
    tag.or_else(|| properties.keys().next().filter(|_| properties.len() == 1).map(String::as_str))
}

/// Values in words: "`a`", "`a` or `b`", "one of `a`, `b`, `c`".
pub(super) fn list(values: &[&Value]) -> String {
    let words: Vec<String> = values
        .iter()
        .map(|value| match value {
            Value::String(text) => format!("`{text}`"),
            Value::Null => "empty".into(),
            other => format!("`{other}`"),
        })
        .collect();
    match words.as_slice() {
        [one, two] => format!("{one} or {two}"),
        [_, _, ..] => format!("one of {}", words.join(", ")),
        _ => words.concat(),
    }
}

/// What `schema` wants, in words.
pub(super) fn describe(root: &Value, schema: &Value) -> String {
    describe_at(root, schema, 0)
}

fn describe_at(root: &Value, schema: &Value, depth: usize) -> String {
    let schema = followed(root, schema);
    if depth > 3 {
        return "a value".into();
    }
    let choices = choices(schema);
    if !choices.is_empty() {
        return list(&choices);
    }
    for word in ["oneOf", "anyOf", "allOf"] {
        if let Some(branches) = schema.get(word).and_then(Value::as_array) {
            let listed: Vec<Vec<&Value>> =
                branches.iter().map(|branch| self::choices(followed(root, branch))).collect();
            if listed.iter().all(|choices| !choices.is_empty()) {
                return list(&listed.concat());
            }
            let mut words: Vec<String> =
                branches.iter().map(|branch| describe_at(root, branch, depth + 1)).collect();
            words.dedup();
            return words.join(" or ");
        }
    }
    let types = types(schema);
    let mut words: Vec<String> = types
        .iter()
        .filter(|name| **name != "null")
        .map(|name| match *name {
            "integer" => format!("a whole number{}", Limits::of(schema)),
            "number" => format!("a number{}", Limits::of(schema)),
            "boolean" => "`true` or `false`".into(),
            "string" => text(schema),
            "array" => array(root, schema, depth),
            "object" => match tag(root, schema) {
                Some(tag) if depth > 0 => format!("a mapping with `{tag}`"),
                _ => "a mapping".into(),
            },
            other => (*other).to_owned(),
        })
        .collect();
    if types.contains(&"null") {
        words.push("empty".into());
    }
    if words.is_empty() { "a value".into() } else { words.join(" or ") }
}

fn text(schema: &Value) -> String {
    let limit = |word: &str| schema.get(word).and_then(Value::as_u64);
    match (limit("minLength"), limit("maxLength")) {
        (Some(1), None) => "a text that isn't empty".into(),
        (None | Some(0), None) => "a text".into(),
        (Some(least), None) => format!("a text of at least {least} characters"),
        (None | Some(0), Some(most)) => format!("a text of at most {most} characters"),
        (Some(least), Some(most)) => format!("a text of {least} to {most} characters"),
    }
}

fn array(root: &Value, schema: &Value, depth: usize) -> String {
    let first = schema.get("prefixItems").and_then(Value::as_array).and_then(|items| items.first());
    let items = first.or_else(|| schema.get("items")).map(|items| followed(root, items));
    let limit = |word: &str| schema.get(word).and_then(Value::as_u64);
    let plural = match items.map(types).as_deref() {
        Some(["integer"]) => "whole numbers",
        Some(["number"]) => "numbers",
        Some(["string"]) => "texts",
        Some(["array"]) => "lists",
        _ => "values",
    };
    let each = items
        .filter(|items| types(items).iter().any(|name| matches!(*name, "integer" | "number")))
        .map(|items| Limits::of(items).to_string())
        .filter(|limits| !limits.is_empty() && depth == 0)
        .map_or(String::new(), |limits| format!(", each{limits}"));
    match (limit("minItems").filter(|least| *least > 0), limit("maxItems")) {
        (Some(least), Some(most)) if least == most => format!("a list of {least} {plural}{each}"),
        (Some(least), Some(most)) => format!("a list of {least} to {most} {plural}{each}"),
        (Some(least), None) => format!("a list of at least {least} {plural}{each}"),
        (None, Some(most)) => format!("a list of at most {most} {plural}{each}"),
        (None, None) => format!("a list of {plural}{each}"),
    }
}

/// What a key is for and in which unit, in a line: its description up to the first full stop.
pub(super) fn about(root: &Value, schema: &Value) -> String {
    let get = |word: &str| {
        schema.get(word).or_else(|| followed(root, schema).get(word)).and_then(Value::as_str)
    };
    let line = get("description").and_then(|text| text.lines().next()).unwrap_or("");
    let sentence = line.split_inclusive(". ").next().unwrap_or(line).trim().trim_end_matches('.');
    match get("unit") {
        Some(unit) if !sentence.is_empty() => format!("{sentence} [{unit}]"),
        Some(unit) => format!("in {unit}"),
        None => sentence.to_owned(),
    }
}

/// The limits of a number.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    least: Option<f64>,
    most: Option<f64>,
    above: Option<f64>,
    below: Option<f64>,
    /// Limits of the machine's type: they hold, but go without saying.
    machine: Option<(f64, f64)>,
}

impl Limits {
    pub(super) fn of(schema: &Value) -> Self {
        let limit = |word: &str| schema.get(word).and_then(Value::as_f64);
        let machine = match schema.get("format").and_then(Value::as_str) {
            Some("int8") => Some((f64::from(i8::MIN), f64::from(i8::MAX))),
            Some("int16") => Some((f64::from(i16::MIN), f64::from(i16::MAX))),
            Some("int32") => Some((f64::from(i32::MIN), f64::from(i32::MAX))),
            // The largest that a real tells from the first which doesn't fit.
            Some("int64" | "int") => Some((i64::MIN as f64, i64::MAX as f64)),
            Some("uint8") => Some((0.0, f64::from(u8::MAX))),
            Some("uint16") => Some((0.0, f64::from(u16::MAX))),
            Some("uint32") => Some((0.0, f64::from(u32::MAX))),
            Some("uint64" | "uint") => Some((0.0, u64::MAX as f64)),
            Some("float") => Some((f64::from(f32::MIN), f64::from(f32::MAX))),
            _ => None,
        };
        Self {
            least: limit("minimum"),
            most: limit("maximum"),
            above: limit("exclusiveMinimum"),
            below: limit("exclusiveMaximum"),
            machine,
        }
    }

    /// Whether `value` is within what the words of this say, and only the machine's type can't hold it.
    pub(super) fn are_silent_on(&self, value: f64) -> bool {
        Self { machine: None, ..*self }.hold(value)
    }

    /// Whether `value` is within.
    pub(super) fn hold(&self, value: f64) -> bool {
        self.least.is_none_or(|least| value >= least)
            && self.most.is_none_or(|most| value <= most)
            && self.above.is_none_or(|above| value > above)
            && self.below.is_none_or(|below| value < below)
            && self.machine.is_none_or(|(least, most)| value >= least && value <= most)
    }
}

impl std::fmt::Display for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let low = match (self.least, self.above) {
            (_, Some(above)) if self.least.is_none_or(|least| above >= least) => {
                Some(format!("> {above}"))
            }
            (Some(least), _) => Some(format!("≥ {least}")),
            _ => None,
        };
        let high = match (self.most, self.below) {
            (_, Some(below)) if self.most.is_none_or(|most| below <= most) => {
                Some(format!("< {below}"))
            }
            (Some(most), _) => Some(format!("≤ {most}")),
            _ => None,
        };
        match (low, high) {
            (Some(low), Some(high)) => match (self.least, self.most) {
                (Some(least), Some(most)) if self.above.is_none() && self.below.is_none() => {
                    write!(f, " from {least} to {most}")
                }
                _ => write!(f, " {low} and {high}"),
            },
            (Some(one), None) | (None, Some(one)) => write!(f, " {one}"),
            (None, None) => Ok(()),
        }
    }
}
