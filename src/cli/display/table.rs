//! A CSV table in aligned columns.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table};

/// The first `rows` rows, the columns cut where they don't fit into `width`. `None` if the text isn't CSV.
pub(crate) fn show(text: &str, rows: usize, width: usize) -> Option<String> {
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(text.as_bytes());
    let header: Vec<String> = reader.headers().ok()?.iter().map(str::to_owned).collect();
    let mut shown: Vec<Vec<String>> = Vec::new();
    let mut count = 0;
    for record in reader.records() {
        let record = record.ok()?;
        if count < rows {
            shown.push(record.iter().map(brief).collect());
        }
        count += 1;
    }
    let mut table = plain(width);
    table.set_header(header.iter().map(String::as_str));
    for row in &shown {
        table.add_row(row);
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        let numbers = shown.iter().all(|row| row[i].is_empty() || row[i].parse::<f64>().is_ok());
        if numbers {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = lines(&table, "");
    if count > shown.len() {
        let _ = writeln!(text, "… {} more rows", count - shown.len());
    }
    Some(text)
}

/// Long reals are cut to what one reads; everything else stays as it is.
fn brief(field: &str) -> String {
    match field.parse::<f64>() {
        Ok(value) if field.len() > 9 && field.contains(['.', 'e']) => {
            super::document::number(value)
        }
        _ => field.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
    }
}

/// A table without lines round its cells.
pub(crate) fn plain(width: usize) -> Table {
    let mut table = Table::new();
    table
        .load_style(comfy_table::TableStyle::new())
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    table
}

/// The lines of a table, each after `indent`, without white space at the ends.
pub(crate) fn lines(table: &Table, indent: &str) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(format!("{indent}{line}").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::show;

    #[test]
    fn columns_are_aligned_and_rows_are_counted() {
        let text = "name,value\na,1\nlonger,22.123456789\nc,3\n";
        let shown = show(text, 2, 60).unwrap();
        assert_eq!(
            shown,
            " name    value\n a           1\n longer  22.1235\n… 1 more rows\n"
                .replace(" value", "   value")
                .replace("   1\n", "     1\n")
        );
        assert_eq!(show("a,b\n1\n", 2, 60), None);
    }
}
