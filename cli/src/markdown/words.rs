//! What stands in lines: words, each of pieces with styles, wrapped to a width.

use comrak::nodes::{AstNode, NodeLink, NodeValue};
use console::{Style, measure_text_width};
use lab_checks::language::Language;

use super::Look;

/// Words to be wrapped.
pub(super) struct Words {
    look: Look,
    words: Vec<Word>,
    /// The next piece continues the last word.
    open: bool,
    /// Where the present link leads.
    link: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Word {
    pieces: Vec<Piece>,
    /// A line ends after this word.
    last: bool,
}

#[derive(Clone, Debug)]
struct Piece {
    text: String,
    style: Style,
    link: Option<String>,
}

impl Piece {
    /// With its style; the address of a link is told to the terminal.
    /// <https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda>
    fn set(&self) -> String {
        let text = self.style.apply_to(&self.text).to_string();
        match &self.link {
            Some(address) => format!("\u{1b}]8;;{address}\u{1b}\\{text}\u{1b}]8;;\u{1b}\\"),
            None => text,
        }
    }
}

impl Word {
    fn width(&self) -> usize {
        self.pieces
            .iter()
            .map(|piece| measure_text_width(&piece.text))
            .sum()
    }

    fn ends_with(&self, letter: char) -> bool {
        self.pieces
            .last()
            .is_some_and(|piece| piece.text.ends_with(letter))
    }
}

impl Words {
    pub(super) fn new(look: Look) -> Self {
        Self {
            look,
            words: Vec::new(),
            open: false,
            link: None,
        }
    }

    pub(super) fn inline<'a>(&mut self, parent: &'a AstNode<'a>, style: &Style) {
        for node in parent.children() {
            match &node.data.borrow().value {
                NodeValue::Text(text) => self.text(text, style),
                NodeValue::Code(code) => self.code(&code.literal, style),
                NodeValue::SoftBreak => self.open = false,
                NodeValue::LineBreak => self.end_line(),
                NodeValue::Strong => self.inline(node, &style.clone().bold()),
                NodeValue::Emph => self.inline(node, &style.clone().italic()),
                NodeValue::Strikethrough => self.inline(node, &style.clone().strikethrough()),
                NodeValue::Link(link) => self.link(node, link, style),
                NodeValue::Image(image) => self.image(node, image, style),
                NodeValue::HtmlInline(_) => {}
                _ => self.inline(node, style),
            }
        }
    }

    /// The address stands behind the words where the terminal cannot hide it in them. Addresses
    /// inside the document itself would tell nothing.
    fn link<'a>(&mut self, node: &'a AstNode<'a>, link: &NodeLink, style: &Style) {
        let outside = link.url.contains("://") || link.url.starts_with("mailto:");
        if self.look.colour {
            self.link = outside.then(|| link.url.clone());
            self.inline(node, &style.clone().underlined());
            self.link = None;
            return;
        }
        self.inline(node, style);
        let shown = self.words.last().map(|word| {
            word.pieces
                .iter()
                .map(|piece| piece.text.as_str())
                .collect::<String>()
        });
        if outside && shown.as_deref() != Some(&link.url) {
            self.open = false;
            self.text(&format!("({})", link.url), style);
        }
    }

    /// A terminal shows what the image is of.
    fn image<'a>(&mut self, node: &'a AstNode<'a>, image: &NodeLink, style: &Style) {
        let style = style.clone().italic().dim();
        let colon = match self.look.language {
            Language::En => "[Image:",
            Language::Fr => "[Image\u{a0}:",
        };
        self.text(colon, &style);
        self.open = false;
        let before = self.words.len();
        self.inline(node, &style);
        if self.words.len() == before {
            self.text(image.url.rsplit('/').next().unwrap_or_default(), &style);
        }
        self.open = true;
        self.piece("]", &style);
    }

    /// Without colour, code keeps its backticks: it would look like any word.
    fn code(&mut self, literal: &str, style: &Style) {
        if self.look.colour {
            self.text(literal, &style.clone().cyan());
        } else {
            self.text(&format!("`{literal}`"), style);
        }
    }

    /// Words and the spaces between them.
    pub(super) fn text(&mut self, text: &str, style: &Style) {
        for (at, word) in text.split(' ').enumerate() {
            if at > 0 {
                self.open = false;
            }
            if !word.is_empty() {
                self.piece(word, style);
            }
        }
    }

    fn piece(&mut self, text: &str, style: &Style) {
        let piece = |text: &str| Piece {
            text: text.to_owned(),
            style: style.clone(),
            link: self.link.clone(),
        };
        let hangs = |last: &Word| !last.last && (hangs_on(text) || last.ends_with('«'));
        match self.words.last_mut() {
            Some(last) if self.open => last.pieces.push(piece(text)),
            Some(last) if hangs(last) => last.pieces.extend([piece(" "), piece(text)]),
            _ => self.words.push(Word {
                pieces: vec![piece(text)],
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

    /// Columns of all words in one line.
    pub(super) fn natural_width(&self) -> usize {
        let words: usize = self.words.iter().map(Word::width).sum();
        words + self.words.len().saturating_sub(1)
    }

    /// Columns of the widest word.
    pub(super) fn widest_word(&self) -> usize {
        self.words.iter().map(Word::width).max().unwrap_or_default()
    }

    /// Lines of at most so many columns; a word that is wider stands on a line of its own.
    pub(super) fn wrap(&self, width: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line: Vec<Piece> = Vec::new();
        let mut used = 0;
        for word in &self.words {
            let needed = word.width();
            if used > 0 && used + 1 + needed > width {
                lines.push(set(&line));
                line.clear();
                used = 0;
            }
            if used > 0 {
                line.push(self.space(&line, word));
                used += 1;
            }
            line.extend(word.pieces.iter().cloned());
            used += needed;
            if word.last {
                lines.push(set(&line));
                line.clear();
                used = 0;
            }
        }
        if !line.is_empty() {
            lines.push(set(&line));
        }
        lines
    }

    /// The space before a word, which belongs to a run of words that look alike.
    fn space(&self, line: &[Piece], word: &Word) -> Piece {
        let alike = |(before, after): &(&Piece, &Piece)| {
            before.style == after.style && before.link == after.link
        };
        let pair = line.last().zip(word.pieces.first()).filter(alike);
        Piece {
            text: " ".to_owned(),
            style: pair.map_or_else(|| self.look.style(), |(before, _)| before.style.clone()),
            link: pair.and_then(|(before, _)| before.link.clone()),
        }
    }
}

/// The pieces of a line, those that look alike as one.
fn set(line: &[Piece]) -> String {
    let mut runs: Vec<Piece> = Vec::new();
    for piece in line {
        match runs.last_mut() {
            Some(last) if last.style == piece.style && last.link == piece.link => {
                last.text.push_str(&piece.text);
            }
            _ => runs.push(piece.clone()),
        }
    }
    runs.iter().map(Piece::set).collect()
}

/// French sets a space before these marks, and a line must not begin with one.
fn hangs_on(word: &str) -> bool {
    matches!(word.chars().next(), Some(':' | ';' | '!' | '?' | '»')) && word.chars().count() <= 2
}
