//! YAML as a tree whose every key and value knows its place, so that a refusal can name it.

use serde_json::{Number, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span};

use crate::problem::{Place, Problem};

/// Nodes that a file may have. Aliases count each time, so that a small file cannot unfold into
/// one that fills the memory.
const NODES_MAX: usize = 20_000;

/// How deep a file may be nested.
const DEPTH_MAX: usize = 64;

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Where it begins.
    pub(crate) at: Place,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A scalar: what the core schema of YAML 1.2 makes of it, and how it is written.
    Scalar {
        /// Null, a boolean, a number or a string.
        value: Value,
        /// The characters.
        text: String,
        /// Columns between its place and its first character: a quote, for one.
        lead: u64,
    },
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping, in the order of the file.
    Mapping(Vec<(Key, Node)>),
}

/// The key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    /// Where it begins.
    pub(crate) at: Place,
    /// What it says.
    pub(crate) text: String,
}

impl Node {
    /// What it is, for messages.
    pub(crate) fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { value, .. } => match value {
                Value::Null => "nothing",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                Value::String(_) | Value::Array(_) | Value::Object(_) => "text",
            },
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }

    /// True where nothing is written.
    pub(crate) fn is_null(&self) -> bool {
        matches!(
            self.kind,
            Kind::Scalar {
                value: Value::Null,
                ..
            }
        )
    }
}

