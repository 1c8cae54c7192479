//! `${{ }}`: the expressions of workflow files.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/expressions>
//!
//! They are parsed when the file is read, so that a mistake is found before anything runs.

mod function;
mod hash_files;
mod parse;
mod template;
#[cfg(test)]
mod tests;
pub(crate) mod value;

use std::cmp::Ordering;
use std::path::PathBuf;

use serde_json::{Map, Value};

pub(crate) use function::{Function, as_bool};
pub(crate) use template::{Part, Template, Tree};

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expression {
    /// `'text'`, `1.5`, `true`, `null`.
    Literal(Value),
    /// `github`, `env` …
    Context {
        /// Its name.
        name: String,
        /// Bytes from the beginning of the expression.
        offset: usize,
    },
    /// `a.b`, `a['b']`
    Index(Box<Expression>, Box<Expression>),
    /// `a.*`
    Each(Box<Expression>),
    /// `!a`
    Not(Box<Expression>),
    /// `a == b` …
    Binary(Operator, Box<Expression>, Box<Expression>),
    /// `contains(a, b)` …
    Call {
        /// Which one.
        function: Function,
        /// What is handed to it.
        arguments: Vec<Expression>,
        /// Bytes from the beginning of the expression.
        offset: usize,
    },
}

/// An operator between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// Why something is not an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SyntaxError {
    /// Bytes from the beginning.
    pub(crate) offset: usize,
    /// What is wrong.
    pub(crate) message: String,
}

impl SyntaxError {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self {
            offset,
            message: message.into(),
        }
    }

    fn after(mut self, more: usize) -> Self {
        self.offset += more;
        self
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct EvaluationError(pub(crate) String);

/// How things stand, for `success()`, `failure()`, `cancelled()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All went well so far.
    Success,
    /// Something failed.
    Failure,
    /// The run was cancelled.
    Cancelled,
    /// Something that is needed was skipped.
    Skipped,
}

/// What an expression can see.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Contexts by name.
    pub(crate) contexts: Map<String, Value>,
    /// How things stand.
    pub(crate) standing: Standing,
    /// Where `hashFiles` looks.
    pub(crate) workspace: PathBuf,
}

impl Expression {
    /// Reads an expression that stands alone.
    ///
    /// # Errors
    /// Where it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse::parse(text, false).map(|(expression, _)| expression)
    }

    /// Its value.
    ///
    /// # Errors
    /// Where a function refuses what it was given.
    pub(crate) fn evaluate(&self, scope: &Scope) -> Result<Value, EvaluationError> {
        self.result(scope).map(Found::into_value)
    }

    fn result(&self, scope: &Scope) -> Result<Found, EvaluationError> {
        let value = match self {
            Self::Literal(value) => value.clone(),
            Self::Context { name, .. } => property(&scope.contexts, name),
            Self::Index(of, key) => {
                let key = key.evaluate(scope)?;
                return Ok(of.result(scope)?.index(&key));
            }
            Self::Each(of) => return Ok(of.result(scope)?.each()),
            Self::Not(of) => Value::Bool(!value::truthy(&of.evaluate(scope)?)),
            Self::Binary(operator, left, right) => binary(*operator, left, right, scope)?,
            Self::Call {
                function,
                arguments,
                ..
            } => function.call(arguments, scope)?,
        };
        Ok(Found::One(value))
    }

    /// True where a status function is named, which replaces the `success()` that is implied.
    pub(crate) fn names_status(&self) -> bool {
        let mut found = false;
        self.visit(&mut |expression| {
            if let Self::Call { function, .. } = expression {
                found |= function.is_status();
            }
        });
        found
    }

    /// Calls `look` with it and everything inside.
    pub(crate) fn visit(&self, look: &mut impl FnMut(&Self)) {
        look(self);
        match self {
            Self::Literal(_) | Self::Context { .. } => {}
            Self::Each(of) | Self::Not(of) => of.visit(look),
            Self::Index(a, b) | Self::Binary(_, a, b) => {
                a.visit(look);
                b.visit(look);
            }
            Self::Call { arguments, .. } => arguments.iter().for_each(|a| a.visit(look)),
        }
    }
}

/// A value, or what `.*` picked out: the next key is then looked up in each.
enum Found {
    One(Value),
    Many(Vec<Value>),
}

impl Found {
    fn into_value(self) -> Value {
        match self {
            Self::One(value) => value,
            Self::Many(values) => Value::Array(values),
        }
    }

    fn index(self, key: &Value) -> Self {
        match self {
            Self::One(value) => Self::One(index(&value, key)),
            Self::Many(values) => {
                let picked = values.iter().map(|value| index(value, key));
                Self::Many(picked.filter(|value| !value.is_null()).collect())
            }
        }
    }

    fn each(self) -> Self {
        let of = |value: Value| match value {
            Value::Array(items) => items,
            Value::Object(entries) => entries.into_iter().map(|(_, value)| value).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        Self::Many(match self {
            Self::One(value) => of(value),
            Self::Many(values) => values.into_iter().flat_map(of).collect(),
        })
    }
}

/// What is not there is null.
fn index(value: &Value, key: &Value) -> Value {
    match value {
        Value::Object(entries) => property(entries, &value::to_text(key)),
        Value::Array(items) => {
            let at = value::to_number(key);
            // Negative numbers and NaN become positions that no list has.
            let at = if at >= 0.0 { at as usize } else { usize::MAX };
            items.get(at).cloned().unwrap_or(Value::Null)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Value::Null,
    }
}

/// Names of properties are compared without regard to case.
fn property(entries: &Map<String, Value>, name: &str) -> Value {
    let exact = entries.get(name);
    let found = exact.or_else(|| {
        let like = |(key, _): &(&String, &Value)| value::same_text(key, name);
        entries.iter().find(like).map(|(_, value)| value)
    });
    found.cloned().unwrap_or(Value::Null)
}

/// `&&` and `||` give one of their operands, and do not look at the second without need.
fn binary(
    operator: Operator,
    left: &Expression,
    right: &Expression,
    scope: &Scope,
) -> Result<Value, EvaluationError> {
    let left = left.evaluate(scope)?;
    match operator {
        Operator::Or if value::truthy(&left) => return Ok(left),
        Operator::And if !value::truthy(&left) => return Ok(left),
        Operator::Or | Operator::And => return right.evaluate(scope),
        Operator::Equal
        | Operator::NotEqual
        | Operator::Less
        | Operator::LessOrEqual
        | Operator::Greater
        | Operator::GreaterOrEqual => {}
    }
    let right = right.evaluate(scope)?;
    let order = value::order(&left, &right);
    Ok(Value::Bool(match operator {
        Operator::Equal => value::equal(&left, &right),
        Operator::NotEqual => !value::equal(&left, &right),
        Operator::Less => order == Some(Ordering::Less),
        Operator::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Operator::Greater => order == Some(Ordering::Greater),
        Operator::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        Operator::Or | Operator::And => unreachable!("answered above"),
    }))
}
