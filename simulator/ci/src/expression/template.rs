//! Text with `${{ }}` in it, and trees of such text.

use serde_json::{Map, Value};

use super::value::to_text;
use super::{EvaluationError, Expression, Scope, SyntaxError, parse};

/// A scalar of a workflow file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Template {
    /// Without an expression: what the file says.
    Literal(Value),
    /// Nothing but one expression, which keeps its type.
    Expression(Expression),
    /// Text and expressions.
    Mixed(Vec<Part>),
}

/// A part of mixed text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// As it is.
    Text(String),
    /// What an expression says.
    Expression(Expression),
}

impl Template {
    /// Reads a scalar: its `value`, and its `text`. Each expression is handed to `look` with its
    /// number among the `${{` of the text.
    ///
    /// # Errors
    /// Where an expression is none, with its number and the offset after its `${{`.
    pub(crate) fn parse(
        value: &Value,
        text: &str,
        look: &mut dyn FnMut(usize, &Expression),
    ) -> Result<Self, (usize, SyntaxError)> {
        if !text.contains("${{") {
            return Ok(Self::Literal(value.clone()));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        let mut number = 0;
        while let Some(at) = rest.find("${{") {
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            let inner = &rest[at + 3..];
            let (expression, length) =
                parse::parse(inner, true).map_err(|error| (number, error))?;
            look(number, &expression);
            parts.push(Part::Expression(expression));
            rest = &inner[length + 2..];
            // Strings of an expression may hold the mark as well.
            number += inner[..length].matches("${{").count() + 1;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        match <[Part; 1]>::try_from(parts) {
            Ok([Part::Expression(expression)]) => Ok(Self::Expression(expression)),
            Ok([part]) => Ok(Self::Mixed(vec![part])),
            Err(parts) => Ok(Self::Mixed(parts)),
        }
    }

    /// Its value; of mixed text, a string.
    ///
    /// # Errors
    /// Where an expression has none.
    pub(crate) fn evaluate(&self, scope: &Scope) -> Result<Value, EvaluationError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Expression(expression) => expression.evaluate(scope),
            Self::Mixed(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(part) => text.push_str(part),
                        Part::Expression(part) => text.push_str(&to_text(&part.evaluate(scope)?)),
                    }
                }
                Ok(Value::String(text))
            }
        }
    }

    /// Its value as text.
    ///
    /// # Errors
    /// Where an expression has none.
    pub(crate) fn text(&self, scope: &Scope) -> Result<String, EvaluationError> {
        self.evaluate(scope).map(|value| to_text(&value))
    }

    /// What it says, where it has no expression.
    pub(crate) fn literal(&self) -> Option<&Value> {
        match self {
            Self::Literal(value) => Some(value),
            Self::Expression(_) | Self::Mixed(_) => None,
        }
    }
}

/// A value of any shape whose scalars may hold expressions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    /// A scalar.
    Leaf(Template),
    /// A list.
    Sequence(Vec<Tree>),
    /// A mapping.
    Mapping(Vec<(String, Tree)>),
}

impl Tree {
    /// Its value.
    ///
    /// # Errors
    /// Where an expression has none.
    pub(crate) fn evaluate(&self, scope: &Scope) -> Result<Value, EvaluationError> {
        Ok(match self {
            Self::Leaf(template) => template.evaluate(scope)?,
            Self::Sequence(items) => {
                let items = items.iter().map(|item| item.evaluate(scope));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Self::Mapping(entries) => {
                let entries = entries
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), value.evaluate(scope)?)));
                Value::Object(entries.collect::<Result<Map<_, _>, EvaluationError>>()?)
            }
        })
    }

    /// True where nothing in it is an expression.
    pub(crate) fn is_literal(&self) -> bool {
        match self {
            Self::Leaf(template) => template.literal().is_some(),
            Self::Sequence(items) => items.iter().all(Self::is_literal),
            Self::Mapping(entries) => entries.iter().all(|(_, value)| value.is_literal()),
        }
    }
}