/// Reads the one document of a file.
///
/// # Errors
/// Where it is not YAML, with the place.
pub(crate) fn parse(file: &str, text: &str) -> Result<Node, Problem> {
    let mut reader = Reader {
        file,
        parser: Parser::new_from_str(text),
        anchors: Vec::new(),
        nodes: 0,
    };
    let mut document = None;
    while let Some((event, at)) = reader.next()? {
        match event {
            Event::DocumentStart(..) if document.is_some() => {
                return Err(
                    reader.problem(at, "a second document begins: a workflow file holds one")
                );
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd => {}
            event => document = Some(reader.node(event, at, 0)?),
        }
    }
    document.ok_or_else(|| Problem::of_file(file, "the file is empty"))
}

struct Reader<'a> {
    file: &'a str,
    parser: Parser<'a, serde_saphyr::granit_parser::StrInput<'a>>,
    /// Nodes that aliases may name.
    anchors: Vec<(usize, Node)>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn problem(&self, at: Place, message: impl Into<String>) -> Problem {
        Problem::at(self.file, at, message)
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Place)>, Problem> {
        loop {
            let Some(next) = self.parser.next_event() else {
                return Ok(None);
            };
            match next {
                Ok((Event::Comment(..) | Event::Anchor(..), _)) => {}
                Ok((event, span)) => return Ok(Some((event, place(&span)))),
                Err(error) => {
                    let mark = error.marker();
                    let at = Place::new(mark.line(), mark.col() + 1);
                    return Err(self.problem(at, format!("this is not YAML: {}", error.info())));
                }
            }
        }
    }

    fn inside(&mut self, at: Place) -> Result<(Event<'a>, Place), Problem> {
        self.next()?
            .ok_or_else(|| self.problem(at, "the file ends in the middle of this"))
    }

    fn node(&mut self, event: Event<'a>, at: Place, depth: usize) -> Result<Node, Problem> {
        self.count(1, at)?;
        if depth > DEPTH_MAX {
            return Err(self.problem(at, "this is nested too deeply"));
        }
        let (kind, anchor) = match event {
            Event::Alias(id) => {
                let known = self.anchors.iter().find(|(anchor, _)| *anchor == id);
                let node = known.map(|(_, node)| node.clone());
                let node = node.ok_or_else(|| self.problem(at, "this alias names itself"))?;
                self.count(size(&node), at)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let kind = Kind::Scalar {
                    value: if plain {
                        resolve(&text)
                    } else {
                        Value::String(text.clone().into_owned())
                    },
                    text: text.into_owned(),
                    lead: u64::from(matches!(
                        style,
                        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted
                    )),
                };
                (kind, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.sequence(at, depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(at, depth)?, anchor),
            _ => return Err(self.problem(at, "this is not a value")),
        };
        let node = Node { at, kind };
        if anchor != 0 {
            self.anchors.push((anchor, node.clone()));
        }
        Ok(node)
    }

    fn sequence(&mut self, at: Place, depth: usize) -> Result<Kind, Problem> {
        let mut items = Vec::new();
        loop {
            match self.inside(at)? {
                (Event::SequenceEnd, _) => return Ok(Kind::Sequence(items)),
                (event, at) => items.push(self.node(event, at, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, at: Place, depth: usize) -> Result<Kind, Problem> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (key, key_at) = match self.inside(at)? {
                (Event::MappingEnd, _) => return Ok(Kind::Mapping(entries)),
                (event, at) => (self.node(event, at, depth + 1)?, at),
            };
            let Kind::Scalar { text, .. } = key.kind else {
                return Err(self.problem(key_at, "a key must be a word"));
            };
            if let Some((first, _)) = entries.iter().find(|(key, _)| key.text == text) {
                let line = first.at.line;
                return Err(self.problem(
                    key_at,
                    format!("{text:?} is written twice: first in line {line}"),
                ));
            }
            let (event, value_at) = self.inside(key_at)?;
            let value = self.node(event, value_at, depth + 1)?;
            entries.push((Key { at: key_at, text }, value));
        }
    }

    fn count(&mut self, more: usize, at: Place) -> Result<(), Problem> {
        self.nodes += more;
        if self.nodes > NODES_MAX {
            return Err(self.problem(at, format!("the file has more than {NODES_MAX} values")));
        }
        Ok(())
    }
}

fn place(span: &Span) -> Place {
    Place::new(span.start.line(), span.start.col() + 1)
}

fn size(node: &Node) -> usize {
    1 + match &node.kind {
        Kind::Scalar { .. } => 0,
        Kind::Sequence(items) => items.iter().map(size).sum(),
        Kind::Mapping(entries) => entries.iter().map(|(_, value)| size(value) + 1).sum(),
    }
}

/// A plain scalar by the core schema of YAML 1.2: `on`, `yes` and `no` are words.
/// <https://yaml.org/spec/1.2.2/#103-core-schema>
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let radix = |digits: Option<&str>, radix| i64::from_str_radix(digits?, radix).ok();
    if let Some(number) = radix(text.strip_prefix("0x"), 16).or(radix(text.strip_prefix("0o"), 8)) {
        return Some(number.into());
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !digits
            .bytes()
            .all(|b| b.is_ascii_digit() || b".eE+-".contains(&b))
    {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    match text.parse::<i64>() {
        Ok(number) => Some(number.into()),
        Err(_) => Number::from_f64(text.parse().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn refused(text: &str, said: &str) {
        let problem = parse("ci.yml", text).unwrap_err().to_string();
        assert_eq!(problem, said);
    }

    #[test]
    fn scalars_are_what_the_core_schema_says() {
        let cases = [
            ("on", json!("on")),
            ("yes", json!("yes")),
            ("true", json!(true)),
            ("~", json!(null)),
            ("12", json!(12)),
            ("0x1f", json!(31)),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("1.2.3", json!("1.2.3")),
            ("2026-01-01", json!("2026-01-01")),
            ("'12'", json!("12")),
        ];
        for (text, expected) in cases {
            let node = parse("f", text).unwrap();
            let Kind::Scalar { value, .. } = node.kind else {
                panic!("{text} is not a scalar");
            };
            assert_eq!(value, expected, "{text}");
        }
    }

    #[test]
    fn every_key_knows_its_place() {
        let node = parse("f", "on: push\njobs:\n  test:\n    steps: []\n").unwrap();
        let Kind::Mapping(entries) = node.kind else {
            panic!("not a mapping");
        };
        assert_eq!(entries[1].0.at, Place::new(2, 1));
        let Kind::Mapping(jobs) = &entries[1].1.kind else {
            panic!("not a mapping");
        };
        assert_eq!(jobs[0].0.at, Place::new(3, 3));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        refused("", "ci.yml: the file is empty");
        refused(
            "a: 1\nb: 2\na: 3\n",
            "ci.yml:3:1: \"a\" is written twice: first in line 1",
        );
        refused(
            "a: 1\n---\nb: 1\n",
            "ci.yml:2:1: a second document begins: a workflow file holds one",
        );
        let tab = parse("ci.yml", "a:\n\tb: 1\n").unwrap_err().to_string();
        assert!(tab.starts_with("ci.yml:2:"), "{tab}");
    }

    #[test]
    fn an_alias_stands_for_what_it_names() {
        let node = parse("f", "a: &x [1, 2]\nb: *x\n").unwrap();
        let Kind::Mapping(entries) = node.kind else {
            panic!("not a mapping");
        };
        assert_eq!(entries[0].1, entries[1].1);
    }

    #[test]
    fn a_file_that_unfolds_without_end_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let alias = format!("*a{}, ", level - 1).repeat(10);
            text += &format!("a{level}: &a{level} [{alias}]\n");
        }
        let problem = parse("f", &text).unwrap_err().to_string();
        assert!(problem.contains("more than 20000 values"), "{problem}");
    }
}
