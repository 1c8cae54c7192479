//! Markdown, set for a terminal: prose wrapped, code left alone, readable without colour.

use comrak::nodes::{AstNode, ListType, NodeValue};
use comrak::{Arena, Options, parse_document};
use console::{Style, measure_text_width};

/// Prose is not set wider than this, however wide the terminal is: long lines are hard to read.
const WIDTH_MAX: usize = 80;
/// Code begins this far in, so that it stands out where there is no colour.
const CODE_INDENT: &str = "    ";

/// The width for prose on this terminal.
pub(crate) fn width() -> usize {
    let (_, columns) = console::Term::stdout().size();
    usize::from(columns).clamp(20, WIDTH_MAX)
}

/// Sets a Markdown text.
pub(crate) fn render(text: &str, width: usize) -> String {
    let arena = Arena::new();
    let document = parse_document(&arena, text, &Options::default());
    let mut setter = Setter {
        width,
        lines: Vec::new(),
        indent: String::new(),
        bullet: None,
    };
    setter.blocks(document, false);
    while setter.lines.last().is_some_and(String::is_empty) {
        setter.lines.pop();
    }
    setter.lines.join("\n")
}

/// Wraps plain text, with `first` before its first line and as much space before the others.
pub(crate) fn wrap(text: &str, first: &str, width: usize) -> String {
    let mut words = Words::default();
    words.text(text, &Style::new());
    let indent = " ".repeat(measure_text_width(first));
    let lines = words.wrap(width.saturating_sub(indent.len()));
    let texts = lines.iter().enumerate().map(|(at, line)| {
        let lead = if at == 0 { first } else { indent.as_str() };
        format!("{lead}{line}")
    });
    texts.collect::<Vec<_>>().join("\n")
}

struct Setter {
    width: usize,
    lines: Vec<String>,
    indent: String,
    /// What the next line begins with instead of the last of the indent.
    bullet: Option<String>,
}

impl Setter {
    /// `tight` leaves no empty line between blocks, as in a list of short items.
    fn blocks<'a>(&mut self, parent: &'a AstNode<'a>, tight: bool) {
        for node in parent.children() {
            self.block(node);
            if !tight {
                self.blank();
            }
        }
    }

    fn block<'a>(&mut self, node: &'a AstNode<'a>) {
        match &node.data.borrow().value {
            NodeValue::Heading(heading) => self.heading(node, heading.level),
            NodeValue::CodeBlock(code) => self.code(&code.literal),
            NodeValue::List(list) => {
                let numbered = (list.list_type == ListType::Ordered).then_some(list.start);
                self.list(node, numbered, list.tight);
            }
            NodeValue::BlockQuote => self.indented("│ ", |setter| setter.blocks(node, false)),
            NodeValue::ThematicBreak => self.line(&"─".repeat(self.room())),
            NodeValue::Paragraph => self.paragraph(node, &Style::new()),
            // Whatever else there is holds text somewhere below.
            _ => self.paragraph(node, &Style::new()),
        }
    }

    fn heading<'a>(&mut self, node: &'a AstNode<'a>, level: u8) {
        let before = self.lines.len();
        self.paragraph(node, &Style::new().bold());
        let widest = self.lines[before..]
            .iter()
            .map(|line| measure_text_width(line))
            .max()
            .unwrap_or(0);
        match level {
            1 => self.line(&"═".repeat(widest)),
            2 => self.line(&"─".repeat(widest)),
            _ => {}
        }
    }

    fn code(&mut self, text: &str) {
        let style = Style::new().cyan();
        for line in text.trim_end_matches('\n').lines() {
            self.line(&format!("{CODE_INDENT}{}", style.apply_to(line)));
        }
    }

    fn list<'a>(&mut self, node: &'a AstNode<'a>, numbered: Option<usize>, tight: bool) {
        for (at, item) in node.children().enumerate() {
            let bullet =
                numbered.map_or_else(|| "• ".to_owned(), |start| format!("{}. ", start + at));
            let space = " ".repeat(measure_text_width(&bullet));
            self.bullet = Some(bullet);
            self.indented(&space, |setter| setter.blocks(item, tight));
            self.bullet = None;
        }
    }

    fn indented(&mut self, by: &str, set: impl FnOnce(&mut Self)) {
        let outer = self.indent.len();
        self.indent.push_str(by);
        set(self);
        while self
            .lines
            .last()
            .is_some_and(|line| line.trim() == by.trim())
            && !by.trim().is_empty()
        {
            self.lines.pop();
        }
        self.indent.truncate(outer);
    }

    fn paragraph<'a>(&mut self, node: &'a AstNode<'a>, style: &Style) {
        let mut words = Words::default();
        words.inline(node, style);
        for line in words.wrap(self.room()) {
            self.line(&line);
        }
    }

    fn room(&self) -> usize {
        self.width
            .saturating_sub(measure_text_width(&self.indent))
            .max(10)
    }

    fn line(&mut self, text: &str) {
        let lead = match self.bullet.take() {
            // The indent ends with as many spaces as the bullet is wide.
            Some(bullet) => {
                let kept = self
                    .indent
                    .chars()
                    .count()
                    .saturating_sub(measure_text_width(&bullet));
                self.indent.chars().take(kept).collect::<String>() + &bullet
            }
            None => self.indent.clone(),
        };
        self.lines
            .push(format!("{lead}{text}").trim_end().to_owned());
    }

    fn blank(&mut self) {
        let line = self.indent.trim_end().to_owned();
        if self.lines.last() != Some(&line) {
            self.lines.push(line);
        }
    }
}

