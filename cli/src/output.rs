//! Printing: data to stdout, progress and errors to stderr, readable without colour.

use std::cell::RefCell;
use std::fmt::{Display, Write};
use std::io;

use console::{Style, measure_text_width, style};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

thread_local! {
    /// What [`gather`] has gathered so far; none where lines are written.
    static GATHERED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Writes lines to standard output; a closed pipe (`| head`) ends the output in silence.
pub(crate) fn line(text: impl Display) {
    let gathered = GATHERED.with_borrow_mut(|gathered| {
        gathered.as_mut().map(|page| {
            let _ = writeln!(page, "{text}");
        })
    });
    if gathered.is_none() {
        let _ = io::Write::write_fmt(&mut io::stdout(), format_args!("{text}\n"));
    }
}

/// What would have been printed: for pages that are drawn over one another.
pub(crate) fn gather(print: impl FnOnce()) -> String {
    GATHERED.set(Some(String::new()));
    print();
    GATHERED.take().unwrap_or_default()
}

/// An empty line.
pub(crate) fn blank() {
    line("");
}

/// Writes a line to standard error.
pub(crate) fn note(text: impl Display) {
    let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("{text}\n"));
}

/// Writes bytes as they are.
pub(crate) fn raw(bytes: &[u8]) -> io::Result<()> {
    io::Write::write_all(&mut io::stdout(), bytes)?;
    io::Write::flush(&mut io::stdout())
}

/// Writes a value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(value)?);
    Ok(())
}

/// An error with its causes, each once, on standard error.
pub(crate) fn report(error: &anyhow::Error) {
    let mut said = error.to_string();
    note(format_args!(
        "{} {said}",
        style("error:").for_stderr().red().bold()
    ));
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            note(format_args!("  cause: {cause}"));
        }
        said.push_str(&cause);
    }
}

/// Something that went well.
pub(crate) fn good(text: &str) -> String {
    style(text).green().to_string()
}

/// Something to look at.
pub(crate) fn warn(text: &str) -> String {
    style(text).yellow().to_string()
}

/// Something wrong.
pub(crate) fn bad(text: &str) -> String {
    style(text).red().bold().to_string()
}

/// Something in the background.
pub(crate) fn faint(text: &str) -> String {
    style(text).dim().to_string()
}

/// A command to type, or a heading.
pub(crate) fn strong(text: &str) -> String {
    style(text).bold().to_string()
}

/// A table whose columns are as wide as their widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<_> = head.iter().map(|cell| measure_text_width(cell)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(measure_text_width(cell));
        }
    }
    let print = |cells: &[String], look: &Style| {
        let mut text = String::new();
        for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let last = at + 1 == cells.len();
            let padding = if last {
                0
            } else {
                width - measure_text_width(cell) + 3
            };
            text.push_str(&look.apply_to(cell).to_string());
            text.push_str(&" ".repeat(padding));
        }
        line(text.trim_end());
    };
    let head: Vec<_> = head.iter().map(|cell| (*cell).to_owned()).collect();
    print(&head, &Style::new().dim());
    for row in rows {
        print(row, &Style::new());
    }
}
/// `14:03:07`, where the user is.
pub(crate) fn clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system())
        .strftime("%H:%M:%S")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_gathered_only_while_somebody_gathers() {
        let page = gather(|| {
            line("one");
            blank();
        });
        assert_eq!(page, "one\n\n");
        assert_eq!(gather(|| ()), "");
        assert!(GATHERED.with_borrow(Option::is_none));
    }
}
