//! kubectl's JSONPath templates: `{.items[*].metadata.name}`, `{range .items[*]}…{end}`,
//! `{.status.conditions[?(@.type=="Ready")].status}`, `{"\n"}`.
//! <https://kubernetes.io/docs/reference/kubectl/jsonpath/>

mod parse;

use serde_json::Value;

use super::error::{Result, said};
use super::print::sorted;

/// A template that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Vec<Node>);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Node>),
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// `$`
    Root,
    Field(String),
    /// `*`, `[*]`
    Every,
    /// `..`
    Deep,
    /// `[1:3:1]`; an index is a slice of one.
    Slice(Option<i64>, Option<i64>, Option<i64>),
    Index(i64),
    /// `[0,2]`, `['a','b']`
    Union(Vec<Step>),
    Filter(Operand, Option<(String, Operand)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Vec<Step>),
    Value(Value),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Where it is none.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let parsed = parse::template(text);
        parsed
            .map(Self)
            .map_err(|problem| said(format!("error parsing jsonpath {text}, {problem}")))
    }

    /// Reads a template whose braces, and whose first dot, may be left out.
    pub(super) fn relaxed(text: &str) -> Result<Self> {
        if text.contains('{') {
            return Self::parse(text);
        }
        let dotted = if text.starts_with(['.', '[', '$', '@']) {
            text.to_owned()
        } else {
            format!(".{text}")
        };
        Self::parse(&format!("{{{dotted}}}"))
    }

    /// The text for an object.
    ///
    /// # Errors
    /// Where an index is out of bounds.
    pub(super) fn render(&self, object: &Value) -> Result<String> {
        let mut text = String::new();
        render(&self.0, object, object, &mut text)?;
        Ok(text)
    }

    /// What the paths find, joined; nothing where they find nothing.
    pub(super) fn render_joined(&self, object: &Value, by: &str) -> String {
        let found: Vec<_> = self.values(object).iter().map(printed).collect();
        found.join(by)
    }

    /// What the paths of the template find.
    pub(super) fn values(&self, object: &Value) -> Vec<Value> {
        let paths = self.0.iter().filter_map(|node| match node {
            Node::Path(steps) => Some(steps),
            Node::Text(_) | Node::Range(..) => None,
        });
        paths
            .filter_map(|steps| walk(steps, object, object).ok())
            .flatten()
            .cloned()
            .collect()
    }
}

fn render(nodes: &[Node], root: &Value, here: &Value, text: &mut String) -> Result<()> {
    for node in nodes {
        match node {
            Node::Text(literal) => text.push_str(literal),
            Node::Path(steps) => {
                let found: Vec<_> = walk(steps, root, here)?.into_iter().map(printed).collect();
                text.push_str(&found.join(" "));
            }
            Node::Range(steps, inner) => {
                for item in walk(steps, root, here)? {
                    render(inner, root, item, text)?;
                }
            }
        }
    }
    Ok(())
}

fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => sorted(value).to_string(),
    }
}

fn walk<'a>(steps: &[Step], root: &'a Value, here: &'a Value) -> Result<Vec<&'a Value>> {
    let mut found = vec![here];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            one(step, root, value, &mut next)?;
        }
        found = next;
    }
    Ok(found)
}

fn one<'a>(
    step: &Step,
    root: &'a Value,
    value: &'a Value,
    next: &mut Vec<&'a Value>,
) -> Result<()> {
    match step {
        Step::Root => next.push(root),
        Step::Field(name) => next.extend(value.get(name)),
        Step::Every => next.extend(children(value)),
        Step::Deep => deep(value, next),
        Step::Index(index) => {
            let Value::Array(items) = value else {
                return Ok(());
            };
            let len = i64::try_from(items.len()).unwrap_or(i64::MAX);
            let at = if *index < 0 { len + index } else { *index };
            let item = usize::try_from(at).ok().and_then(|at| items.get(at));
            next.push(item.ok_or_else(|| {
                said(format!("error executing jsonpath: array index out of bounds: index {index}, length {len}"))
            })?);
        }
        Step::Slice(from, to, by) => {
            if let Value::Array(items) = value {
                slice(items, *from, *to, *by, next);
            }
        }
        Step::Union(steps) => {
            for step in steps {
                one(step, root, value, next)?;
            }
        }
        Step::Filter(left, comparison) => {
            for item in value.as_array().into_iter().flatten() {
                if passes(left, comparison.as_ref(), root, item)? {
                    next.push(item);
                }
            }
        }
    }
    Ok(())
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            entries.into_iter().map(|(_, value)| value).collect()
        }
        _ => Vec::new(),
    }
}

