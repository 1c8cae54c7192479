//! Columns of text as Go's tabwriter sets them for kubectl: at least six wide, three apart.

use console::measure_text_width;

const NARROWEST: usize = 6;
const GAP: usize = 3;

/// Sets rows, and remembers how wide columns were: rows of a watch come one by one.
#[derive(Clone, Debug, Default)]
pub(super) struct Tabs {
    widths: Vec<usize>,
}

impl Tabs {
    /// The rows as lines. `padded` pads the last column too, as some of kubectl's printers do.
    pub(super) fn lines(&mut self, rows: &[Vec<String>], padded: bool) -> Vec<String> {
        for row in rows {
            let last = row.len().saturating_sub(usize::from(!padded));
            for (at, cell) in row.iter().take(last).enumerate() {
                let width = (measure_text_width(cell) + GAP).max(NARROWEST);
                match self.widths.get_mut(at) {
                    Some(known) => *known = (*known).max(width),
                    None => self.widths.push(width),
                }
            }
        }
        rows.iter().map(|row| self.line(row, padded)).collect()
    }

    fn line(&self, row: &[String], padded: bool) -> String {
        let mut text = String::new();
        for (at, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if padded || at + 1 < row.len() {
                let width = self.widths.get(at).copied().unwrap_or_default();
                text.push_str(&" ".repeat(width.saturating_sub(measure_text_width(cell))));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter()
            .map(|row| row.iter().map(|cell| (*cell).to_owned()).collect())
            .collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_three_more() {
        let lines = Tabs::default().lines(
            &rows(&[&["NAME", "A", "AGE"], &["hello-world", "1", "5m"]]),
            false,
        );
        assert_eq!(lines, ["NAME          A     AGE", "hello-world   1     5m"]);
    }

    #[test]
    fn rows_that_come_later_keep_the_columns() {
        let mut tabs = Tabs::default();
        tabs.lines(&rows(&[&["NAME", "AGE"], &["hello-world", "5m"]]), false);
        assert_eq!(
            tabs.lines(&rows(&[&["a", "1s"]]), false),
            ["a             1s"]
        );
    }
}
