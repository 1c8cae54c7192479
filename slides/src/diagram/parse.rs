//! Mermaid's notation of flowcharts, the part of it that a slide needs. What is not supported is
//! refused by name.

use super::Fault;

/// A flowchart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chart {
    pub(super) direction: Direction,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    pub(super) groups: Vec<Group>,
}

/// Which way it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Direction {
    #[default]
    Down,
    Up,
    Right,
    Left,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    id: String,
    pub(super) shape: Shape,
    pub(super) label: String,
    /// One of the palette's states, after `:::`.
    pub(super) class: Option<&'static str>,
    /// Index of the group that it is in.
    pub(super) group: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Box,
    Round,
    Stadium,
    Circle,
    Store,
    Decision,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) label: String,
    pub(super) line: Line,
    pub(super) arrow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Plain,
    Dotted,
    Thick,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    id: String,
    pub(super) label: String,
    /// Index of the group that it is in.
    pub(super) parent: Option<usize>,
}

/// What stands around a label, widest first.
const SHAPES: [(&str, &str, Shape); 6] = [
    ("([", "])", Shape::Stadium),
    ("((", "))", Shape::Circle),
    ("[(", ")]", Shape::Store),
    ("[", "]", Shape::Box),
    ("(", ")", Shape::Round),
    ("{", "}", Shape::Decision),
];
/// States of the palette, as class names.
const CLASSES: [&str; 4] = ["done", "here", "bad", "calm"];
/// Statements of Mermaid that are none of ours.
const UNSUPPORTED: [&str; 6] = [
    "classDef",
    "class",
    "style",
    "linkStyle",
    "click",
    "direction",
];
/// Beginning of an edge, the same where a text is inside, and how such a text ends.
const LINES: [(&str, &str, Line); 3] = [
    ("--", "--", Line::Plain),
    ("-.", ".-", Line::Dotted),
    ("==", "==", Line::Thick),
];

/// Reads a flowchart.
pub(super) fn parse(source: &str) -> Result<Chart, Fault> {
    let mut reader = Reader::default();
    for (text, line) in source.lines().zip(1_u64..) {
        for statement in statements(text) {
            reader.statement(statement.trim(), line)?;
        }
    }
    let Reader {
        chart, open, begun, ..
    } = reader;
    if let Some((_, line)) = open.last() {
        return Err(Fault::new(*line, "the subgraph is never ended").hint("write `end`"));
    }
    if !begun || chart.nodes.is_empty() {
        return Err(Fault::new(1, "the diagram is empty").hint("begin it with `flowchart LR`"));
    }
    Ok(chart)
}

/// The statements of a line: parted by `;`, without the comment.
fn statements(line: &str) -> impl Iterator<Item = &str> {
    let line = if line.trim_start().starts_with("%%") {
        ""
    } else {
        line
    };
    let mut quoted = false;
    line.split(move |letter| {
        quoted ^= letter == '"';
        letter == ';' && !quoted
    })
}

#[derive(Default)]
struct Reader {
    chart: Chart,
    begun: bool,
    /// Groups that are open, with their lines.
    open: Vec<(usize, u64)>,
}

impl Reader {
    fn statement(&mut self, text: &str, line: u64) -> Result<(), Fault> {
        let word = text.split_whitespace().next().unwrap_or_default();
        if text.is_empty() {
            return Ok(());
        }
        if !self.begun {
            self.begun = true;
            return self.header(text, word, line);
        }
        match word {
            "subgraph" => self.group(text["subgraph".len()..].trim(), line),
            "end" if text == "end" => match self.open.pop() {
                Some(_) => Ok(()),
                None => Err(Fault::new(line, "there is no subgraph to end")),
            },
            _ if UNSUPPORTED.contains(&word) => {
                let fault = Fault::new(line, format!("`{word}` is not supported in diagrams"));
                Err(fault.hint(format!(
                    "colours are the page's: write A[Text]:::NAME with {}",
                    CLASSES.join(", ")
                )))
            }
            _ => self.edges(text, line),
        }
    }

