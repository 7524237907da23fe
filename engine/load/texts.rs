//! Lists of texts.

use std::collections::HashSet;

use super::{
    complaint::{Complaint, Report},
    node::{Node, Tree},
};

/// The texts of the list under `key`, and whether each item is one that stands there once. `None` if it is no list.
pub(super) fn texts<'n, 'a>(
    node: &'n Node<'a>,
    key: &str,
    wanted: &str,
    report: &mut Report,
) -> Option<(Vec<(&'n str, &'n Node<'a>)>, bool)> {
    let Tree::Sequence(items) = &node.tree else {
        if !node.is_broken() {
            let message = format!("`{key}` must be {wanted}, but is {}", node.describe());
            let complaint = Complaint::new(node.span, message);
            report.push(match node.text() {
                Some(text) => complaint.help(format!("write `[{text}]`")),
                None => complaint,
            });
        }
        return None;
    };
    let mut sound = true;
    let mut seen = HashSet::new();
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        match item.text() {
            Some(text) if !seen.insert(text) => {
                report.push(Complaint::new(item.span, format!("`{text}` stands in `{key}` twice")));
                sound = false;
            }
            Some(text) => texts.push((text, item)),
            None => {
                if !item.is_broken() {
                    let message =
                        format!("`{key}` must be {wanted}, but holds {}", item.describe());
                    report.push(Complaint::new(item.span, message));
                }
                sound = false;
            }
        }
    }
    Some((texts, sound))
}
