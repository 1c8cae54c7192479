//! The Markdown of a slide as HTML.

use std::fmt::{self, Write as _};

use comrak::html::{ChildRendering, Context, format_document_with_formatter, format_node_default};
use comrak::nodes::{AstNode, ListType, NodeValue};
use comrak::{Arena, Options, parse_document};
use lab_checks::language::Language;
use lab_checks::library::Labs;
use lab_checks::problem::Problem;

use crate::blocks;
use crate::html::escape;
use crate::parts::Chunk;

/// What the words of a slide may refer to.
pub(crate) struct Around<'a> {
    /// The file, as its author knows it.
    pub(crate) file: &'a str,
    pub(crate) language: Language,
    pub(crate) labs: &'a Labs,
    /// Reads a picture beside the file.
    pub(crate) picture: &'a dyn Fn(&str) -> Option<Vec<u8>>,
}

/// What grows while a slide is rendered.
pub(crate) struct State<'a> {
    pub(crate) around: &'a Around<'a>,
    pub(crate) problems: &'a mut Vec<Problem>,
    /// How many steps there are so far.
    pub(crate) steps: u16,
    /// Line of the file that the text begins at.
    line: u64,
    /// Width and height that a block may take, in pixels of the stage.
    pub(crate) room: (f64, f64),
    /// Lists do not appear one by one, and code has no steps: the speaker's notes.
    still: bool,
}

impl State<'_> {
    /// Reports a fault at a line of the text.
    pub(crate) fn fault(&mut self, line: usize, message: impl Into<String>, hint: Option<&str>) {
        let line = self.line + (line as u64).saturating_sub(1);
        let problem = Problem::of_file(self.around.file, message).at(line, 1);
        self.problems.push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
    }

    /// The number of a step that comes now.
    pub(crate) fn step(&mut self) -> u16 {
        self.steps = self.steps.saturating_add(1);
        self.steps
    }
}

/// Renders one slide's chunks, one after the other.
pub(crate) struct Renderer<'a> {
    around: &'a Around<'a>,
    pub(crate) steps: u16,
}

impl<'a> Renderer<'a> {
    pub(crate) fn new(around: &'a Around<'a>) -> Self {
        Self { around, steps: 0 }
    }

    /// What is seen.
    pub(crate) fn words(
        &mut self,
        chunk: &Chunk,
        room: (f64, f64),
        problems: &mut Vec<Problem>,
    ) -> String {
        self.render(chunk, room, false, problems)
    }

    /// What is said.
    pub(crate) fn notes(&mut self, chunk: &Chunk, problems: &mut Vec<Problem>) -> String {
        self.render(chunk, (f64::MAX, f64::MAX), true, problems)
    }

    fn render(
        &mut self,
        chunk: &Chunk,
        room: (f64, f64),
        still: bool,
        problems: &mut Vec<Problem>,
    ) -> String {
        let arena = Arena::new();
        let options = options();
        let document = parse_document(&arena, &chunk.text, &options);
        let state = State {
            around: self.around,
            problems,
            steps: self.steps,
            line: chunk.line,
            room: shared(document, room),
            still,
        };
        let mut out = String::new();
        let plugins = comrak::options::Plugins::default();
        let ended =
            format_document_with_formatter(document, &options, &mut out, &plugins, node, state);
        if let Ok(state) = ended {
            self.steps = state.steps;
        }
        out
    }
}

/// Height of a line of prose, of the gap between blocks, and width of a letter, in pixels of the
/// stage.
const LINE: f64 = 43.0;
const GAP: f64 = 26.0;
const LETTER: f64 = 17.0;

/// The room that is left for each block of code or diagram beside the prose.
fn shared<'a>(document: &'a AstNode<'a>, (width, height): (f64, f64)) -> (f64, f64) {
    let (mut blocks, mut taken) = (0_u32, -GAP);
    for child in document.children() {
        taken += GAP;
        let rows = |node: &'a AstNode<'a>| {
            let mut text = String::new();
            plain(node, &mut text);
            #[expect(clippy::cast_precision_loss)]
            let letters = text.chars().count() as f64;
            (letters * LETTER / width).ceil().max(1.0) * LINE
        };
        taken += match &child.data.borrow().value {
            NodeValue::CodeBlock(_) => {
                blocks += 1;
                0.0
            }
            NodeValue::List(_) => child.children().map(|item| rows(item) + GAP / 2.0).sum(),
            NodeValue::HtmlBlock(_) => 0.0,
            _ => rows(child),
        };
    }
    let left = (height - taken.max(0.0)) / f64::from(blocks.max(1));
    (width, left.max(LINE))
}

