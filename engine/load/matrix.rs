//! `matrix`: values of config keys, and the stages that their combinations make.
//!
//! A stage stands once for every combination of its axes' values: of those of its own matrix, and of those of the stages
//! that it refers to without brackets. Axes of the same name are one axis.

use serde_json::Value;

use super::{
    complaint::{Complaint, Report},
    declaration::{Axis, Fields},
    node::{Key, Node, Tree},
    schema,
};
use crate::{
    base::span::Span,
    graph::{
        combination::{Combination, label},
        name::{self, is_name},
    },
};

/// The most stages that a pipeline may come to.
pub(super) const STAGES: usize = 20_000;

/// Reads the matrix of a stage; `None` if there was a complaint.
pub(super) fn read<'a>(fields: &Fields<'a>, report: &mut Report) -> Option<Vec<Axis<'a>>> {
    let Some(entry) = fields.given("matrix") else { return Some(Vec::new()) };
    let Tree::Mapping(entries) = &entry.value.tree else {
        if !entry.value.is_broken() {
            let message = format!(
                "`matrix` must be a mapping from config keys to lists of values, but is {}",
                entry.value.describe()
            );
            report.push(
                Complaint::new(entry.value.span, message)
                    .help("such as `matrix: { learning_rate: [0.001, 0.002] }`"),
            );
        }
        return None;
    };
    if entries.is_empty() {
        report.push(Complaint::new(entry.value.span, "`matrix` is empty"));
        return None;
    }
    let mut axes: Vec<Axis<'a>> = Vec::with_capacity(entries.len());
    let mut sound = true;
    for entry in entries {
        let name = entry.key.name.as_ref();
        if !name.split('.').all(is_name) {
            let message = format!("`{name}` is no config key that a matrix can vary");
            report.push(Complaint::new(entry.key.span, message).help(name::RULE));
            sound = false;
        }
        let clash = axes.iter().find(|axis| overlap(&axis.key.name, name));
        if let Some(clash) = clash {
            let message = format!("the axis `{name}` overlaps with the axis `{}`", clash.key.name);
            report.push(Complaint::new(entry.key.span, message).label(clash.key.span, "this one"));
            sound = false;
        }
        match values(name, &entry.value, report) {
            Some(values) => axes.push(Axis { key: entry.key.clone(), values }),
            None => sound = false,
        }
    }
    sound.then_some(axes)
}

/// Whether two config keys, each with dots between its words, are the same or one lies within the other.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let within = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    within(one, other) || within(other, one)
}

/// The values of the axis `name`.
fn values<'a>(name: &str, node: &Node<'a>, report: &mut Report) -> Option<Vec<(Node<'a>, Value)>> {
    let Tree::Sequence(items) = &node.tree else {
        if !node.is_broken() {
            let message = format!("`{name}` must be a list of values, but is {}", node.describe());
            let complaint = Complaint::new(node.span, message);
            report.push(match node.text() {
                Some(text) => complaint.help(format!("write `[{text}]`")),
                None => complaint.help("each value makes a stage of its own"),
            });
        }
        return None;
    };
    if items.is_empty() {
        let message = format!("the axis `{name}` has no values");
        report.push(Complaint::new(node.span, message));
        return None;
    }
    let mut values: Vec<(Node<'a>, Value)> = Vec::with_capacity(items.len());
    let mut sound = true;
    for item in items {
        let Some(value) = schema::free(item, report) else {
            sound = false;
            continue;
        };
        if let Some((first, _)) = values.iter().find(|(_, other)| *other == value) {
            let message = format!("the axis `{name}` has the value `{}` twice", label(&value));
            report.push(Complaint::new(item.span, message).label(first.span, "first here"));
            sound = false;
        }
        values.push((item.clone(), value));
    }
    sound.then_some(values)
}

/// The config of one of a matrix's stages: `config` with `values` put in at the keys that they are for.
pub(super) fn filled<'a>(
    config: Option<&Node<'a>>,
    values: &[(&Key<'a>, &Node<'a>)],
    place: Span,
) -> Node<'a> {
    let given = config.filter(|node| !node.is_null()).cloned();
    let mut filled = given.unwrap_or_else(|| Node::new(Tree::Mapping(Vec::new()), place));
    if !matches!(filled.tree, Tree::Mapping(_)) {
        // It is complained about as it is.
        return filled;
    }
    for (key, value) in values {
        let mut node = &mut filled;
        for word in key.name.split('.') {
            node = node.child(Key { name: word.to_owned().into(), span: key.span });
        }
        *node = (*value).clone();
    }
    filled
}

/// Complains about axes that the config sets too. Whether there are none.
pub(super) fn check_config(
    stage: &str,
    axes: &[Axis<'_>],
    config: Option<&Node<'_>>,
    report: &mut Report,
) -> bool {
    let mut sound = true;
    let Some(config) = config.filter(|node| !node.is_null()) else { return true };
    for axis in axes {
        let mut node = config;
        let mut span = None;
        for word in axis.key.name.split('.') {
            // What is no mapping is as much in the way as the key itself.
            let Tree::Mapping(_) = node.tree else { break };
            let Some(entry) = node.get(word) else {
                span = None;
                break;
            };
            span = Some(entry.key.span);
            node = &entry.value;
        }
        if let Some(span) = span.filter(|_| !node.is_broken()) {
            let name = &axis.key.name;
            let message = format!("`{name}` is an axis of the matrix, and stands in `config` too");
            let complaint = Complaint::new(span, message).label(axis.key.span, "the axis");
            report.push(if span.source == 0 {
                complaint.help("remove one of the two")
            } else {
                complaint.help(format!("set the axis: `{stage}.matrix.{name}=[…]`"))
            });
            sound = false;
        }
    }
    sound
}

/// All axes of a stage, its own and those that come with its inputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Space {
    axes: Vec<SpaceAxis>,
}

