//! The order of things that need each other, and the loops that leave none.

use std::{cmp::Reverse, collections::BinaryHeap};

/// What sorting a graph gives.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sorted {
    /// Every node after all that it needs; the lowest number first among those that are ready. Nodes of a loop, and those
    /// that need one, are missing.
    pub(crate) order: Vec<usize>,
    /// Loops: each node is needed by the next, the last by the first. One through every knot, not every one.
    pub(crate) loops: Vec<Vec<usize>>,
}

/// Sorts nodes by what each of them needs (`needs[i]`: numbers of nodes, possibly repeated). Takes time in proportion to
/// the edges, and for n nodes n log n.
pub(crate) fn sort(needs: &[Vec<usize>]) -> Sorted {
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (node, needs) in needs.iter().enumerate() {
        for &need in needs {
            needed_by[need].push(node);
        }
    }
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..needs.len()).filter(|&node| missing[node] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(Reverse(node)) = ready.pop() {
        order.push(node);
        for &next in &needed_by[node] {
            missing[next] -= 1;
            if missing[next] == 0 {
                ready.push(Reverse(next));
            }
        }
    }
    let loops = if order.len() == needs.len() { Vec::new() } else { loops(needs, &missing) };
    Sorted { order, loops }
}

/// Whoever is left needs another that is left. Following the first such need leads round a loop.
fn loops(needs: &[Vec<usize>], missing: &[usize]) -> Vec<Vec<usize>> {
    const UNSEEN: usize = usize::MAX;
    let mut seen_by = vec![UNSEEN; needs.len()];
    let mut loops = Vec::new();
    for start in (0..needs.len()).filter(|&node| missing[node] > 0) {
        let mut path = Vec::new();
        let mut node = start;
        while seen_by[node] == UNSEEN {
            seen_by[node] = start;
            path.push(node);
            match needs[node].iter().find(|&&need| missing[need] > 0) {
                Some(&need) => node = need,
                None => break,
            }
        }
        if seen_by[node] == start
            && let Some(first) = path.iter().position(|&other| other == node)
        {
            let mut round = path.split_off(first);
            // The path goes from who needs to who is needed.
            round.reverse();
            let least =
                round.iter().enumerate().min_by_key(|(_, node)| **node).map_or(0, |(i, _)| i);
            round.rotate_left(least);
            loops.push(round);
        }
    }
    loops
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_order_is_the_declared_one_where_it_can_be() {
        assert_eq!(sort(&[vec![], vec![], vec![]]).order, [0, 1, 2]);
        assert_eq!(sort(&[vec![2], vec![], vec![]]).order, [1, 2, 0]);
        assert_eq!(sort(&[vec![1, 1], vec![]]).order, [1, 0]);
    }

    #[test]
    fn loops_are_named_once_in_the_direction_of_the_data() {
        assert_eq!(sort(&[vec![0]]).loops, [vec![0]]);
        assert_eq!(sort(&[vec![2], vec![0], vec![1], vec![0]]).loops, [vec![0, 1, 2]]);
        let two = sort(&[vec![1], vec![0], vec![3], vec![2], vec![0, 2], vec![]]);
        assert_eq!(two.loops, [vec![0, 1], vec![2, 3]]);
        assert_eq!(two.order, [5]);
    }

    #[test]
    fn a_long_chain_is_no_deep_recursion() {
        let needs: Vec<Vec<usize>> =
            (0..200_000).map(|i| if i == 0 { vec![] } else { vec![i - 1] }).collect();
        assert_eq!(sort(&needs).order.len(), 200_000);
    }

    proptest! {
        #[test]
        fn every_graph_is_ordered_or_has_a_loop(
            edges in proptest::collection::vec((0_usize..12, 0_usize..12), 0..40)
        ) {
            let mut needs = vec![Vec::new(); 12];
            for (from, to) in edges {
                needs[from].push(to);
            }
            let sorted = sort(&needs);
            prop_assert_eq!(sorted.order.len() == 12, sorted.loops.is_empty());
            for (place, &node) in sorted.order.iter().enumerate() {
                for need in &needs[node] {
                    prop_assert!(sorted.order[..place].contains(need));
                }
            }
            for round in &sorted.loops {
                for (i, &node) in round.iter().enumerate() {
                    let next = round[(i + 1) % round.len()];
                    prop_assert!(needs[next].contains(&node));
                }
            }
        }
    }
}
