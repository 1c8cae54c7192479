//! The expressions of success and failure conditions.
//!
//! ```text
//!  text ──lexer──► tokens ──parser──► syntax tree ──eval──► value
//! ```
//!
//! The language is expr-lang's (<https://expr-lang.org/docs/language-definition>) as far as a
//! condition needs it, over the one variable `result`, with the helpers that Argo Rollouts adds.
//! A tree is evaluated in bounded time and memory. What the language has and this evaluator does
//! not (`let`, date functions, …) is refused by name when the expression is read.

mod eval;
mod functions;
mod lexer;
mod parser;
mod syntax;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;

use syntax::Node;
pub(crate) use value::Value;

/// An expression that could be read.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    source: String,
    root: Node,
}

/// What is wrong with an expression, or with its evaluation, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpressionError {
    message: String,
    source: String,
    /// Byte offset into `source`.
    at: usize,
}

impl std::error::Error for ExpressionError {}

impl fmt::Display for ExpressionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = &self.source[..self.at.min(self.source.len())];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line_number = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count();
        let line = self.source[line_start..].lines().next().unwrap_or_default();
        let dots = ".".repeat(column);
        write!(
            f,
            "{} ({line_number}:{})\n | {line}\n | {dots}^",
            self.message,
            column + 1
        )
    }
}

/// A message and the byte offset that it is about.
type Problem = (String, usize);

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Naming what is no expression, or not supported, and where.
    pub(crate) fn parse(source: &str) -> Result<Self, ExpressionError> {
        let root = lexer::tokens(source)
            .and_then(parser::parse)
            .map_err(|problem| located(source, problem))?;
        Ok(Self {
            source: source.to_owned(),
            root,
        })
    }

    /// The expression's value for a `result`.
    ///
    /// # Errors
    /// Where an operation does not fit its operands: an index out of range, say.
    pub(crate) fn evaluate(&self, result: &Value) -> Result<Value, ExpressionError> {
        eval::evaluate(&self.root, result).map_err(|problem| located(&self.source, problem))
    }

    /// Whether the condition holds for a `result`.
    ///
    /// # Errors
    /// As [`Expression::evaluate`], and where the value is neither true nor false.
    pub(crate) fn holds(&self, result: &Value) -> Result<bool, ExpressionError> {
        match self.evaluate(result)? {
            Value::Bool(holds) => Ok(holds),
            other => Err(located(
                &self.source,
                (format!("expected bool, but got {}", other.type_name()), 0),
            )),
        }
    }
}

fn located(source: &str, (message, at): Problem) -> ExpressionError {
    ExpressionError {
        message,
        source: source.to_owned(),
        at,
    }
}