fn options() -> Options<'static> {
    let mut options = Options::default();
    options.extension.table = true;
    options.extension.strikethrough = true;
    options
}

fn node<'a>(
    context: &mut Context<'_, '_, State<'_>>,
    node: &'a AstNode<'a>,
    entering: bool,
) -> Result<ChildRendering, fmt::Error> {
    let line = node.data.borrow().sourcepos.start.line;
    match &node.data.borrow().value {
        NodeValue::CodeBlock(block) => {
            if entering {
                let html = blocks::block(&mut context.user, line, &block.info, &block.literal);
                context.cr()?;
                context.write_str(&html)?;
                context.lf()?;
            }
            return Ok(ChildRendering::Skip);
        }
        NodeValue::Item(list)
            if list.list_type == ListType::Bullet
                && list.bullet_char == b'+'
                && !context.user.still =>
        {
            if entering {
                let step = context.user.step();
                context.cr()?;
                write!(context, "<li class=\"fragment\" data-step=\"{step}\">")?;
            } else {
                context.write_str("</li>")?;
                context.lf()?;
            }
            return Ok(ChildRendering::HTML);
        }
        NodeValue::HtmlBlock(block) => {
            if entering && !is_comment(&block.literal) {
                raw(&mut context.user, line);
            }
            return Ok(ChildRendering::Skip);
        }
        NodeValue::HtmlInline(html) => {
            if entering && !is_comment(html) {
                raw(&mut context.user, line);
            }
            return Ok(ChildRendering::Skip);
        }
        NodeValue::Link(link) => {
            if entering {
                // A slide's own address begins with #; elsewhere leads only what says so.
                if !["https://", "http://", "#"]
                    .iter()
                    .any(|begin| link.url.starts_with(begin))
                {
                    let message = format!("the link to {:?} leads nowhere", link.url);
                    let hint = "write https://…, or # and the id of a slide";
                    context.user.fault(line, message, Some(hint));
                }
                let url = escape(&link.url);
                if link.url.starts_with('#') {
                    write!(context, "<a href=\"{url}\">")?;
                } else {
                    write!(
                        context,
                        "<a href=\"{url}\" target=\"_blank\" rel=\"noreferrer\">"
                    )?;
                }
            } else {
                context.write_str("</a>")?;
            }
            return Ok(ChildRendering::HTML);
        }
        NodeValue::Image(image) => {
            if entering {
                let mut text = String::new();
                plain(node, &mut text);
                let html = blocks::picture(&mut context.user, line, &image.url, &text);
                context.write_str(&html)?;
            }
            return Ok(ChildRendering::Skip);
        }
        _ => {}
    }
    format_node_default(context, node, entering)
}

fn is_comment(html: &str) -> bool {
    html.trim_start().starts_with("<!--")
}

fn raw(state: &mut State<'_>, line: usize) {
    let hint = "write Markdown; a comment <!-- … --> is for authors and allowed";
    state.fault(line, "HTML is not shown on slides", Some(hint));
}

/// The heading that a slide begins with, cut off its text, and its plain words.
pub(crate) fn heading(chunk: &Chunk) -> (Chunk, Chunk, String) {
    let first = chunk.text.lines().next().unwrap_or_default();
    if !first.starts_with('#') {
        return (Chunk::default(), chunk.clone(), String::new());
    }
    let head = Chunk {
        text: first.to_owned(),
        line: chunk.line,
    };
    let rest = Chunk {
        text: chunk.text[first.len()..]
            .trim_start_matches('\n')
            .to_owned(),
        line: chunk.line + 1 + leading_breaks(&chunk.text[first.len()..]),
    };
    let arena = Arena::new();
    let mut title = String::new();
    plain(parse_document(&arena, first, &options()), &mut title);
    (head, rest, title)
}

fn leading_breaks(text: &str) -> u64 {
    let breaks = text.chars().take_while(|it| *it == '\n').count() as u64;
    breaks.saturating_sub(1)
}

/// The words below a node, without markup.
fn plain<'a>(node: &'a AstNode<'a>, out: &mut String) {
    match &node.data.borrow().value {
        NodeValue::Text(text) => out.push_str(text),
        NodeValue::Code(code) => out.push_str(&code.literal),
        NodeValue::SoftBreak | NodeValue::LineBreak => out.push(' '),
        _ => {}
    }
    for child in node.children() {
        plain(child, out);
    }
}

