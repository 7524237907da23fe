//! Checks a config against the JSON schema of its kind, with the place of every fault, and gives it as JSON.
//!
//! Of JSON Schema 2020-12 it knows what `schemars` writes for serde types: `$ref`, `type`, `enum`, `const`, `oneOf`, `anyOf`,
//! `allOf`, `properties`, `required`, `additionalProperties`, `items`, `prefixItems`, and the limits of numbers, texts and
//! lists. What it doesn't know (such as `pattern`) it leaves to the typed config.

use serde_json::{Map, Number, Value};

use super::{
    complaint::{Complaint, Report},
    expectation::{self, Limits},
    node::{DEPTH, Entry, Node, Tree},
};
use crate::{base::span::Span, graph::scalar::Atom};

/// The schema of a kind's config.
pub(super) struct Schema {
    root: Value,
}

impl Schema {
    pub(super) fn new(root: Value) -> Self {
        Self { root }
    }

    /// Whether the config has the key `key`.
    pub(super) fn has(&self, key: &str) -> bool {
        self.root.get("properties").is_some_and(|properties| properties.get(key).is_some())
    }

    /// Checks `node`, the config of a stage, and gives it as JSON. `place` is where a complaint about a missing config belongs.
    pub(super) fn check(
        &self,
        node: Option<&Node<'_>>,
        place: Span,
        report: &mut Report,
    ) -> Option<Value> {
        let empty = Node::new(Tree::Mapping(Vec::new()), place);
        let node = node.filter(|node| !node.is_null()).unwrap_or(&empty);
        let mut checker = Checker { root: &self.root, report };
        checker.value(node, &self.root, &Path::Root, 0)
    }
}

/// The keys that lead to a value.
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, key) => f.write_str(key),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    /// The value's name at the beginning of a sentence.
    fn subject(&self) -> String {
        match self {
            Self::Root => "the config".into(),
            _ => format!("`{self}`"),
        }
    }
}

struct Checker<'s, 'r> {
    root: &'s Value,
    report: &'r mut Report,
}