    fn header(&mut self, text: &str, word: &str, line: u64) -> Result<(), Fault> {
        let hint = "begin it with `flowchart LR` or `flowchart TD`";
        if !matches!(word, "flowchart" | "graph") {
            let fault = Fault::new(
                line,
                format!("{word:?} is no kind of diagram that is drawn"),
            );
            return Err(fault.hint(hint));
        }
        self.chart.direction = match text[word.len()..].trim() {
            "LR" => Direction::Right,
            "RL" => Direction::Left,
            "TD" | "TB" => Direction::Down,
            "BT" => Direction::Up,
            other => return Err(Fault::new(line, format!("{other:?} is no direction")).hint(hint)),
        };
        Ok(())
    }

    fn group(&mut self, text: &str, line: u64) -> Result<(), Fault> {
        let (id, label) = match text.split_once('[') {
            Some((id, rest)) => {
                let label = rest.strip_suffix(']').ok_or_else(|| {
                    Fault::new(line, "the title of the subgraph has no end").hint("close it by ]")
                })?;
                (id.trim(), unquoted(label))
            }
            None => (text, unquoted(text)),
        };
        if label.is_empty() {
            let fault = Fault::new(line, "the subgraph has no title");
            return Err(fault.hint("write subgraph name [Title]"));
        }
        self.chart.groups.push(Group {
            id: id.to_owned(),
            label,
            parent: self.open.last().map(|(group, _)| *group),
        });
        self.open.push((self.chart.groups.len() - 1, line));
        Ok(())
    }

    /// `A & B -- text --> C --> D`
    fn edges(&mut self, text: &str, line: u64) -> Result<(), Fault> {
        let mut rest = text;
        let mut from = self.nodes(&mut rest, line)?;
        while !rest.is_empty() {
            let (label, style, arrow) = edge(&mut rest, line)?;
            let to = self.nodes(&mut rest, line)?;
            for &from in &from {
                for &to in &to {
                    self.chart.edges.push(Edge {
                        from,
                        to,
                        label: label.clone(),
                        line: style,
                        arrow,
                    });
                }
            }
            from = to;
        }
        Ok(())
    }

    /// `A[Text] & B`, up to an edge.
    fn nodes(&mut self, rest: &mut &str, line: u64) -> Result<Vec<usize>, Fault> {
        let mut found = vec![self.node(rest, line)?];
        while let Some(after) = rest.strip_prefix('&') {
            *rest = after.trim_start();
            found.push(self.node(rest, line)?);
        }
        Ok(found)
    }

    fn node(&mut self, rest: &mut &str, line: u64) -> Result<usize, Fault> {
        let length = id_length(rest);
        if length == 0 {
            let at: String = rest.chars().take(12).collect();
            let fault = Fault::new(line, format!("here a node is missing: {at:?}"));
            return Err(fault.hint("a node is a name, as in A[Text]"));
        }
        let (id, after) = rest.split_at(length);
        let (label, after) = label(after, line)?;
        let (class, after) = class(after, line)?;
        *rest = after.trim_start();
        if self.chart.groups.iter().any(|group| group.id == id) && label.is_none() {
            let fault = Fault::new(line, format!("{id:?} is a subgraph"));
            return Err(fault.hint("draw the edge to a node in it"));
        }
        let group = self.open.last().map(|(group, _)| *group);
        let at = self.chart.nodes.iter().position(|node| node.id == id);
        let at = at.unwrap_or_else(|| {
            self.chart.nodes.push(Node {
                id: id.to_owned(),
                shape: Shape::Box,
                label: id.to_owned(),
                class: None,
                group,
            });
            self.chart.nodes.len() - 1
        });
        let node = &mut self.chart.nodes[at];
        if let Some((shape, label)) = label {
            (node.shape, node.label) = (shape, label);
        }
        // It belongs to the first subgraph that names it, wherever else it is named.
        node.group = node.group.or(group);
        node.class = class.or(node.class);
        Ok(at)
    }
}

fn id_length(text: &str) -> usize {
    let mut length = 0;
    for (at, letter) in text.char_indices() {
        // A name may have a hyphen inside, which does not begin an edge.
        let hyphen = letter == '-' && text[at + 1..].starts_with(char::is_alphanumeric) && at > 0;
        if !(letter.is_alphanumeric() || letter == '_' || hyphen) {
            break;
        }
        length = at + letter.len_utf8();
    }
    length
}

type Labelled<'a> = (Option<(Shape, String)>, &'a str);

