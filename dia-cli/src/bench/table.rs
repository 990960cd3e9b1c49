//! Tables in Markdown, aligned to be read as plain text too.

/// A table with the given heads and rows of as many cells.
pub(crate) fn markdown(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heads[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule: String = widths.iter().map(|width| "-".repeat(width + 2) + "|").collect();
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    line(heads.to_vec()) + "|" + &rule + "\n" + &body.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::markdown;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let table = markdown(&["φ", "P"], &[vec!["> 1".into(), "1".into()]]);
        assert_eq!(table, "| φ   | P |\n|-----|---|\n| > 1 | 1 |\n");
    }
}