/// The shell's code in a text, block by block.
pub(crate) fn shell_blocks(text: &str) -> Vec<String> {
    let arena = Arena::new();
    let document = parse_document(&arena, text, &options());
    let mut found = Vec::new();
    for node in document.descendants() {
        if let NodeValue::CodeBlock(block) = &node.data.borrow().value
            && block.info.split_whitespace().next() == Some("sh")
        {
            found.push(block.literal.trim_end().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> (String, u16, Vec<String>) {
        let labs = Labs::embedded().unwrap();
        let around = Around {
            file: "en.md",
            language: Language::En,
            labs: &labs,
            picture: &|name| (name == "cat.png").then(|| b"png".to_vec()),
        };
        let mut problems = Vec::new();
        let mut renderer = Renderer::new(&around);
        let chunk = Chunk {
            text: text.to_owned(),
            line: 10,
        };
        let html = renderer.words(&chunk, (1100.0, 500.0), &mut problems);
        let problems = problems.iter().map(ToString::to_string).collect();
        (html, renderer.steps, problems)
    }

    #[track_caller]
    fn sound(text: &str) -> (String, u16) {
        let (html, steps, problems) = render(text);
        assert_eq!(problems, Vec::<String>::new(), "{text}");
        (html, steps)
    }

    #[test]
    fn lists_with_a_plus_appear_one_by_one() {
        let (html, steps) = sound("+ one\n+ two\n");
        assert_eq!(steps, 2);
        assert!(
            html.contains("<li class=\"fragment\" data-step=\"1\">one</li>"),
            "{html}"
        );
        assert!(html.contains("data-step=\"2\">two</li>"), "{html}");
        let (html, steps) = sound("- one\n- two\n\n1. three\n");
        assert_eq!(steps, 0);
        assert!(!html.contains("fragment"), "{html}");
    }

    #[test]
    fn steps_of_lists_and_code_are_counted_together() {
        let (html, steps) = sound("+ a\n\n```yaml {1|2|1-2}\na: 1\nb: 2\n```\n\n+ c\n");
        assert_eq!(steps, 4);
        assert!(
            html.contains("data-first=\"1\" data-groups=\"3\""),
            "{html}"
        );
        assert!(html.contains("data-step=\"4\">c"), "{html}");
    }

    #[test]
    fn markup_of_a_deck_is_not_passed_through() {
        for hostile in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "<div onclick=x>\n\ny\n\n</div>",
        ] {
            let (html, _, problems) = render(hostile);
            assert!(
                !html.contains("<script") && !html.contains("<img"),
                "{html}"
            );
            assert!(!html.contains("onclick"), "{html}");
            assert!(
                problems[0].starts_with("en.md:10:1: HTML is not shown"),
                "{problems:?}"
            );
        }
        let (html, _) = sound("a<!-- for authors -->b");
        assert!(html.contains("ab"), "{html}");
        let (html, _, problems) = render("[x](javascript:alert(1))");
        assert_eq!(problems.len(), 1, "{html}");
        let (html, _) = sound("```sh\necho '<b>'\n```");
        assert!(html.contains("&lt;b&gt;"), "{html}");
    }

    #[test]
    fn pictures_are_part_of_the_page() {
        let (html, _) = sound("![A cat](cat.png)");
        assert!(
            html.contains("src=\"data:image/png;base64,cG5n\" alt=\"A cat\""),
            "{html}"
        );
        let (_, _, problems) = render("x\n\n![A dog](dog.png)");
        assert_eq!(
            problems,
            ["en.md:12:1: there is no picture \"dog.png\" beside the deck's text"]
        );
        let (_, _, problems) = render("![A dog](https://example.org/dog.png)");
        assert_eq!(problems.len(), 1, "nothing comes from elsewhere");
    }

    #[test]
    fn a_heading_is_cut_off_with_its_words() {
        let chunk = Chunk {
            text: "## The `app` *is* up\n\n\nMore\n".to_owned(),
            line: 5,
        };
        let (head, rest, title) = heading(&chunk);
        assert_eq!(title, "The app is up");
        assert_eq!(head.text, "## The `app` *is* up");
        assert_eq!((rest.text.as_str(), rest.line), ("More\n", 8));
    }
}
