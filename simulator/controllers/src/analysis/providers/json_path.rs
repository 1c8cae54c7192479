//! A path into JSON, as Kubernetes writes it: `{$.data.items[0].name}`.
//!
//! Supported: `$`, `.name`, `['name']`, `[index]` (negative from the end), `[*]`, `.*` and
//! `[from:to]`. Filters, unions, `..` and `range` are refused by name: a condition's own
//! `filter` and `map` do the same.
//!
//! <https://kubernetes.io/docs/reference/kubectl/jsonpath/>

use serde_json::Value;

/// A path that could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::analysis) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Slice(Option<i64>, Option<i64>),
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("jsonPath {path:?}: {reason}")]
pub(in crate::analysis) struct JsonPathError {
    path: String,
    reason: String,
}

impl JsonPath {
    /// Reads a path; an empty one means everything.
    ///
    /// # Errors
    /// Naming what is no path, or not supported.
    pub(in crate::analysis) fn parse(path: &str) -> Result<Self, JsonPathError> {
        let fail = |reason: &str| JsonPathError {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let text = path.trim();
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let inside = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
            .ok_or_else(|| fail("it must stand in braces, such as {$.data}"))?
            .trim();
        if inside.contains(['{', '}']) || inside.starts_with("range") {
            return Err(fail("only one expression is supported here, without range"));
        }
        let mut rest = inside.strip_prefix('$').unwrap_or(inside);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest).map_err(|reason| fail(&reason))?;
            steps.extend(step);
            rest = after;
        }
        Ok(Self(steps))
    }

    /// What the path leads to; several values where it has a `*` or a slice.
    ///
    /// # Errors
    /// Naming a field or an index that is not there.
    pub(in crate::analysis) fn find<'a>(&self, json: &'a Value) -> Result<Vec<&'a Value>, String> {
        let mut found = vec![json];
        for step in &self.0 {
            let mut next = Vec::new();
            for value in found {
                follow(step, value, &mut next)?;
            }
            found = next;
        }
        Ok(found)
    }
}

/// The step that a text begins with, and what follows; `.` alone is no step.
fn step(text: &str) -> Result<(Option<Step>, &str), String> {
    if text.starts_with("..") {
        return Err("recursive descent (..) is not supported here".to_owned());
    }
    if let Some(inside) = text.strip_prefix('[') {
        return bracket(inside);
    }
    let name = text
        .strip_prefix('.')
        .ok_or_else(|| format!("unexpected {text:?}"))?;
    let mut field = String::new();
    let mut chars = name.char_indices();
    let mut end = name.len();
    while let Some((at, char)) = chars.next() {
        match char {
            '.' | '[' => {
                end = at;
                break;
            }
            // A point in a name is written `\.`.
            '\\' => field.extend(chars.next().map(|(_, char)| char)),
            _ => field.push(char),
        }
    }
    let step = match field.as_str() {
        "" => None,
        "*" => Some(Step::All),
        _ => Some(Step::Field(field)),
    };
    Ok((step, &name[end..]))
}

fn bracket(inside: &str) -> Result<(Option<Step>, &str), String> {
    if let Some(quote) = inside.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let (name, rest) = inside[1..]
            .split_once(quote)
            .ok_or("a quoted name does not end")?;
        let rest = rest
            .strip_prefix(']')
            .ok_or("several names in one bracket are not supported here")?;
        return Ok((Some(Step::Field(name.to_owned())), rest));
    }
    let (text, rest) = inside.split_once(']').ok_or("a bracket does not end")?;
    let text = text.trim();
    if text.starts_with('?') {
        return Err(
            "filters ([?()]) are not supported here: use filter() in the condition".to_owned(),
        );
    }
    if text.contains(',') {
        return Err("several indexes in one bracket are not supported here".to_owned());
    }
    let number = |text: &str| -> Result<i64, String> {
        text.trim()
            .parse()
            .map_err(|_| format!("invalid array index {text}"))
    };
    let bound = |text: &str| match text.trim() {
        "" => Ok(None),
        text => number(text).map(Some),
    };
    let step = match text.split_once(':') {
        Some((from, to)) => Step::Slice(bound(from)?, bound(to)?),
        None if text == "*" => Step::All,
        None => Step::Index(number(text)?),
    };
    Ok((Some(step), rest))
}

fn follow<'a>(step: &Step, value: &'a Value, found: &mut Vec<&'a Value>) -> Result<(), String> {
    match (step, value) {
        (Step::Field(name), value) => {
            found.push(
                value
                    .get(name)
                    .ok_or_else(|| format!("{name} is not found"))?,
            );
        }
        (Step::All, Value::Array(items)) => found.extend(items),
        (Step::All, Value::Object(fields)) => found.extend(fields.values()),
        (Step::Index(index), Value::Array(items)) => {
            let place = place(*index, items.len());
            let item = place.and_then(|place| items.get(place));
            found.push(item.ok_or_else(|| {
                format!(
                    "array index out of bounds: index {index}, length {}",
                    items.len()
                )
            })?);
        }
        (Step::Slice(from, to), Value::Array(items)) => {
            let length = items.len();
            let clamp = |bound: i64| place(bound, length).unwrap_or(0).min(length);
            let (from, to) = (from.map_or(0, clamp), to.map_or(length, clamp));
            found.extend(&items[from.min(to)..to]);
        }
        (Step::All | Step::Index(_) | Step::Slice(..), _) => {
            return Err(format!("{value} is not array or slice"));
        }
    }
    Ok(())
}

/// The place of an index; `None` before the first.
fn place(index: i64, length: usize) -> Option<usize> {
    if index < 0 {
        let back = usize::try_from(index.unsigned_abs()).ok()?;
        length.checked_sub(back)
    } else {
        usize::try_from(index).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn case(path: &str, expected: Result<&str, &str>) {
        let json =
            json!({"data": {"items": [{"n": 1}, {"n": 2}, {"n": 3}], "a.b": "dotted"}, "ok": true});
        let found = JsonPath::parse(path)
            .map_err(|error| error.reason)
            .and_then(|path| {
                path.find(&json)
                    .map(|found| serde_json::to_string(&found).unwrap())
            });
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{path}");
    }

    #[test]
    fn paths_lead_to_values() {
        case("{$.ok}", Ok("[true]"));
        case("{.ok}", Ok("[true]"));
        case("{$.data.items[0].n}", Ok("[1]"));
        case("{$.data.items[-1].n}", Ok("[3]"));
        case("{$.data.items[*].n}", Ok("[1,2,3]"));
        case("{$.data.items[1:].n}", Ok("[2,3]"));
        case("{$.data['a.b']}", Ok("[\"dotted\"]"));
        case("{$.data.a\\.b}", Ok("[\"dotted\"]"));
    }

    #[test]
    fn what_is_not_there_or_not_supported_is_named() {
        case("{$.missing}", Err("missing is not found"));
        case(
            "{$.data.items[7]}",
            Err("array index out of bounds: index 7, length 3"),
        );
        case("{$.ok[0]}", Err("true is not array or slice"));
        case("$.ok", Err("it must stand in braces, such as {$.data}"));
        case(
            "{$..n}",
            Err("recursive descent (..) is not supported here"),
        );
        case(
            "{$.data.items[?(@.n==1)]}",
            Err("filters ([?()]) are not supported here: use filter() in the condition"),
        );
    }
}
