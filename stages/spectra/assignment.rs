//! The assignment of rows to columns at least cost.

/// Assigns each row of a cost matrix to a column of its own, or each column to a row where there
/// are fewer columns, at the least total cost. Gives the column of each row.
///
/// `costs` is rows × `columns`, in row-major order, and finite. This is the Hungarian method with
/// potentials and shortest augmenting paths (Kuhn 1955; Jonker & Volgenant 1987), O(n² m). Ties go
/// to the lower column.
pub(super) fn assign(costs: &[f64], rows: usize, columns: usize) -> Vec<Option<usize>> {
    debug_assert_eq!(costs.len(), rows * columns);
    if rows > columns {
        let transposed: Vec<f64> =
            (0..columns).flat_map(|c| (0..rows).map(move |r| costs[r * columns + c])).collect();
        let mut row_columns = vec![None; rows];
        for (column, row) in assign(&transposed, columns, rows).into_iter().enumerate() {
            if let Some(row) = row {
                row_columns[row] = Some(column);
            }
        }
        return row_columns;
    }

    // Index 0 of the columns is a stand-in for "no column yet"; real ones count from 1.
    let mut row_of = vec![None; columns + 1];
    let mut row_potential = vec![0.0; rows];
    let mut column_potential = vec![0.0; columns + 1];
    for new_row in 0..rows {
        row_of[0] = Some(new_row);
        let mut shortest = vec![f64::INFINITY; columns + 1];
        let mut previous = vec![0; columns + 1];
        let mut visited = vec![false; columns + 1];
        let mut column = 0;
        while let Some(row) = row_of[column] {
            visited[column] = true;
            let (mut step, mut next) = (f64::INFINITY, 0);
            for candidate in 1..=columns {
                if visited[candidate] {
                    continue;
                }
                let reduced = costs[row * columns + candidate - 1]
                    - row_potential[row]
                    - column_potential[candidate];
                if reduced < shortest[candidate] {
                    shortest[candidate] = reduced;
                    previous[candidate] = column;
                }
                if shortest[candidate] < step {
                    step = shortest[candidate];
                    next = candidate;
                }
            }
            for candidate in 0..=columns {
                match row_of[candidate] {
                    Some(reached) if visited[candidate] => {
                        row_potential[reached] += step;
                        column_potential[candidate] -= step;
                    }
                    _ if !visited[candidate] => shortest[candidate] -= step,
                    _ => {}
                }
            }
            column = next;
        }
        while column != 0 {
            row_of[column] = row_of[previous[column]];
            column = previous[column];
        }
    }
    let mut row_columns = vec![None; rows];
    for (column, row) in row_of.iter().enumerate().skip(1) {
        if let Some(row) = row {
            row_columns[*row] = Some(column - 1);
        }
    }
    row_columns
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn total(costs: &[f64], columns: usize, assignment: &[Option<usize>]) -> f64 {
        assignment
            .iter()
            .enumerate()
            .filter_map(|(row, column)| column.map(|c| costs[row * columns + c]))
            .sum()
    }

    /// The least total cost of assigning all of the shorter side, by trying everything.
    fn exhaustive(costs: &[f64], rows: usize, columns: usize) -> f64 {
        fn best(
            costs: &[f64],
            rows: usize,
            columns: usize,
            row: usize,
            used: u32,
            skips: usize,
        ) -> f64 {
            if row == rows {
                return 0.0;
            }
            let mut least = f64::INFINITY;
            if skips > 0 {
                least = best(costs, rows, columns, row + 1, used, skips - 1);
            }
            for column in (0..columns).filter(|c| used & (1 << c) == 0) {
                let rest = best(costs, rows, columns, row + 1, used | 1 << column, skips);
                least = least.min(costs[row * columns + column] + rest);
            }
            least
        }
        best(costs, rows, columns, 0, 0, rows.saturating_sub(columns))
    }

    proptest! {
        #[test]
        fn no_assignment_is_cheaper(
            (rows, columns, costs) in (0_usize..6, 0_usize..6).prop_flat_map(|(r, c)| {
                (Just(r), Just(c), prop::collection::vec(-10.0..10.0, r * c))
            })
        ) {
            let assignment = assign(&costs, rows, columns);
            let mut used: Vec<usize> = assignment.iter().flatten().copied().collect();
            prop_assert_eq!(used.len(), rows.min(columns));
            used.sort_unstable();
            used.dedup();
            prop_assert_eq!(used.len(), rows.min(columns));
            let least = exhaustive(&costs, rows, columns);
            prop_assert!((total(&costs, columns, &assignment) - least).abs() < 1e-9);
        }
    }

    #[test]
    fn a_known_case() {
        let costs = [4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0];
        assert_eq!(assign(&costs, 3, 3), [Some(1), Some(0), Some(2)]);
    }
}