fn label(text: &str, line: u64) -> Result<Labelled<'_>, Fault> {
    let Some((open, close, shape)) = SHAPES.iter().find(|(open, ..)| text.starts_with(open)) else {
        return Ok((None, text));
    };
    let inside = &text[open.len()..];
    let end = match inside.strip_prefix('"') {
        Some(quoted) => quoted.find('"').and_then(|quote| {
            let end = quote + 2;
            inside[end..].starts_with(close).then_some(end)
        }),
        None => inside.find(close),
    };
    let end = end.ok_or_else(|| {
        Fault::new(line, format!("a text that begins with {open} has no end"))
            .hint(format!("close it by {close}; put \"…\" around brackets"))
    })?;
    let words = unquoted(&inside[..end]);
    if words.is_empty() {
        return Err(Fault::new(line, "a node has no text"));
    }
    Ok((Some((*shape, words)), &inside[end + close.len()..]))
}

fn class(text: &str, line: u64) -> Result<(Option<&'static str>, &str), Fault> {
    let Some(rest) = text.strip_prefix(":::") else {
        return Ok((None, text));
    };
    let (name, rest) = rest.split_at(id_length(rest));
    match CLASSES.into_iter().find(|known| *known == name) {
        Some(class) => Ok((Some(class), rest)),
        None => Err(Fault::new(line, format!("there is no class {name:?}"))
            .hint(format!("there are: {}", CLASSES.join(", ")))),
    }
}

/// Takes an edge off the beginning: its text, its line, whether it has an arrow.
fn edge(rest: &mut &str, line: u64) -> Result<(String, Line, bool), Fault> {
    let text = rest.trim_start();
    let bad = || {
        let at: String = text.chars().take(12).collect();
        Fault::new(line, format!("here an edge is missing: {at:?}"))
            .hint("edges are -->, ---, -.->, ==>, -- text -->, -->|text|")
    };
    let (open, close, style) = *LINES
        .iter()
        .find(|(open, ..)| text.starts_with(open))
        .ok_or_else(bad)?;
    let strokes = text
        .find(|it| !matches!(it, '-' | '.' | '='))
        .unwrap_or(text.len());
    let bare = text[strokes..].starts_with('>') || strokes > open.len();
    let (mut label, after) = if bare {
        (String::new(), &text[strokes..])
    } else {
        let inside = &text[open.len()..];
        let end = inside.find(close).ok_or_else(bad)?;
        let tail = &inside[end..];
        let strokes = tail
            .find(|it| !matches!(it, '-' | '.' | '='))
            .unwrap_or(tail.len());
        (unquoted(&inside[..end]), &tail[strokes..])
    };
    let arrow = after.starts_with('>');
    let mut after = after.strip_prefix('>').unwrap_or(after);
    if matches!(after.chars().next(), Some('o' | 'x')) && after[1..].starts_with(' ') {
        return Err(Fault::new(
            line,
            "edges that end in a circle or a cross are not drawn",
        ));
    }
    if let Some(piped) = after.trim_start().strip_prefix('|') {
        let end = piped.find('|').ok_or_else(|| {
            Fault::new(line, "the text of an edge has no end").hint("close it by |")
        })?;
        label = unquoted(&piped[..end]);
        after = &piped[end + 1..];
    }
    *rest = after.trim_start();
    Ok((label, style, arrow))
}

