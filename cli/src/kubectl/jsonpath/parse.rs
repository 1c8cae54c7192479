//! Reading a template.

use super::{Node, Operand, Step};

type Parsed<T> = std::result::Result<T, String>;

/// The nodes of a template.
///
/// # Errors
/// What is wrong with it.
pub(super) fn template(text: &str) -> Parsed<Vec<Node>> {
    Parser { rest: text }.template()
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn template(mut self) -> Parsed<Vec<Node>> {
        // The innermost open range is the last.
        let mut open: Vec<(Vec<Step>, Vec<Node>)> = vec![(Vec::new(), Vec::new())];
        while !self.rest.is_empty() {
            let Some(at) = self.rest.find('{') else {
                push(&mut open, Node::Text(self.rest.to_owned()));
                break;
            };
            if at > 0 {
                push(&mut open, Node::Text(self.rest[..at].to_owned()));
            }
            self.rest = &self.rest[at + 1..];
            self.action(&mut open)?;
        }
        let (_, nodes) = open.pop().unwrap_or_default();
        if open.is_empty() {
            Ok(nodes)
        } else {
            Err("unterminated range".to_owned())
        }
    }

    /// What stands between braces.
    fn action(&mut self, open: &mut Vec<(Vec<Step>, Vec<Node>)>) -> Parsed<()> {
        loop {
            self.rest = self.rest.trim_start();
            match self.rest.chars().next() {
                None => return Err("unclosed action".to_owned()),
                Some('}') => {
                    self.rest = &self.rest[1..];
                    return Ok(());
                }
                Some(quote @ ('"' | '\'')) => {
                    let text = self.quoted(quote)?;
                    push(open, Node::Text(text));
                }
                Some('.' | '[' | '@' | '$' | '*') => {
                    let steps = self.path()?;
                    push(open, Node::Path(steps));
                }
                Some(_) => {
                    let word = self.word();
                    match word.as_str() {
                        "range" => {
                            self.rest = self.rest.trim_start();
                            let steps = self.path()?;
                            open.push((steps, Vec::new()));
                        }
                        "end" if open.len() > 1 => {
                            if let Some((steps, nodes)) = open.pop() {
                                push(open, Node::Range(steps, nodes));
                            }
                        }
                        "end" => return Err("not in range, nothing to end".to_owned()),
                        "" => return Err(format!("unexpected {:?}", self.rest)),
                        word => {
                            // A first field may lack its dot.
                            let mut steps = vec![Step::Field(word.to_owned())];
                            steps.extend(self.path()?);
                            push(open, Node::Path(steps));
                        }
                    }
                }
            }
        }
    }

    fn word(&mut self) -> String {
        let end = self
            .rest
            .find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '-'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn path(&mut self) -> Parsed<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix("..") {
                steps.push(Step::Deep);
                self.rest = rest;
                if !self.rest.starts_with(['[', '*']) {
                    steps.push(Step::Field(self.field()?));
                }
            } else if let Some(rest) = self.rest.strip_prefix('.') {
                self.rest = rest;
                if let Some(rest) = rest.strip_prefix('*') {
                    self.rest = rest;
                    steps.push(Step::Every);
                } else if !self.rest.is_empty() && !self.rest.starts_with(['}', ' ', '[', ')']) {
                    steps.push(Step::Field(self.field()?));
                }
            } else if let Some(rest) = self.rest.strip_prefix('[') {
                self.rest = rest;
                steps.push(self.bracket()?);
            } else if let Some(rest) = self.rest.strip_prefix('$') {
                self.rest = rest;
                steps.push(Step::Root);
            } else if let Some(rest) = self.rest.strip_prefix('@') {
                self.rest = rest;
            } else if let Some(rest) = self.rest.strip_prefix('*') {
                self.rest = rest;
                steps.push(Step::Every);
            } else {
                return Ok(steps);
            }
        }
    }

    /// A name, in which a backslash takes a dot's meaning away.
    fn field(&mut self) -> Parsed<String> {
        let mut name = String::new();
        let mut letters = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => name.extend(letters.next().map(|(_, letter)| letter)),
                '.' | '[' | ']' | '}' | ' ' | ')' | '=' | '!' | '<' | '>' | ',' | '{' | '\t'
                | '\n' => {
                    end = at;
                    break;
                }
                letter => name.push(letter),
            }
        }
        self.rest = &self.rest[end..];
        if name.is_empty() {
            return Err(format!("a field's name is missing before {:?}", self.rest));
        }
        Ok(name)
    }

    fn bracket(&mut self) -> Parsed<Step> {
        if let Some(rest) = self.rest.strip_prefix("?(") {
            self.rest = rest;
            return self.filter();
        }
        let mut steps = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            steps.push(match self.rest.chars().next() {
                Some('*') => {
                    self.rest = &self.rest[1..];
                    Step::Every
                }
                Some(quote @ ('"' | '\'')) => Step::Field(self.quoted(quote)?),
                _ => self.index()?,
            });
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix(',') {
                self.rest = rest;
            } else if let Some(rest) = self.rest.strip_prefix(']') {
                self.rest = rest;
                break;
            } else {
                return Err("unterminated array".to_owned());
            }
        }
        Ok(if steps.len() == 1 {
            steps.remove(0)
        } else {
            Step::Union(steps)
        })
    }

    fn index(&mut self) -> Parsed<Step> {
        let end = self
            .rest
            .find(|letter: char| !(letter.is_ascii_digit() || letter == '-' || letter == ':'))
            .unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let number = |text: &str| {
            if text.is_empty() {
                return Ok(None);
            }
            text.parse::<i64>()
                .map(Some)
                .map_err(|_| format!("invalid array index {text}"))
        };
        let parts: Vec<_> = text.split(':').map(number).collect::<Parsed<_>>()?;
        match parts.as_slice() {
            [Some(index)] => Ok(Step::Index(*index)),
            [None] => Err(format!("invalid array index {:?}", self.rest)),
            [from, to] => Ok(Step::Slice(*from, *to, None)),
            [from, to, by] => Ok(Step::Slice(*from, *to, *by)),
            _ => Err(format!("invalid array index {text}")),
        }
    }

    fn filter(&mut self) -> Parsed<Step> {
        let left = self.operand()?;
        self.rest = self.rest.trim_start();
        let operator = ["==", "!=", "<=", ">=", "<", ">"]
            .into_iter()
            .find(|operator| self.rest.starts_with(operator));
        let comparison = match operator {
            None => None,
            Some(operator) => {
                self.rest = &self.rest[operator.len()..];
                Some((operator.to_owned(), self.operand()?))
            }
        };
        self.rest = self.rest.trim_start();
        self.rest = self
            .rest
            .strip_prefix(")]")
            .ok_or_else(|| "unterminated filter".to_owned())?;
        Ok(Step::Filter(left, comparison))
    }

    fn operand(&mut self) -> Parsed<Operand> {
        self.rest = self.rest.trim_start();
        match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => Ok(Operand::Value(self.quoted(quote)?.into())),
            Some('@' | '.' | '$' | '[') => Ok(Operand::Path(self.path()?)),
            _ => {
                let end = self
                    .rest
                    .find([' ', ')', '=', '!', '<', '>'])
                    .unwrap_or(self.rest.len());
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                serde_json::from_str(text)
                    .map(Operand::Value)
                    .map_err(|_| format!("cannot compare with {text:?}"))
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Parsed<String> {
        let mut text = String::new();
        let mut letters = self.rest[1..].char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => match letters.next().map(|(_, letter)| letter) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(other) => text.push(other),
                    None => break,
                },
                letter if letter == quote => {
                    self.rest = &self.rest[1 + at + letter.len_utf8()..];
                    return Ok(text);
                }
                letter => text.push(letter),
            }
        }
        Err("unterminated quoted string".to_owned())
    }
}

fn push(open: &mut [(Vec<Step>, Vec<Node>)], node: Node) {
    if let Some((_, nodes)) = open.last_mut() {
        nodes.push(node);
    }
}
