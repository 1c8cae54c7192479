//! Reading a tree: every key is known or refused by name, and problems are collected, so that a
//! file is put right in one go.

use serde_json::Value;

use super::places::{Allowed, allowed_problem};
use crate::expression::{Expression, SyntaxError, Template, Tree};
use crate::problem::{Place, Problem, did_you_mean};
use crate::yaml::{Key, Kind, Node};

/// What is known of a file while it is read.
pub(super) struct Fields<'a> {
    file: &'a str,
    source: Vec<&'a str>,
    /// What is wrong so far.
    pub(super) problems: Vec<Problem>,
    /// What is accepted and has no effect.
    pub(super) remarks: Vec<String>,
}

/// A key that is refused, and why.
pub(super) type Refused = (&'static str, &'static str);

impl<'a> Fields<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            source: text.lines().collect(),
            problems: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// Notes that something is wrong.
    pub(super) fn refuse(&mut self, at: Place, message: impl Into<String>) {
        self.problems.push(Problem::at(self.file, at, message));
    }

    /// Notes that something has no effect, with its line.
    pub(super) fn remark(&mut self, at: Place, message: &str) {
        let remark = format!("{}:{}: {message}", self.file, at.line);
        self.remarks.push(remark);
    }

    /// The entries of a mapping, each of which must be one of `known`.
    pub(super) fn mapping<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&'static str],
        refused: &[Refused],
    ) -> &'n [(Key, Node)] {
        let entries = self.any_mapping(node, what);
        for (key, _) in entries {
            let name = key.text.as_str();
            if known.contains(&name) {
                continue;
            }
            if let Some((_, why)) = refused.iter().find(|(refused, _)| *refused == name) {
                self.refuse(key.at, format!("{name} is not supported here: {why}"));
                continue;
            }
            let all = known
                .iter()
                .copied()
                .chain(refused.iter().map(|(name, _)| *name));
            let near = did_you_mean(name, all);
            let hint = if near.is_empty() {
                format!("; known are {}", known.join(", "))
            } else {
                near
            };
            self.refuse(key.at, format!("{what} has no key {name:?}{hint}"));
        }
        entries
    }

    /// The entries of a mapping with keys of the author's own.
    pub(super) fn any_mapping<'n>(&mut self, node: &'n Node, what: &str) -> &'n [(Key, Node)] {
        if let Kind::Mapping(entries) = &node.kind {
            return entries;
        }
        self.refuse(
            node.at,
            format!("{what} must be a mapping, not {}", node.kind_name()),
        );
        &[]
    }

    /// The items of a list; of one scalar, that alone.
    pub(super) fn words(&mut self, node: &Node, what: &str) -> Vec<(Place, String)> {
        let items = match &node.kind {
            Kind::Sequence(items) => items.as_slice(),
            Kind::Scalar { .. } | Kind::Mapping(_) => std::slice::from_ref(node),
        };
        let words = items
            .iter()
            .filter_map(|item| Some((item.at, self.word(item, what)?)));
        words.collect()
    }

    /// A scalar as it is written, without expressions.
    pub(super) fn word(&mut self, node: &Node, what: &str) -> Option<String> {
        let Kind::Scalar { text, .. } = &node.kind else {
            self.refuse(
                node.at,
                format!("{what} must be text, not {}", node.kind_name()),
            );
            return None;
        };
        if node.is_null() {
            self.refuse(node.at, format!("{what} is empty"));
            return None;
        }
        if text.contains("${{") {
            self.refuse(node.at, format!("{what} cannot hold an expression"));
            return None;
        }
        Some(text.clone())
    }

    /// `true` or `false`, without expressions.
    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Kind::Scalar {
            value: Value::Bool(value),
            ..
        } = &node.kind
        {
            return Some(*value);
        }
        self.refuse(node.at, format!("{what} must be true or false"));
        None
    }

    /// A scalar that may hold expressions, which see the contexts of `place`.
    pub(super) fn template(
        &mut self,
        node: &Node,
        what: &str,
        place: &Allowed,
    ) -> Option<Template> {
        let Kind::Scalar { value, text, .. } = &node.kind else {
            self.refuse(
                node.at,
                format!("{what} must be text, not {}", node.kind_name()),
            );
            return None;
        };
        let mut found = Vec::new();
        let parsed = Template::parse(value, text, &mut |number, expression| {
            found.extend(allowed_problem(expression, place).map(|error| (number, error)));
        });
        let parsed = parsed.map_err(|error| found.push(error)).ok();
        for (number, SyntaxError { offset, message }) in found {
            let at = self.inside(node.at, number, offset);
            self.refuse(at, message);
        }
        parsed
    }

    /// The same, where it must become `true` or `false`.
    pub(super) fn flag(&mut self, node: &Node, what: &str, place: &Allowed) -> Option<Template> {
        let template = self.template(node, what, place)?;
        if !matches!(template.literal(), None | Some(Value::Bool(_))) {
            self.refuse(
                node.at,
                format!("{what} must be true, false or an expression"),
            );
            return None;
        }
        Some(template)
    }

    /// The same, where it must become a number above 0.
    pub(super) fn amount(&mut self, node: &Node, what: &str, place: &Allowed) -> Option<Template> {
        let template = self.template(node, what, place)?;
        let number = template.literal().map(Value::as_f64);
        if !number.is_none_or(|number| number.is_some_and(|n| n > 0.0)) {
            self.refuse(
                node.at,
                format!("{what} must be a number above 0, or an expression"),
            );
            return None;
        }
        Some(template)
    }

    /// Names with scalars, as below `env`.
    pub(super) fn variables(
        &mut self,
        node: &Node,
        what: &str,
        place: &Allowed,
    ) -> Vec<(String, Template)> {
        if node.is_null() {
            return Vec::new();
        }
        let mut variables = Vec::new();
        for (key, value) in self.any_mapping(node, what) {
            let what = format!("{what}.{}", key.text);
            let template = self.template(value, &what, place);
            variables.extend(template.map(|template| (key.text.clone(), template)));
        }
        variables
    }

    /// A value of any shape.
    pub(super) fn tree(&mut self, node: &Node, what: &str, place: &Allowed) -> Option<Tree> {
        Some(match &node.kind {
            Kind::Scalar { .. } => Tree::Leaf(self.template(node, what, place)?),
            Kind::Sequence(items) => {
                let items = items.iter().filter_map(|item| self.tree(item, what, place));
                Tree::Sequence(items.collect())
            }
            Kind::Mapping(entries) => {
                let entries = entries.iter().filter_map(|(key, value)| {
                    Some((key.text.clone(), self.tree(value, what, place)?))
                });
                Tree::Mapping(entries.collect())
            }
        })
    }

    /// `if`: an expression, in `${{ }}` or not.
    pub(super) fn condition(&mut self, node: &Node, place: &Allowed) -> Option<Expression> {
        let Kind::Scalar { text, value, lead } = &node.kind else {
            self.refuse(
                node.at,
                format!("if must be an expression, not {}", node.kind_name()),
            );
            return None;
        };
        if text.contains("${{") {
            return match self.template(node, "if", place)? {
                Template::Expression(expression) => Some(expression),
                Template::Literal(_) | Template::Mixed(_) => {
                    // Text around an expression makes it a string, which is always true.
                    self.refuse(node.at, "there is text around the ${{ }} of this if, which makes it always true; put all of it inside, or leave the ${{ }} out");
                    None
                }
            };
        }
        if node.is_null() {
            self.refuse(node.at, "if is empty");
            return None;
        }
        if !matches!(value, Value::String(_)) {
            return Some(Expression::Literal(value.clone()));
        }
        let parsed = Expression::parse(text)
            .and_then(|expression| allowed_problem(&expression, place).map_or(Ok(expression), Err));
        match parsed {
            Ok(expression) => Some(expression),
            Err(SyntaxError { offset, message }) => {
                let column = node.at.column + lead + characters(text, offset);
                self.refuse(Place { column, ..node.at }, message);
                None
            }
        }
    }

    /// Where an expression is: after the `number`th `${{` from `at` on, and `offset` further.
    fn inside(&self, at: Place, number: usize, offset: usize) -> Place {
        let mut left = number;
        // Lines of a file are far fewer than a machine word counts.
        let first = at.line.saturating_sub(1) as usize;
        for (index, line) in self.source.iter().enumerate().skip(first) {
            let before = if index == first {
                at.column.saturating_sub(1) as usize
            } else {
                0
            };
            let start = line
                .char_indices()
                .nth(before)
                .map_or(line.len(), |(byte, _)| byte);
            for (found, _) in line[start..].match_indices("${{") {
                if left == 0 {
                    let bytes = start + found + 3 + offset;
                    return Place::new(index + 1, 1).shifted(characters(line, bytes));
                }
                left -= 1;
            }
        }
        at
    }
}

/// How many characters the first bytes of a text are.
fn characters(text: &str, bytes: usize) -> u64 {
    let before = text.char_indices().take_while(|(at, _)| *at < bytes);
    before.count() as u64
}
