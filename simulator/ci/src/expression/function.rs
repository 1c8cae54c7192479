//! The functions of expressions.

use serde_json::Value;

use super::value::{equal, same_text, to_text, truthy};
use super::{EvaluationError, Expression, Scope, Standing, hash_files};

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// Is the second in the first?
    Contains,
    /// Does the first begin with the second?
    StartsWith,
    /// Does the first end with the second?
    EndsWith,
    /// Puts values into `{0}`, `{1}` …
    Format,
    /// The items of a list as one text.
    Join,
    /// A value as indented JSON.
    ToJson,
    /// JSON as a value.
    FromJson,
    /// One digest over files.
    HashFiles,
    /// Did all go well so far?
    Success,
    /// Yes.
    Always,
    /// Was the run cancelled?
    Cancelled,
    /// Did something fail?
    Failure,
}

/// A function's name and how many arguments it takes.
pub(super) struct FunctionDef {
    pub(super) name: &'static str,
    pub(super) function: Function,
    pub(super) least: usize,
    pub(super) most: Option<usize>,
}

const fn def(
    name: &'static str,
    function: Function,
    least: usize,
    most: Option<usize>,
) -> FunctionDef {
    FunctionDef {
        name,
        function,
        least,
        most,
    }
}

/// Every function. To add one, add its variant, its line here and its branch in `call`.
pub(super) const ALL: &[FunctionDef] = &[
    def("contains", Function::Contains, 2, Some(2)),
    def("startsWith", Function::StartsWith, 2, Some(2)),
    def("endsWith", Function::EndsWith, 2, Some(2)),
    def("format", Function::Format, 1, None),
    def("join", Function::Join, 1, Some(2)),
    def("toJSON", Function::ToJson, 1, Some(1)),
    def("fromJSON", Function::FromJson, 1, Some(1)),
    def("hashFiles", Function::HashFiles, 1, None),
    def("success", Function::Success, 0, Some(0)),
    def("always", Function::Always, 0, Some(0)),
    def("cancelled", Function::Cancelled, 0, Some(0)),
    def("failure", Function::Failure, 0, Some(0)),
];

impl Function {
    /// Its name, as it is documented.
    pub(crate) fn name(self) -> &'static str {
        let def = ALL.iter().find(|def| def.function == self);
        def.map_or("?", |def| def.name)
    }

    /// True for those that say how things stand; they belong into `if`.
    pub(crate) fn is_status(self) -> bool {
        matches!(
            self,
            Self::Success | Self::Always | Self::Cancelled | Self::Failure
        )
    }

    pub(super) fn call(
        self,
        arguments: &[Expression],
        scope: &Scope,
    ) -> Result<Value, EvaluationError> {
        let values = arguments
            .iter()
            .map(|argument| argument.evaluate(scope))
            .collect::<Result<Vec<_>, _>>()?;
        let text = |at: usize| values.get(at).map_or_else(String::new, to_text);
        Ok(match self {
            Self::Contains => Value::Bool(contains(&values[0], &values[1])),
            Self::StartsWith => {
                Value::Bool(text(0).to_uppercase().starts_with(&text(1).to_uppercase()))
            }
            Self::EndsWith => {
                Value::Bool(text(0).to_uppercase().ends_with(&text(1).to_uppercase()))
            }
            Self::Format => Value::String(format(&text(0), &values[1..])?),
            Self::Join => {
                let separator = values.get(1).map_or_else(|| ",".to_owned(), to_text);
                Value::String(join(&values[0], &separator))
            }
            Self::ToJson => Value::String(pretty(&values[0])?),
            Self::FromJson => from_json(&text(0))?,
            Self::HashFiles => {
                let patterns: Vec<_> = (0..values.len()).map(text).collect();
                Value::String(hash_files::hash(&scope.workspace, &patterns)?)
            }
            Self::Success => Value::Bool(scope.standing == Standing::Success),
            Self::Always => Value::Bool(true),
            Self::Cancelled => Value::Bool(scope.standing == Standing::Cancelled),
            Self::Failure => Value::Bool(scope.standing == Standing::Failure),
        })
    }
}

fn contains(of: &Value, item: &Value) -> bool {
    match of {
        Value::Array(items) => items.iter().any(|one| equal(one, item)),
        Value::Object(_) => false,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => to_text(of)
            .to_uppercase()
            .contains(&to_text(item).to_uppercase()),
    }
}

fn join(list: &Value, separator: &str) -> String {
    match list {
        Value::Array(items) => {
            let texts: Vec<_> = items.iter().map(to_text).collect();
            texts.join(separator)
        }
        other => to_text(other),
    }
}

/// `{0}` is replaced, `{{` and `}}` are braces.
fn format(pattern: &str, values: &[Value]) -> Result<String, EvaluationError> {
    let invalid = || {
        EvaluationError(format!(
            "format: {pattern:?} has a brace out of place; braces are written {{{{ and }}}}"
        ))
    };
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..];
        if brace.starts_with("{{") || brace.starts_with("}}") {
            out.push_str(&brace[..1]);
            rest = &brace[2..];
            continue;
        }
        let end = brace
            .find('}')
            .filter(|_| brace.starts_with('{'))
            .ok_or_else(invalid)?;
        let number: usize = brace[1..end].parse().map_err(|_| invalid())?;
        let value = values.get(number).ok_or_else(|| {
            EvaluationError(format!(
                "format: {pattern:?} asks for {{{number}}}, and {} value(s) are given",
                values.len()
            ))
        })?;
        out.push_str(&to_text(value));
        rest = &brace[end + 1..];
    }
    Ok(out + rest)
}

fn pretty(value: &Value) -> Result<String, EvaluationError> {
    serde_json::to_string_pretty(value).map_err(|error| EvaluationError(error.to_string()))
}

fn from_json(text: &str) -> Result<Value, EvaluationError> {
    serde_json::from_str(text).map_err(|error| {
        let shown: String = text.chars().take(60).collect();
        EvaluationError(format!("fromJSON: {shown:?} is not JSON: {error}"))
    })
}

/// A word as a truth value, as `continue-on-error` and `fail-fast` need it.
pub(crate) fn as_bool(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Null => Some(false),
        Value::String(text) if same_text(text, "true") => Some(true),
        Value::String(text) if text.is_empty() || same_text(text, "false") => Some(false),
        Value::Number(_) => Some(truthy(value)),
        Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
