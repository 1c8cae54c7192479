//! Markdown, set for a terminal: prose wrapped, code coloured and left alone, tables fitted,
//! readable without colour.
//!
//! `blocks` sets what stands on lines of its own, `words` what stands in them, `table` finds the
//! widths of columns, and `code` colours code.

mod blocks;
mod code;
mod table;
#[cfg(test)]
mod tests;
mod words;

use comrak::{Arena, Options, parse_document};
use console::{Style, measure_text_width};
use lab_checks::language::Language;

use blocks::Setter;
use words::Words;

/// Prose is not set wider than this, however wide the terminal is: long lines are hard to read.
const PROSE_MAX: usize = 80;
/// Nothing is set narrower than this.
const NARROWEST: usize = 20;

/// How a text is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Columns that there are; tables may use them all.
    pub(crate) columns: usize,
    /// Colours, and addresses behind their links instead of beside them.
    pub(crate) colour: bool,
    /// Of the words that the setting itself adds.
    pub(crate) language: Language,
}

impl Look {
    /// What this terminal allows.
    pub(crate) fn here(language: Language) -> Self {
        Self {
            columns: columns(),
            colour: console::colors_enabled(),
            language,
        }
    }

    /// A style that does not ask the terminal again.
    fn style(self) -> Style {
        Style::new().force_styling(self.colour)
    }
}

fn columns() -> usize {
    let (_, columns) = console::Term::stdout().size();
    usize::from(columns).max(NARROWEST)
}

/// The width for prose on this terminal.
pub(crate) fn width() -> usize {
    columns().min(PROSE_MAX)
}

/// Sets a Markdown text.
pub(crate) fn render(text: &str, look: Look) -> String {
    let mut options = Options::default();
    options.extension.table = true;
    options.extension.tasklist = true;
    options.extension.alerts = true;
    options.extension.strikethrough = true;
    let arena = Arena::new();
    let document = parse_document(&arena, text, &options);
    let mut setter = Setter::new(look);
    setter.blocks(document, false);
    setter.finish()
}

/// Wraps plain text, with `first` before its first line and as much space before the others.
pub(crate) fn wrap(text: &str, first: &str, width: usize) -> String {
    let look = Look {
        columns: width,
        colour: false,
        language: Language::default(),
    };
    let mut words = Words::new(look);
    words.text(text, &look.style());
    let indent = " ".repeat(measure_text_width(first));
    let lines = words.wrap(width.saturating_sub(indent.len()));
    let texts = lines.iter().enumerate().map(|(at, line)| {
        let lead = if at == 0 { first } else { indent.as_str() };
        format!("{lead}{line}")
    });
    texts.collect::<Vec<_>>().join("\n")
}