/// Words to be wrapped; each may consist of pieces of different styles.
#[derive(Default)]
struct Words {
    words: Vec<Word>,
    /// The next piece continues the last word.
    open: bool,
}

#[derive(Default)]
struct Word {
    set: String,
    plain: String,
    /// A line ends after this word.
    last: bool,
}

impl Words {
    fn inline<'a>(&mut self, parent: &'a AstNode<'a>, style: &Style) {
        for node in parent.children() {
            match &node.data.borrow().value {
                NodeValue::Text(text) => self.text(text, style),
                NodeValue::Code(code) => self.code(&code.literal),
                NodeValue::SoftBreak => self.open = false,
                NodeValue::LineBreak => self.end_line(),
                NodeValue::Strong => self.inline(node, &style.clone().bold()),
                NodeValue::Emph => self.inline(node, &style.clone().italic()),
                NodeValue::Link(link) => {
                    self.inline(node, &style.clone().underlined());
                    let shown: Vec<_> = self
                        .words
                        .iter()
                        .rev()
                        .take(1)
                        .map(|word| word.plain.clone())
                        .collect();
                    if shown.first() != Some(&link.url) {
                        self.open = false;
                        self.text(&format!("({})", link.url), style);
                    }
                }
                _ => self.inline(node, style),
            }
        }
    }

    /// Without colour, code keeps its backticks: it would look like any word.
    fn code(&mut self, literal: &str) {
        if console::colors_enabled() {
            self.text(literal, &Style::new().cyan());
        } else {
            self.text(&format!("`{literal}`"), &Style::new());
        }
    }

    fn text(&mut self, text: &str, style: &Style) {
        for (at, word) in text.split(' ').enumerate() {
            if at > 0 {
                self.open = false;
            }
            if !word.is_empty() {
                self.piece(word, style);
            }
        }
    }

    fn piece(&mut self, piece: &str, style: &Style) {
        let (set, plain) = (style.apply_to(piece).to_string(), piece);
        let glue = match (self.open, self.words.last()) {
            (true, Some(_)) => Some(""),
            (false, Some(last)) if !last.last && (hangs_on(plain) || last.plain.ends_with('«')) => {
                Some(" ")
            }
            _ => None,
        };
        match (glue, self.words.last_mut()) {
            (Some(glue), Some(last)) => {
                last.set.push_str(glue);
                last.set.push_str(&set);
                last.plain.push_str(glue);
                last.plain.push_str(plain);
            }
            _ => self.words.push(Word {
                set,
                plain: plain.to_owned(),
                last: false,
            }),
        }
        self.open = true;
    }

    fn end_line(&mut self) {
        self.open = false;
        if let Some(last) = self.words.last_mut() {
            last.last = true;
        }
    }

    fn wrap(&self, width: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let (mut line, mut used) = (String::new(), 0);
        for word in &self.words {
            let needed = measure_text_width(&word.plain);
            if used > 0 && used + 1 + needed > width {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(&word.set);
            used += needed;
            if word.last {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
        }
        if !line.is_empty() {
            lines.push(line);
        }
        lines
    }
}

/// French sets a space before these marks, and a line must not begin with one.
fn hangs_on(word: &str) -> bool {
    matches!(word.chars().next(), Some(':' | ';' | '!' | '?' | '»')) && word.chars().count() <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(text: &str, width: usize, expected: &str) {
        console::set_colors_enabled(false);
        assert_eq!(render(text, width), expected);
    }

    #[test]
    fn prose_is_wrapped_and_code_is_not() {
        case(
            "## Look\n\nOne two three four `five six`, seven.\n\n```sh\nkubectl get pods --all-namespaces\n```\n\nEnd.",
            20,
            "Look\n────\n\nOne two three four\n`five six`, seven.\n\n    kubectl get pods --all-namespaces\n\nEnd.",
        );
    }

    #[test]
    fn lists_hang_their_lines() {
        case(
            "- one two three four\n- *five*\n\n1. a\n2. b\n",
            14,
            "• one two\n  three four\n• five\n\n1. a\n2. b",
        );
        case("- a\n\n  ```\n  x\n  ```\n- b", 20, "• a\n\n      x\n\n• b");
    }

    #[test]
    fn a_quote_has_a_bar_and_a_link_its_address() {
        case("> To be\n> or not", 40, "│ To be or not");
        case(
            "See [the docs](https://k8s.io) now",
            60,
            "See the docs (https://k8s.io) now",
        );
    }

    #[test]
    fn french_punctuation_does_not_begin_a_line() {
        case(
            "Regardez bien : « ceci » !",
            14,
            "Regardez\nbien :\n« ceci » !",
        );
    }

    #[test]
    fn a_hanging_paragraph_is_indented_below_its_lead() {
        console::set_colors_enabled(false);
        assert_eq!(
            wrap("one two three", "  cause  ", 17),
            "  cause  one two\n         three"
        );
    }
}
