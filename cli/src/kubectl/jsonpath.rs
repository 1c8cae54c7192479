//! kubectl's JSONPath templates: `{.items[*].metadata.name}`, `{range .items[*]}…{end}`,
//! `{.status.conditions[?(@.type=="Ready")].status}`, `{"\n"}`.
//! <https://kubernetes.io/docs/reference/kubectl/jsonpath/>

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
        let parsed = Parser { rest: text }.template();
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

type Parsed<T> = std::result::Result<T, String>;

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
