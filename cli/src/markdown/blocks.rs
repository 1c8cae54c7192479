//! What stands on lines of its own: headings, paragraphs, lists, code, tables, callouts.

use comrak::nodes::{AlertType, AstNode, ListType, NodeValue};
use console::{Style, measure_text_width};
use lab_checks::language::Language;

use super::words::Words;
use super::{Look, PROSE_MAX, code, table};

/// Code begins this far in, so that it stands out where there is no colour.
const CODE_INDENT: &str = "    ";
/// Prose is not squeezed below this, however deep it stands.
const LEAST_ROOM: usize = 10;

/// A text in the making.
pub(super) struct Setter {
    look: Look,
    lines: Vec<String>,
    /// What every line begins with, from the outermost block to the innermost.
    indent: Vec<String>,
    /// What the next line begins with instead of the last of the indent.
    bullet: Option<String>,
}

impl Setter {
    pub(super) fn new(look: Look) -> Self {
        Self {
            look,
            lines: Vec::new(),
            indent: Vec::new(),
            bullet: None,
        }
    }

    /// The lines, without empty ones at the end.
    pub(super) fn finish(mut self) -> String {
        while self.lines.last().is_some_and(String::is_empty) {
            self.lines.pop();
        }
        self.lines.join("\n")
    }

    /// `tight` leaves no empty line between blocks, as in a list of short items.
    pub(super) fn blocks<'a>(&mut self, parent: &'a AstNode<'a>, tight: bool) {
        for node in parent.children() {
            self.block(node);
            if !tight {
                self.blank();
            }
        }
    }

    fn block<'a>(&mut self, node: &'a AstNode<'a>) {
        let style = self.look.style();
        match &node.data.borrow().value {
            NodeValue::Heading(heading) => self.heading(node, heading.level),
            NodeValue::CodeBlock(block) => {
                let language = block.info.split([' ', ',', '{']).next().unwrap_or_default();
                for line in code::lines(&block.literal, language, self.look) {
                    self.line(&format!("{CODE_INDENT}{line}"));
                }
            }
            NodeValue::List(list) => {
                let numbered = (list.list_type == ListType::Ordered).then_some(list.start);
                self.list(node, numbered, list.tight);
            }
            NodeValue::BlockQuote => {
                let bar = format!("{} ", style.dim().apply_to("│"));
                self.indented(&bar, |setter| setter.blocks(node, false));
            }
            NodeValue::Alert(alert) => {
                let (title, colour) = callout(alert.alert_type, self.look.language);
                let style = colour(style);
                let title = alert.title.as_deref().unwrap_or(title);
                let bar = format!("{} ", style.apply_to("┃"));
                self.indented(&bar, |setter| {
                    setter.line(&style.clone().bold().apply_to(title).to_string());
                    setter.blocks(node, false);
                });
            }
            NodeValue::Table(content) => {
                let width = self.look.columns.saturating_sub(self.indent_width());
                for line in table::lines(node, content, width, self.look) {
                    self.line(&line);
                }
            }
            NodeValue::ThematicBreak => {
                self.line(&style.dim().apply_to("─".repeat(self.room())).to_string());
            }
            // Comments are for authors, and tags for browsers.
            NodeValue::HtmlBlock(_) => {}
            // Whatever else there is holds text somewhere below.
            _ => self.paragraph(node, &style),
        }
    }

    fn heading<'a>(&mut self, node: &'a AstNode<'a>, level: u8) {
        let before = self.lines.len();
        let style = self.look.style();
        self.paragraph(node, &style.clone().bold());
        let indent = self.indent_width();
        let set = self.lines[before..].iter();
        let widest = set.map(|line| measure_text_width(line)).max().unwrap_or(0);
        let rule = match level {
            1 => "═",
            2 => "─",
            _ => return,
        };
        let rule = rule.repeat(widest.saturating_sub(indent));
        self.line(&style.dim().apply_to(rule).to_string());
    }

    fn list<'a>(&mut self, node: &'a AstNode<'a>, numbered: Option<usize>, tight: bool) {
        // All items of a list hang by the same width.
        let last = numbered.map(|start| start + node.children().count().saturating_sub(1));
        let digits = last.map_or(0, |last| last.to_string().len());
        for (at, item) in node.children().enumerate() {
            let bullet = match (&item.data.borrow().value, numbered) {
                (NodeValue::TaskItem(task), _) if task.symbol.is_some() => {
                    format!("{} ", self.look.style().green().apply_to("☑"))
                }
                (NodeValue::TaskItem(_), _) => "☐ ".to_owned(),
                (_, Some(start)) => format!("{:>digits$}. ", start + at),
                (_, None) => "• ".to_owned(),
            };
            let space = " ".repeat(measure_text_width(&bullet));
            self.bullet = Some(bullet);
            self.indented(&space, |setter| setter.blocks(item, tight));
            // An empty item still has its bullet.
            if self.bullet.is_some() {
                self.indented(&space, |setter| setter.line(""));
            }
        }
    }

    fn indented(&mut self, by: &str, set: impl FnOnce(&mut Self)) {
        self.indent.push(by.to_owned());
        let bar = self.indent.concat().trim_end().to_owned();
        set(self);
        // A bar does not go on below its last line.
        while !by.trim().is_empty() && self.lines.last() == Some(&bar) {
            self.lines.pop();
        }
        self.indent.pop();
    }

    fn paragraph<'a>(&mut self, node: &'a AstNode<'a>, style: &Style) {
        let mut words = Words::new(self.look);
        words.inline(node, style);
        for line in words.wrap(self.room()) {
            self.line(&line);
        }
    }

    fn indent_width(&self) -> usize {
        self.indent
            .iter()
            .map(|part| measure_text_width(part))
            .sum()
    }

    /// The width for prose.
    fn room(&self) -> usize {
        let columns = self.look.columns.min(PROSE_MAX);
        columns.saturating_sub(self.indent_width()).max(LEAST_ROOM)
    }

    fn line(&mut self, text: &str) {
        let lead = match (self.bullet.take(), self.indent.split_last()) {
            (Some(bullet), Some((_, outer))) => outer.concat() + &bullet,
            _ => self.indent.concat(),
        };
        self.lines
            .push(format!("{lead}{text}").trim_end().to_owned());
    }

    fn blank(&mut self) {
        let line = self.indent.concat().trim_end().to_owned();
        if self.lines.last() != Some(&line) {
            self.lines.push(line);
        }
    }
}

/// The heading of a callout, and its colour.
fn callout(kind: AlertType, language: Language) -> (&'static str, fn(Style) -> Style) {
    let (en, fr, colour): (_, _, fn(Style) -> Style) = match kind {
        AlertType::Note => ("Note", "Remarque", Style::blue),
        AlertType::Tip => ("Tip", "Astuce", Style::green),
        AlertType::Important => ("Important", "Important", Style::magenta),
        AlertType::Warning => ("Warning", "Attention", Style::yellow),
        AlertType::Caution => ("Caution", "Danger", Style::red),
    };
    let title = match language {
        Language::En => en,
        Language::Fr => fr,
    };
    (title, colour)
}