#[derive(Debug, Clone, PartialEq)]
struct SpaceAxis {
    name: String,
    values: Vec<Value>,
    /// Where it is declared.
    place: Span,
}

impl Space {
    /// How many combinations there are: one without axes.
    pub(super) fn count(&self) -> usize {
        self.axes.iter().fold(1, |count, axis| count.saturating_mul(axis.values.len()))
    }

    pub(super) fn has_axes(&self) -> bool {
        !self.axes.is_empty()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.axes.iter().map(|axis| axis.name.as_str())
    }

    /// Takes over the axes of a stage that `span` refers to.
    pub(super) fn inherit(&mut self, from: &Self, span: Span, report: &mut Report) {
        for axis in &from.axes {
            self.join(axis.clone(), span, report);
        }
    }

    /// Adds the axes of a stage's own matrix.
    pub(super) fn own(&mut self, axes: &[Axis<'_>], report: &mut Report) {
        for axis in axes {
            let values = axis.values.iter().map(|(_, value)| value.clone()).collect();
            let place = axis.key.span;
            let axis = SpaceAxis { name: axis.key.name.to_string(), values, place };
            self.join(axis, place, report);
        }
    }

    fn join(&mut self, axis: SpaceAxis, span: Span, report: &mut Report) {
        let Some(known) = self.axes.iter().find(|known| known.name == axis.name) else {
            self.axes.push(axis);
            return;
        };
        let same = known.values.len() == axis.values.len()
            && axis.values.iter().all(|value| known.values.contains(value));
        if !same {
            let message =
                format!("two axes called `{}` meet here, and their values differ", axis.name);
            let mut complaint = Complaint::new(span, message).label(known.place, "the one");
            if axis.place != span {
                complaint = complaint.label(axis.place, "the other");
            }
            report.push(complaint.help("give both the same values, or name one combination"));
        }
    }

    /// The number of the value that the combination `k` has on each axis. The first axis varies slowest.
    fn digits(&self, mut k: usize) -> Vec<usize> {
        let mut digits = vec![0; self.axes.len()];
        for (digit, axis) in digits.iter_mut().zip(&self.axes).rev() {
            *digit = k % axis.values.len();
            k /= axis.values.len();
        }
        digits
    }

    /// The combination `k`, if there are axes.
    pub(super) fn combination(&self, k: usize) -> Option<Combination> {
        let value =
            |(axis, digit): (&SpaceAxis, usize)| (axis.name.clone(), axis.values[digit].clone());
        let values = self.axes.iter().zip(self.digits(k)).map(value).collect();
        self.has_axes().then_some(Combination { values })
    }

    /// The combinations, if there are axes.
    pub(super) fn combinations(&self) -> impl Iterator<Item = Combination> {
        (0..self.count()).filter_map(|k| self.combination(k))
    }

    /// The combination of `part`, all of whose axes this has too, in which the combination `k` of this lies.
    pub(super) fn project(&self, k: usize, part: &Self) -> usize {
        let digits = self.digits(k);
        part.axes.iter().fold(0, |number, axis| {
            let found = self.axes.iter().position(|own| own.name == axis.name);
            let value = found.map(|own| &self.axes[own].values[digits[own]]);
            let digit = value.and_then(|value| axis.values.iter().position(|other| other == value));
            number * axis.values.len() + digit.unwrap_or(0)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn space(axes: &[(&str, &[i32])]) -> Space {
        let place = Span::new(0, 0..0);
        let axis = |(name, values): &(&str, &[i32])| SpaceAxis {
            name: (*name).to_owned(),
            values: values.iter().map(|value| json!(value)).collect(),
            place,
        };
        Space { axes: axes.iter().map(axis).collect() }
    }

    fn labels(space: &Space) -> Vec<String> {
        space.combinations().map(|combination| combination.to_string()).collect()
    }

    #[test]
    fn combinations_come_in_the_order_written() {
        assert_eq!(
            labels(&space(&[("a", &[2, 1]), ("b", &[3, 4])])),
            ["a=2,b=3", "a=2,b=4", "a=1,b=3", "a=1,b=4"]
        );
        assert_eq!((space(&[]).count(), labels(&space(&[]))), (1, vec![]));
    }

    #[test]
    fn axes_of_one_name_join_and_others_multiply() {
        let mut report = Report::default();
        let span = Span::new(0, 0..0);
        let mut joined = space(&[("a", &[1, 2])]);
        joined.inherit(&space(&[("b", &[3]), ("a", &[2, 1])]), span, &mut report);
        assert_eq!(labels(&joined), ["a=1,b=3", "a=2,b=3"]);
        assert!(report.is_empty());
        joined.inherit(&space(&[("a", &[1])]), span, &mut report);
        assert!(!report.is_empty());
    }

    #[test]
    fn a_combination_is_found_among_those_of_a_part() {
        let (whole, part) = (space(&[("a", &[1, 2]), ("b", &[3, 4])]), space(&[("b", &[4, 3])]));
        for k in 0..whole.count() {
            let (own, found) =
                (whole.combination(k).unwrap(), part.combination(whole.project(k, &part)).unwrap());
            assert_eq!(own.values[1], found.values[0]);
        }
        assert_eq!(whole.project(3, &space(&[])), 0);
    }
}
