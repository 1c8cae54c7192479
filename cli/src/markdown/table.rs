//! Tables: columns as wide as they need, or as there is room for; where there is hardly any, each
//! row as a list.

use comrak::nodes::{AstNode, NodeTable, NodeValue, TableAlignment};
use console::measure_text_width;

use super::Look;
use super::words::Words;

/// Columns between two cells.
const GAP: usize = 2;
/// A column that would be narrower than this is not worth having.
const NARROWEST: usize = 6;

/// The lines of a table.
pub(super) fn lines<'a>(
    table: &'a AstNode<'a>,
    content: &NodeTable,
    width: usize,
    look: Look,
) -> Vec<String> {
    let rows: Vec<Vec<Words>> = table.children().map(|row| cells(row, look)).collect();
    let Some((head, body)) = rows.split_first() else {
        return Vec::new();
    };
    let columns = content.num_columns;
    let most = |measure: fn(&Words) -> usize| -> Vec<usize> {
        let of_column = |column| {
            rows.iter()
                .filter_map(move |row: &Vec<Words>| row.get(column))
        };
        (0..columns)
            .map(|column| of_column(column).map(measure).max().unwrap_or(0))
            .collect()
    };
    let room = width.saturating_sub(GAP * columns.saturating_sub(1));
    let natural = most(Words::natural_width);
    let words = most(Words::widest_word);
    let Some(widths) = widths(&natural, &words, room) else {
        return stacked(head, body, width);
    };
    let mut lines = set_row(head, &widths, &content.alignments);
    let rule: Vec<_> = widths.iter().map(|width| "─".repeat(*width)).collect();
    lines.push(
        look.style()
            .dim()
            .apply_to(rule.join(&" ".repeat(GAP)))
            .to_string(),
    );
    let wrapped = natural
        .iter()
        .zip(&widths)
        .any(|(natural, width)| natural > width);
    for (at, row) in body.iter().enumerate() {
        // Rows of several lines need something between them.
        if wrapped && at > 0 {
            lines.push(String::new());
        }
        lines.extend(set_row(row, &widths, &content.alignments));
    }
    lines
}

fn cells<'a>(row: &'a AstNode<'a>, look: Look) -> Vec<Words> {
    let head = matches!(row.data.borrow().value, NodeValue::TableRow(true));
    let style = if head {
        look.style().bold()
    } else {
        look.style()
    };
    let cell = |cell: &'a AstNode<'a>| {
        let mut words = Words::new(look);
        words.inline(cell, &style);
        words
    };
    row.children().map(cell).collect()
}

/// Widths that fit: the widest columns give way first, and none below its widest word. Nothing
/// where that is too narrow.
fn widths(natural: &[usize], words: &[usize], room: usize) -> Option<Vec<usize>> {
    let fits = |cap: usize| -> Vec<usize> {
        let column = |(natural, word): (&usize, &usize)| (*natural).min(cap.max(*word));
        natural.iter().zip(words).map(column).collect()
    };
    let widest = natural.iter().copied().max().unwrap_or(0);
    (NARROWEST..=widest.max(NARROWEST))
        .rev()
        .map(fits)
        .find(|widths| widths.iter().sum::<usize>() <= room)
}

fn set_row(row: &[Words], widths: &[usize], alignments: &[TableAlignment]) -> Vec<String> {
    let cells: Vec<_> = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| cell.wrap(*width))
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let line = |at: usize| {
        let mut line = String::new();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if column > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let text = cell.get(at).map_or("", String::as_str);
            line.push_str(&aligned(text, *width, alignments.get(column).copied()));
        }
        line.trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

fn aligned(text: &str, width: usize, alignment: Option<TableAlignment>) -> String {
    let free = width.saturating_sub(shown_width(text));
    let before = match alignment {
        Some(TableAlignment::Right) => free,
        Some(TableAlignment::Center) => free / 2,
        Some(TableAlignment::Left | TableAlignment::None) | None => 0,
    };
    format!("{}{text}{}", " ".repeat(before), " ".repeat(free - before))
}

/// Columns of a text, without the addresses of its links.
fn shown_width(text: &str) -> usize {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}]8;;") {
        shown.push_str(before);
        rest = after.split_once("\u{1b}\\").map_or("", |(_, after)| after);
    }
    shown.push_str(rest);
    measure_text_width(&shown)
}

/// Each row as lines of heading and cell.
fn stacked(head: &[Words], body: &[Vec<Words>], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, row) in body.iter().enumerate() {
        if at > 0 {
            lines.push(String::new());
        }
        for (heading, cell) in head.iter().zip(row) {
            lines.extend(heading.wrap(width));
            let inside = cell.wrap(width.saturating_sub(GAP));
            lines.extend(
                inside
                    .into_iter()
                    .map(|line| format!("{}{line}", " ".repeat(GAP))),
            );
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_columns_give_way_first() {
        assert_eq!(widths(&[5, 10], &[5, 5], 20), Some(vec![5, 10]));
        assert_eq!(widths(&[5, 40], &[5, 8], 20), Some(vec![5, 15]));
        assert_eq!(widths(&[30, 40], &[8, 8], 40), Some(vec![20, 20]));
        assert_eq!(widths(&[30, 40], &[25, 8], 40), Some(vec![25, 15]));
        assert_eq!(widths(&[30, 40], &[30, 30], 40), None);
    }

    #[test]
    fn an_address_takes_no_room() {
        assert_eq!(
            shown_width("\u{1b}]8;;https://x.example\u{1b}\\é x\u{1b}]8;;\u{1b}\\."),
            4
        );
    }
}