impl<'s> Checker<'s, '_> {
    /// Checks `node` against `schema`; `None` if there was a complaint, now or before.
    fn value(
        &mut self,
        node: &Node<'_>,
        schema: &'s Value,
        path: &Path<'_>,
        depth: usize,
    ) -> Option<Value> {
        // References that go round are cut; nodes themselves are never this deep.
        if node.is_broken() || depth > 4 * DEPTH {
            return None;
        }
        let Value::Object(rules) = schema else {
            return free(node, self.report);
        };
        if let Some(branches) =
            ["oneOf", "anyOf"].iter().find_map(|word| rules.get(*word)?.as_array())
        {
            return self.branches(node, branches, schema, path, depth);
        }
        if let Some(target) = rules.get("$ref").and_then(Value::as_str) {
            let target = expectation::resolve(self.root, target)?;
            return self.value(node, target, path, depth + 1);
        }
        if let Some([only]) = rules.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
            return self.value(node, only, path, depth + 1);
        }
        if rules.contains_key("const") || rules.contains_key("enum") {
            return self.one_of(node, schema, path);
        }
        let types = expectation::types(schema);
        if types.is_empty() && !rules.contains_key("properties") {
            return free(node, self.report);
        }
        let wants = |name: &str| types.contains(&name);
        match &node.tree {
            Tree::Mapping(entries) if wants("object") || types.is_empty() => {
                self.object(node, entries, schema, path, depth)
            }
            Tree::Sequence(items) if wants("array") => self.array(node, items, schema, path, depth),
            Tree::Scalar(scalar) => match scalar.atom() {
                Atom::Null if wants("null") => Some(Value::Null),
                Atom::Bool(value) if wants("boolean") => Some(Value::Bool(value)),
                Atom::Text(text) if wants("string") => self.text(node, text, schema, path),
                Atom::Integer(value) if wants("integer") || wants("number") => {
                    self.number(node, integer(value), value as f64, schema, path)
                }
                Atom::Real(value) if wants("number") && value.is_finite() => {
                    self.number(node, Number::from_f64(value), value, schema, path)
                }
                // 1e4 is a whole number too.
                Atom::Real(value) if wants("integer") && whole(value).is_some() => {
                    self.number(node, whole(value).and_then(integer), value, schema, path)
                }
                _ => self.refuse(node, schema, path),
            },
            _ => self.refuse(node, schema, path),
        }
    }

    /// Complains that `node` isn't what `schema` wants.
    fn refuse(&mut self, node: &Node<'_>, schema: &Value, path: &Path<'_>) -> Option<Value> {
        let wanted = expectation::describe(self.root, schema);
        let message = format!("{} must be {wanted}, but is {}", path.subject(), node.describe());
        self.complain(node, schema, path, message)
    }

    fn complain(
        &mut self,
        node: &Node<'_>,
        schema: &Value,
        path: &Path<'_>,
        message: String,
    ) -> Option<Value> {
        let mut complaint = Complaint::new(node.span, message);
        if let Some(origin) = node.origin {
            complaint = complaint.label(origin, "the value comes from here");
        }
        let about = expectation::about(self.root, schema);
        if !about.is_empty() && !matches!(path, Path::Root) {
            complaint = complaint.help(format!("`{path}`: {about}"));
        }
        self.report.push(complaint);
        None
    }

    fn number(
        &mut self,
        node: &Node<'_>,
        number: Option<Number>,
        value: f64,
        schema: &Value,
        path: &Path<'_>,
    ) -> Option<Value> {
        let limits = Limits::of(schema);
        match number {
            Some(number) if limits.hold(value) => Some(Value::Number(number)),
            Some(number) if limits.are_silent_on(value) => {
                let message = format!("{} can't hold {number}: it is too large", path.subject());
                self.complain(node, schema, path, message)
            }
            _ => self.refuse(node, schema, path),
        }
    }

    fn text(
        &mut self,
        node: &Node<'_>,
        text: &str,
        schema: &Value,
        path: &Path<'_>,
    ) -> Option<Value> {
        let length = text.chars().count() as u64;
        let limit = |word: &str| schema.get(word).and_then(Value::as_u64);
        if limit("minLength").is_some_and(|least| length < least)
            || limit("maxLength").is_some_and(|most| length > most)
        {
            return self.refuse(node, schema, path);
        }
        Some(Value::String(text.to_owned()))
    }

    fn one_of(&mut self, node: &Node<'_>, schema: &Value, path: &Path<'_>) -> Option<Value> {
        let choices = expectation::choices(schema);
        let found = choices.iter().find(|choice| match (choice, node.atom()) {
            (Value::String(choice), Some(Atom::Text(text))) => choice == text,
            (Value::Bool(choice), Some(Atom::Bool(value))) => *choice == value,
            (Value::Null, Some(Atom::Null)) => true,
            (Value::Number(choice), Some(Atom::Integer(value))) => choice.as_i128() == Some(value),
            (Value::Number(choice), Some(Atom::Real(value))) => choice.as_f64() == Some(value),
            _ => false,
        });
        if let Some(found) = found {
            return Some((*found).clone());
        }
        self.no_choice(node, &choices, schema, path)
    }

    /// Complains that `node` is none of `choices`.
    fn no_choice(
        &mut self,
        node: &Node<'_>,
        choices: &[&Value],
        schema: &Value,
        path: &Path<'_>,
    ) -> Option<Value> {
        let meant = node.text().and_then(|text| {
            self.report.meant(text, choices.iter().filter_map(|choice| choice.as_str()))
        });
        let wanted = expectation::list(choices);
        let message = format!("{} must be {wanted}, but is {}", path.subject(), node.describe());
        if let Some(meant) = meant {
            let complaint = Complaint::new(node.span, message).suggest(Some(meant), String::new);
            self.report.push(complaint);
            return None;
        }
        self.complain(node, schema, path, message)
    }

    /// Checks `node` against schemas of which one must hold.
    fn branches(
        &mut self,
        node: &Node<'_>,
        branches: &'s [Value],
        schema: &'s Value,
        path: &Path<'_>,
        depth: usize,
    ) -> Option<Value> {
        for branch in branches {
            let mut silent = Report::default();
            let mut trial = Checker { root: self.root, report: &mut silent };
            let value = trial.value(node, branch, path, depth + 1);
            if value.is_some() {
                return value;
            }
            if silent.is_empty() {
                // Something within is broken and was complained about.
                return None;
            }
        }
        let choices: Vec<&Value> = branches
            .iter()
            .map(|branch| expectation::followed(self.root, branch))
            .flat_map(expectation::choices)
            .collect();
        if !choices.is_empty() && !matches!(node.tree, Tree::Mapping(_) | Tree::Sequence(_)) {
            let keyed: Vec<&str> =
                branches.iter().filter_map(|branch| expectation::tag(self.root, branch)).collect();
            if keyed.is_empty() {
                return self.no_choice(node, &choices, schema, path);
            }
        }
        let branch = match &node.tree {
            Tree::Mapping(entries) => branches.iter().find(|branch| self.is_meant(entries, branch)),
            _ => None,
        };
        let candidates: Vec<&Value> = branches
            .iter()
            .filter(|branch| {
                expectation::types(expectation::followed(self.root, branch)) != ["null"]
            })
            .collect();
        match (branch, candidates.as_slice()) {
            (Some(branch), _) => self.value(node, branch, path, depth + 1),
            (None, [only]) if !node.is_null() => self.value(node, only, path, depth + 1),
            _ => self.refuse(node, schema, path),
        }
    }

    /// Whether a mapping is an attempt at `branch` of an enumeration: by its tag, or by its only key.
    fn is_meant(&self, entries: &[Entry<'_>], branch: &Value) -> bool {
        let branch = expectation::followed(self.root, branch);
        let Some(properties) = branch.get("properties").and_then(Value::as_object) else {
            return false;
        };
        let get = |name: &str| entries.iter().find(|entry| entry.key.name == name);
        let tags =
            properties.iter().filter_map(|(key, rules)| Some((key, rules.get("const")?.as_str()?)));
        let mut tagged = false;
        for (key, tag) in tags {
            tagged = true;
            if get(key).is_some_and(|entry| entry.value.text() == Some(tag)) {
                return true;
            }
        }
        !tagged && properties.len() == 1 && properties.keys().all(|key| get(key).is_some())
    }

    fn object(
        &mut self,
        node: &Node<'_>,
        entries: &[Entry<'_>],
        schema: &'s Value,
        path: &Path<'_>,
        depth: usize,
    ) -> Option<Value> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let rest = schema.get("additionalProperties");
        let mut object = Map::new();
        let mut sound = true;
        for entry in entries {
            let name = entry.key.name.as_ref();
            let path = Path::Key(path, name);
            let known = properties.and_then(|properties| properties.get(name));
            let rules = match (known, rest) {
                (Some(rules), _) => rules,
                (None, Some(Value::Bool(false))) => {
                    self.unknown_key(entry, properties, &path);
                    sound = false;
                    continue;
                }
                // A type that says nothing of other keys must not swallow a slip.
                (None, None) if properties.is_some_and(|properties| !properties.is_empty()) => {
                    self.unknown_key(entry, properties, &path);
                    sound = false;
                    continue;
                }
                (None, rules) => rules.unwrap_or(&Value::Bool(true)),
            };
            match self.value(&entry.value, rules, &path, depth + 1) {
                Some(value) => {
                    object.insert(name.to_owned(), value);
                }
                None => sound = false,
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for name in required.filter_map(Value::as_str) {
            if !entries.iter().any(|entry| entry.key.name == name) {
                let rules = properties.and_then(|properties| properties.get(name));
                let message = format!("`{}` is missing", Path::Key(path, name));
                self.complain(node, rules.unwrap_or(&Value::Null), &Path::Key(path, name), message);
                sound = false;
            }
        }
        sound.then_some(Value::Object(object))
    }

    fn unknown_key(
        &mut self,
        entry: &Entry<'_>,
        known: Option<&Map<String, Value>>,
        path: &Path<'_>,
    ) {
        let mut names: Vec<&str> =
            known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
        names.sort_unstable();
        let meant = self.report.meant(&entry.key.name, names.iter().copied());
        let complaint = Complaint::new(entry.key.span, format!("unknown key `{path}`"));
        self.report.push(complaint.suggest(meant, || {
            if names.is_empty() {
                "there are no keys here".into()
            } else {
                format!("the keys are {}", names.join(", "))
            }
        }));
    }

    fn array(
        &mut self,
        node: &Node<'_>,
        items: &[Node<'_>],
        schema: &'s Value,
        path: &Path<'_>,
        depth: usize,
    ) -> Option<Value> {
        let limit = |word: &str| schema.get(word).and_then(Value::as_u64);
        let count = items.len() as u64;
        if limit("minItems").is_some_and(|least| count < least)
            || limit("maxItems").is_some_and(|most| count > most)
        {
            let wanted = expectation::describe(self.root, schema);
            let message = format!("{} must be {wanted}, but has {count}", path.subject());
            return self.complain(node, schema, path, message);
        }
        let first = schema.get("prefixItems").and_then(Value::as_array);
        let rest = schema.get("items").unwrap_or(&Value::Bool(true));
        let mut array = Vec::with_capacity(items.len());
        let mut sound = true;
        for (i, item) in items.iter().enumerate() {
            let rules = first.and_then(|first| first.get(i)).unwrap_or(rest);
            match self.value(item, rules, &Path::Item(path, i), depth + 1) {
                Some(value) => array.push(value),
                None => sound = false,
            }
        }
        if sound
            && schema.get("uniqueItems") == Some(&Value::Bool(true))
            && let Some(i) = (1..array.len()).find(|&i| array[..i].contains(&array[i]))
        {
            let message = format!("`{}` stands in the list twice", Path::Item(path, i));
            return self.complain(&items[i], schema, path, message);
        }
        sound.then_some(Value::Array(array))
    }
}

/// A value as JSON, in the one spelling that equal values share: a whole number is an integer however it is written (as
/// in RFC 8785), and keys are in order.
pub(super) fn free(node: &Node<'_>, report: &mut Report) -> Option<Value> {
    match &node.tree {
        Tree::Broken => None,
        Tree::Sequence(items) => {
            let values: Vec<_> = items.iter().map(|item| free(item, report)).collect();
            values.into_iter().collect::<Option<_>>().map(Value::Array)
        }
        Tree::Mapping(entries) => {
            let mut entries: Vec<_> = entries
                .iter()
                .map(|entry| Some((entry.key.name.to_string(), free(&entry.value, report)?)))
                .collect::<Vec<_>>()
                .into_iter()
                .collect::<Option<_>>()?;
            // Whether a JSON object keeps the order of insertion is up to the crates that are linked.
            entries.sort_unstable_by(|(a, _): &(String, Value), (b, _)| a.cmp(b));
            Some(Value::Object(entries.into_iter().collect()))
        }
        Tree::Scalar(scalar) => match scalar.atom() {
            Atom::Null => Some(Value::Null),
            Atom::Bool(value) => Some(Value::Bool(value)),
            Atom::Text(text) => Some(Value::String(text.to_owned())),
            Atom::Integer(value) => integer(value).map(Value::Number),
            Atom::Real(value) if value.is_finite() => whole(value)
                .and_then(integer)
                .or_else(|| Number::from_f64(value))
                .map(Value::Number),
            Atom::Real(_) | Atom::Huge(_) => {
                report.push(
                    Complaint::new(
                        node.span,
                        format!("{} can't be stored as a number", node.describe()),
                    )
                    .help("put it in quotes to make it a text"),
                );
                None
            }
        },
    }
}

/// The whole number that `value` is, if a real holds it exactly.
fn whole(value: f64) -> Option<i128> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::float_cmp, reason = "whether the value is whole")]
    let whole = value.abs() <= EXACT && value.floor() == value;
    whole.then_some(value as i128)
}

fn integer(value: i128) -> Option<Number> {
    u64::try_from(value).map(Number::from).or_else(|_| i64::try_from(value).map(Number::from)).ok()
}
