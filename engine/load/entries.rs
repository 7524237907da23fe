//! The keys of a mapping: none stands twice, and a merge key (`<<`) brings those of another mapping.

use std::collections::{HashMap, HashSet};

use super::{
    complaint::{Complaint, Report},
    node::{Entry, Node, Tree},
};
use crate::base::span::Span;

/// Complains about the second of each pair of equal keys and drops it.
pub(super) fn refuse_duplicates(entries: &mut Vec<Entry<'_>>, report: &mut Report) {
    let twice: HashMap<usize, Span> = if entries.len() <= 8 {
        (1..entries.len())
            .filter_map(|i| {
                let first = entries[..i].iter().find(|e| e.key.name == entries[i].key.name)?;
                Some((i, first.key.span))
            })
            .collect()
    } else {
        let mut first = HashMap::with_capacity(entries.len());
        let mut twice = HashMap::new();
        for (i, entry) in entries.iter().enumerate() {
            let span = *first.entry(entry.key.name.as_ref()).or_insert(entry.key.span);
            if span != entry.key.span {
                twice.insert(i, span);
            }
        }
        twice
    };
    if twice.is_empty() {
        return;
    }
    let mut i = 0;
    entries.retain(|entry| {
        let first = twice.get(&i);
        i += 1;
        if let Some(first) = first {
            let message = format!("the key `{}` is given twice", entry.key.name);
            report.push(
                Complaint::new(entry.key.span, message)
                    .here("again here")
                    .label(*first, "first here"),
            );
        }
        first.is_none()
    });
}

/// Adds what a merge key (`<<: *base`) brings and the mapping itself lacks.
pub(super) fn merge<'a>(entries: &mut Vec<Entry<'a>>, from: Node<'a>, report: &mut Report) {
    let span = from.span;
    match from.tree {
        Tree::Mapping(more) => {
            let known: HashSet<String> =
                entries.iter().map(|entry| entry.key.name.to_string()).collect();
            entries.extend(more.into_iter().filter(|entry| !known.contains(&*entry.key.name)));
        }
        Tree::Sequence(items) => {
            for item in items {
                if matches!(item.tree, Tree::Mapping(_) | Tree::Broken) {
                    merge(entries, item, report);
                } else {
                    refuse_merge(item.span, report);
                }
            }
        }
        Tree::Broken => {}
        Tree::Scalar(_) => refuse_merge(span, report),
    }
}

fn refuse_merge(span: Span, report: &mut Report) {
    report.push(Complaint::new(span, "`<<` merges mappings only").help("such as `<<: *base`"));
}