fn deep<'a>(value: &'a Value, next: &mut Vec<&'a Value>) {
    next.push(value);
    for child in children(value) {
        deep(child, next);
    }
}

fn slice<'a>(
    items: &'a [Value],
    from: Option<i64>,
    to: Option<i64>,
    by: Option<i64>,
    next: &mut Vec<&'a Value>,
) {
    let len = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let place = |index: i64| if index < 0 { len + index } else { index }.clamp(0, len);
    let (from, to) = (place(from.unwrap_or(0)), place(to.unwrap_or(len)));
    let by = usize::try_from(by.unwrap_or(1)).unwrap_or(1).max(1);
    for at in (from..to).step_by(by) {
        next.extend(usize::try_from(at).ok().and_then(|at| items.get(at)));
    }
}

fn passes(
    left: &Operand,
    comparison: Option<&(String, Operand)>,
    root: &Value,
    item: &Value,
) -> Result<bool> {
    let value = |operand: &Operand| -> Result<Option<Value>> {
        Ok(match operand {
            Operand::Value(value) => Some(value.clone()),
            Operand::Path(steps) => walk(steps, root, item)?
                .first()
                .map(|value| (*value).clone()),
        })
    };
    let left = value(left)?;
    let Some((operator, right)) = comparison else {
        return Ok(left.is_some());
    };
    let (Some(left), Some(right)) = (left, value(right)?) else {
        return Ok(false);
    };
    let order = match (&left, &right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    Ok(match operator.as_str() {
        "==" => left == right || order.is_some_and(std::cmp::Ordering::is_eq),
        "!=" => !(left == right || order.is_some_and(std::cmp::Ordering::is_eq)),
        "<" => order.is_some_and(std::cmp::Ordering::is_lt),
        "<=" => order.is_some_and(std::cmp::Ordering::is_le),
        ">" => order.is_some_and(std::cmp::Ordering::is_gt),
        _ => order.is_some_and(std::cmp::Ordering::is_ge),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn case(template: &str, expected: &str) {
        let object = json!({
            "kind": "List",
            "items": [
                {"metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}}, "n": 1, "ready": true},
                {"metadata": {"name": "b"}, "n": 2, "tags": ["p", "q", "r"]},
                {"metadata": {"name": "c"}, "n": 3}
            ]
        });
        let rendered = Template::parse(template).and_then(|template| template.render(&object));
        assert_eq!(
            rendered.unwrap_or_else(|error| error.text("get")),
            expected,
            "{template}"
        );
    }

    #[test]
    fn paths_are_followed() {
        case("{.kind}", "List");
        case("{kind}", "List");
        case("{$.kind}", "List");
        case("{.items[*].metadata.name}", "a b c");
        case("{.items[0].metadata.name}", "a");
        case("{.items[-1].metadata.name}", "c");
        case("{.items[0:2].metadata.name}", "a b");
        case("{.items[::2].metadata.name}", "a c");
        case("{.items[0,2].metadata.name}", "a c");
        case("{.items[0]['n','ready']}", "1 true");
        case("{..name}", "a b c");
        case("{.items[1].tags}", "[\"p\",\"q\",\"r\"]");
        case(
            "{.items[0].metadata.labels.app\\.kubernetes\\.io/name}",
            "x",
        );
        case("{.items[0].metadata.labels['app.kubernetes.io/name']}", "x");
        case("{.missing.more}", "");
    }

    #[test]
    fn filters_choose_items() {
        case("{.items[?(@.metadata.name==\"b\")].n}", "2");
        case("{.items[?(@.n>1)].metadata.name}", "b c");
        case("{.items[?(@.n != 2)].metadata.name}", "a c");
        case("{.items[?(@.ready)].metadata.name}", "a");
    }

    #[test]
    fn text_and_ranges_stand_around_paths() {
        case("name: {.items[0].metadata.name}!", "name: a!");
        case(
            "{range .items[*]}{.metadata.name}={.n}{\"\\n\"}{end}",
            "a=1\nb=2\nc=3\n",
        );
        case("{.kind}{'\\t'}{.items[0].n}", "List\t1");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for template in [
            "{.a",
            "{.items[}",
            "{range .items[*]}x",
            "{end}",
            "{\"a}",
            "{.items[?(@.a==)]}",
        ] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
        case(
            "{.items[9]}",
            "error: error executing jsonpath: array index out of bounds: index 9, length 3",
        );
    }
}