/// A label's words, with line ends for `<br/>`.
fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let mut words = inner.unwrap_or(text).replace("#quot;", "\"");
    for tag in ["<br/>", "<br />", "<br>"] {
        words = words.replace(tag, "\n");
    }
    words.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn edges(source: &str, expected: &[(&str, &str, &str)]) {
        let chart = parse(source).unwrap();
        let name = |at: usize| chart.nodes[at].id.as_str();
        let found: Vec<_> = chart
            .edges
            .iter()
            .map(|edge| (name(edge.from), edge.label.as_str(), name(edge.to)))
            .collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn edges_in_every_notation() {
        edges(
            "flowchart LR\nA --> B --> C",
            &[("A", "", "B"), ("B", "", "C")],
        );
        edges("flowchart LR\nA-->B", &[("A", "", "B")]);
        edges(
            "graph TD; A -- yes, it is --> B",
            &[("A", "yes, it is", "B")],
        );
        edges("flowchart LR\nA -->|80 %| B", &[("A", "80 %", "B")]);
        edges(
            "flowchart LR\nA & B --> C & D",
            &[
                ("A", "", "C"),
                ("A", "", "D"),
                ("B", "", "C"),
                ("B", "", "D"),
            ],
        );
        edges(
            "flowchart LR\nA -.-> B\nA -. maybe .-> C\nA == much ==> D",
            &[("A", "", "B"), ("A", "maybe", "C"), ("A", "much", "D")],
        );
        edges(
            "flowchart LR\nblue-green --> b_2",
            &[("blue-green", "", "b_2")],
        );
        edges(
            "flowchart LR\n%% no\nA[\"a --> b; c\"] --> B",
            &[("A", "", "B")],
        );
    }

    #[test]
    fn a_line_has_its_style() {
        let chart = parse("flowchart LR\nA --- B\nA -.-> B\nA ==> B").unwrap();
        let found: Vec<_> = chart.edges.iter().map(|it| (it.line, it.arrow)).collect();
        assert_eq!(
            found,
            [
                (Line::Plain, false),
                (Line::Dotted, true),
                (Line::Thick, true)
            ]
        );
    }

    #[test]
    fn nodes_of_every_shape() {
        let chart = parse(
            "flowchart TD\na[A box]-->b(Round)-->c([Stadium])-->d{Is it?}-->e((1))-->f[(Data)]\ng[\"(x) [y]\"]\nh[one<br/>two]",
        )
        .unwrap();
        let found: Vec<_> = chart
            .nodes
            .iter()
            .map(|node| (node.shape, node.label.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                (Shape::Box, "A box"),
                (Shape::Round, "Round"),
                (Shape::Stadium, "Stadium"),
                (Shape::Decision, "Is it?"),
                (Shape::Circle, "1"),
                (Shape::Store, "Data"),
                (Shape::Box, "(x) [y]"),
                (Shape::Box, "one\ntwo"),
            ]
        );
    }

    #[test]
    fn groups_hold_their_nodes() {
        let chart = parse(
            "flowchart LR\nX --> A\nsubgraph one [First]\nA[a]\nsubgraph Inner\nB[b]:::bad\nend\nend",
        )
        .unwrap();
        let node = |id: &str| chart.nodes.iter().find(|node| node.id == id).unwrap();
        assert_eq!(node("X").group, None);
        assert_eq!(node("A").group, Some(0));
        assert_eq!(node("B").group, Some(1));
        assert_eq!(node("B").class, Some("bad"));
        assert_eq!(chart.groups[1].parent, Some(0));
        assert_eq!(chart.groups[1].label, "Inner");
    }

    #[track_caller]
    fn fault(source: &str, expected: &str) {
        assert_eq!(parse(source).unwrap_err().to_string(), expected, "{source}");
    }

    #[test]
    fn what_is_not_drawn_is_refused_by_name() {
        fault("", "1: the diagram is empty; begin it with `flowchart LR`");
        fault(
            "sequenceDiagram\nA->>B: hi",
            "1: \"sequenceDiagram\" is no kind of diagram that is drawn; begin it with `flowchart LR` or `flowchart TD`",
        );
        fault(
            "flowchart XY\nA",
            "1: \"XY\" is no direction; begin it with `flowchart LR` or `flowchart TD`",
        );
        fault(
            "flowchart LR\nA\nclassDef x fill:#f00",
            "3: `classDef` is not supported in diagrams; colours are the page's: write A[Text]:::NAME with done, here, bad, calm",
        );
        fault(
            "flowchart LR\nA[Text --> B",
            "2: a text that begins with [ has no end; close it by ]; put \"…\" around brackets",
        );
        fault(
            "flowchart LR\nA -> B",
            "2: here an edge is missing: \"-> B\"; edges are -->, ---, -.->, ==>, -- text -->, -->|text|",
        );
        fault(
            "flowchart LR\nA -->",
            "2: here a node is missing: \"\"; a node is a name, as in A[Text]",
        );
        fault(
            "flowchart LR\nsubgraph x [T]\nA",
            "2: the subgraph is never ended; write `end`",
        );
        fault("flowchart LR\nA\nend", "3: there is no subgraph to end");
        fault(
            "flowchart LR\nsubgraph x [T]\nA\nend\nB --> x",
            "5: \"x\" is a subgraph; draw the edge to a node in it",
        );
        fault(
            "flowchart LR\nA:::red",
            "2: there is no class \"red\"; there are: done, here, bad, calm",
        );
    }
}
