//! Conditions of labs, in the Common Expression Language, over what a check looked at.
//!
//! It is the language of Kubernetes' own validation rules: it has no loops but over lists that are
//! there, no side effects, and no access to anything but the values that it is given. A field that
//! is not there makes a condition false, with a word about which one.
//! <https://kubernetes.io/docs/reference/using-api/cel/>

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cel::common::ast::{EntryExpr, Expr};
use cel::{Context, Env, ExecutionError, IdedExpr, Value as Cel};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::diagnosis::Diagnosis;
use crate::lab::Cause;

/// How long conditions may be worked on.
const LIMIT: Duration = Duration::from_secs(2);
/// Longest condition, in bytes: what is longer, nobody reads.
const SOURCE_MAX: usize = 2_000;
/// How deep a condition may be nested; the interpreter recurses.
const DEPTH_MAX: u16 = 48;
/// How many loops over lists may stand in one another: time grows with that power.
const LOOPS_MAX: usize = 3;
/// How many values are shown of those that a condition looks at.
const SHOWN_MAX: usize = 4;
/// How much of one value is shown, in letters.
const VALUE_MAX: usize = 60;

/// A condition that was understood.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    source: String,
    expression: IdedExpr,
}

/// The values that a condition may name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope(Vec<(&'static str, Value)>);

impl Scope {
    /// With one more name.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.0.push((name, value));
        self
    }
}

impl Condition {
    /// Reads a condition. The error says what is wrong, with line and column in it.
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        if source.len() > SOURCE_MAX {
            return Err(format!(
                "the condition is longer than {SOURCE_MAX} characters"
            ));
        }
        let parser = Env::stdlib().parser().max_recursion_depth(DEPTH_MAX);
        let expression = parser.parse(source).map_err(|errors| {
            let first = errors.errors.first();
            first.map_or_else(
                || "the condition cannot be read".to_owned(),
                |error| {
                    format!(
                        "{source:?}, at {}:{}: {}",
                        error.pos.0, error.pos.1, error.msg
                    )
                },
            )
        })?;
        if loops(&expression) > LOOPS_MAX {
            return Err(format!(
                "{source:?} has more than {LOOPS_MAX} loops in one another"
            ));
        }
        Ok(Self {
            source: source.to_owned(),
            expression,
        })
    }

    /// Refuses names that are neither among `known` nor bound in the condition itself.
    pub(crate) fn names_only(&self, known: &[&str]) -> Result<(), String> {
        match stranger(&self.expression, &mut known.to_vec()) {
            Some(name) => Err(format!(
                "{:?} names {name:?}; there is: {}",
                self.source,
                known.join(", ")
            )),
            None => Ok(()),
        }
    }

    /// True where it names `name`.
    pub(crate) fn mentions(&self, name: &str) -> bool {
        self.expression.references().has_variable(name)
    }

    /// The text.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is true. The error says why nothing can be said, as where a field is missing.
    pub(crate) fn holds(&self, scope: &Scope) -> Result<bool, String> {
        match context(scope).resolve(&self.expression) {
            Ok(Cel::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("neither true nor false: {}", shown(&other))),
            Err(error) => Err(problem(&error)),
        }
    }

    /// The values that it looks at, as `object.spec.replicas = 2`; a field that is not there is
    /// shown as `–`.
    pub(crate) fn looked_at(&self, scope: &Scope) -> String {
        let names: BTreeSet<_> = scope.0.iter().map(|(name, _)| *name).collect();
        let mut paths = Vec::new();
        collect(&self.expression, &names, &mut paths);
        let context = context(scope);
        let mut texts = Vec::new();
        for path in paths {
            let value = context.resolve(path);
            let value = value.map_or_else(|_| "–".to_owned(), |value| shown(&value));
            let text = format!("{} = {value}", written(path));
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let more = texts.len() > SHOWN_MAX;
        texts.truncate(SHOWN_MAX);
        if more {
            texts.push("…".to_owned());
        }
        texts.join(", ")
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for Condition {
    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A condition in the Common Expression Language."
        })
    }
}

/// For [`CheckDef::accepts`](crate::checks::CheckDef::accepts): whether the conditions of a lab's
/// own causes can be read, and name nothing but `known`.
pub(crate) fn accepts_causes(causes: &[Cause], known: &[&str]) -> Result<(), String> {
    causes.iter().try_for_each(|cause| match &cause.when {
        None => Ok(()),
        Some(when) => Condition::parse(when)
            .and_then(|condition| condition.names_only(known))
            .map_err(|problem| format!("cause {:?}: {problem}", cause.id)),
    })
}

/// Judges where it may take a while: conditions are tried on a thread of their own, and given up
/// after a moment.
pub(crate) async fn bounded<T: Send + 'static>(
    check: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Diagnosis> {
    match timeout(LIMIT, spawn_blocking(work)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(failure)) => Err(Diagnosis::BadParameters {
            check: check.to_owned(),
            problem: failure.to_string(),
        }),
        Err(_) => Err(Diagnosis::TimedOut {
            seconds: LIMIT.as_secs().to_string(),
        }),
    }
}

/// `found`, or in its place the cause that the lab itself names: the first whose condition is
/// true; else one without a condition, unless `found` says already what is missing.
pub(crate) fn or_cause(found: Diagnosis, causes: &[Cause], scope: &Scope) -> Diagnosis {
    let holds = |when: &str| Condition::parse(when).and_then(|condition| condition.holds(scope));
    let is_true = |cause: &&Cause| cause.when.as_deref().map(holds) == Some(Ok(true));
    let says_enough = matches!(
        found,
        Diagnosis::Missing { .. }
            | Diagnosis::NamedOtherwise { .. }
            | Diagnosis::InAnotherNamespace { .. }
            | Diagnosis::NoWorkspace { .. }
            | Diagnosis::FileMissing { .. }
            | Diagnosis::FileNotParsed { .. }
            | Diagnosis::CommandMissing { .. }
            | Diagnosis::CommandTooSlow { .. }
    );
    let last_resort = || causes.iter().find(|cause| cause.when.is_none());
    let told = causes.iter().find(is_true);
    told.or_else(|| last_resort().filter(|_| !says_enough))
        .map_or(found, Diagnosis::authored)
}

fn context(scope: &Scope) -> Context<'static, 'static> {
    let mut context = Context::with_env(Arc::new(Env::stdlib()));
    for (name, value) in &scope.0 {
        context.add_variable_from_value(*name, to_cel(value));
    }
    context
}

/// JSON as the language sees it. Whole numbers are all of one type, as in Kubernetes, so that
/// authors need no `u` behind them.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Cel::Int(whole),
            (None, float) => Cel::Float(float.unwrap_or(f64::NAN)),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| (key.as_str().into(), to_cel(value)));
            Cel::Map(cel::objects::Map {
                map: Arc::new(fields.collect()),
            })
        }
    }
}

fn problem(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("there is no field {key}"),
        other => {
            let text = other.to_string();
            // Errors quote whole values; an object fills the screen.
            text.chars().take(200).collect()
        }
    }
}

/// Names of types, which are values too (`type(x) == int`).
const TYPES: [&str; 11] = [
    "bool",
    "bytes",
    "double",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
];

/// The first name that is not known where it stands.
fn stranger<'a>(expression: &'a IdedExpr, known: &mut Vec<&'a str>) -> Option<&'a str> {
    match &expression.expr {
        Expr::Ident(name) => {
            let name = name.as_str();
            (!known.contains(&name) && !TYPES.contains(&name)).then_some(name)
        }
        Expr::Comprehension(it) => {
            let outside = [&it.iter_range, &it.accu_init];
            if let Some(name) = outside.into_iter().find_map(|part| stranger(part, known)) {
                return Some(name);
            }
            let length = known.len();
            known.extend([it.iter_var.as_str(), it.accu_var.as_str()]);
            known.extend(it.iter_var2.as_deref());
            let inside = [&it.loop_cond, &it.loop_step, &it.result];
            let found = inside.into_iter().find_map(|part| stranger(part, known));
            known.truncate(length);
            found
        }
        Expr::Unspecified
        | Expr::Call(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Select(_)
        | Expr::Struct(_) => children(expression)
            .into_iter()
            .find_map(|child| stranger(child, known)),
    }
}

/// How many loops stand in one another.
fn loops(expression: &IdedExpr) -> usize {
    let inner = children(expression).into_iter().map(loops).max();
    let own = usize::from(matches!(expression.expr, Expr::Comprehension(_)));
    inner.unwrap_or(0) + own
}

fn children(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call
            .target
            .as_deref()
            .into_iter()
            .chain(&call.args)
            .collect(),
        Expr::Comprehension(it) => vec![
            &it.iter_range,
            &it.accu_init,
            &it.loop_cond,
            &it.loop_step,
            &it.result,
        ],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => entries(map.entries.iter().map(|entry| &entry.expr)),
        Expr::Select(select) => vec![&select.operand],
        Expr::Struct(value) => entries(value.entries.iter().map(|entry| &entry.expr)),
    }
}

fn entries<'a>(entries: impl Iterator<Item = &'a EntryExpr>) -> Vec<&'a IdedExpr> {
    entries
        .flat_map(|entry| match entry {
            EntryExpr::StructField(field) => vec![&field.value],
            EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        })
        .collect()
}

/// The longest paths that begin with one of `names`.
fn collect<'a>(expression: &'a IdedExpr, names: &BTreeSet<&str>, found: &mut Vec<&'a IdedExpr>) {
    if is_path(expression, names) {
        found.push(expression);
        return;
    }
    for child in children(expression) {
        collect(child, names, found);
    }
}

fn is_path(expression: &IdedExpr, names: &BTreeSet<&str>) -> bool {
    match &expression.expr {
        Expr::Ident(name) => names.contains(name.as_str()),
        Expr::Select(select) => !select.test && is_path(&select.operand, names),
        Expr::Call(call) if call.func_name == "_[_]" => {
            let [of, Some(Expr::Literal(_))] = [call.args.first(), call.args.get(1)]
                .map(|argument| argument.map(|argument| &argument.expr))
            else {
                return false;
            };
            of.is_some() && call.args.first().is_some_and(|of| is_path(of, names))
        }
        Expr::Unspecified
        | Expr::Call(_)
        | Expr::Comprehension(_)
        | Expr::List(_)
        | Expr::Literal(_)
        | Expr::Map(_)
        | Expr::Struct(_) => false,
    }
}

/// A path as its author wrote it.
fn written(path: &IdedExpr) -> String {
    use cel::common::ast::LiteralValue;
    match &path.expr {
        Expr::Ident(name) => name.clone(),
        Expr::Select(select) => format!("{}.{}", written(&select.operand), select.field),
        Expr::Call(call) => {
            let mut parts = call.args.iter();
            let of = parts.next().map(written).unwrap_or_default();
            let key = match parts.next().map(|key| &key.expr) {
                Some(Expr::Literal(LiteralValue::String(text))) => format!("{:?}", text.inner()),
                Some(Expr::Literal(LiteralValue::Int(number))) => number.inner().to_string(),
                _ => "…".to_owned(),
            };
            format!("{of}[{key}]")
        }
        _ => "…".to_owned(),
    }
}

fn shown(value: &Cel) -> String {
    let text = match value {
        Cel::Null => "null".to_owned(),
        Cel::Bool(value) => value.to_string(),
        Cel::Int(value) => value.to_string(),
        Cel::UInt(value) => value.to_string(),
        Cel::Float(value) => value.to_string(),
        Cel::String(text) => format!("{text:?}"),
        Cel::List(items) => {
            let items: Vec<_> = items.iter().map(shown).collect();
            format!("[{}]", items.join(", "))
        }
        Cel::Map(map) => {
            let mut fields: Vec<_> = map
                .map
                .iter()
                .map(|(key, value)| format!("{key}: {}", shown(value)))
                .collect();
            fields.sort();
            format!("{{{}}}", fields.join(", "))
        }
        other => format!("{other:?}"),
    };
    shortened(&text)
}

/// The beginning of a text, enough to know it again.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Text;
    use serde_json::json;

    fn scope() -> Scope {
        let object = json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "hello"}},
            "spec": {"replicas": 3, "paused": false, "ports": [{"port": 80}, {"port": 443}], "ratio": 0.5},
        });
        Scope::default().with("object", object)
    }

    #[track_caller]
    fn case(source: &str, expected: Result<bool, &str>) {
        let condition = Condition::parse(source).unwrap();
        let found = condition.holds(&scope());
        assert_eq!(
            found.as_ref().map(|holds| *holds).map_err(String::as_str),
            expected,
            "{source}"
        );
    }

    #[test]
    fn conditions_are_true_or_false() {
        case("object.spec.replicas == 3", Ok(true));
        case("object.spec.replicas - 1 > 2", Ok(false));
        case("object.spec.ratio < 1.0 && !object.spec.paused", Ok(true));
        case("object.spec.ports.exists(it, it.port == 443)", Ok(true));
        case("object.spec.ports.all(it, it.port == 443)", Ok(false));
        case("object.spec.ports.map(it, it.port) == [80, 443]", Ok(true));
        case("size(object.spec.ports) == 2", Ok(true));
        case(
            "object.metadata.labels['app.kubernetes.io/name'].matches('^hel+o$')",
            Ok(true),
        );
        case("has(object.spec.strategy)", Ok(false));
    }

    #[test]
    fn a_field_that_is_not_there_is_named_and_nothing_breaks() {
        case("object.spec.replcas == 3", Err("there is no field replcas"));
        case(
            "object.status.phase == 'x'",
            Err("there is no field status"),
        );
        case("has(object.spec.x) && object.spec.x == 1", Ok(false));
        case("object.spec.replicas", Err("neither true nor false: 3"));
        let text = Condition::parse("object.spec.replicas == 'three'").unwrap();
        assert_ne!(text.holds(&scope()), Ok(true));
        let index = Condition::parse("object.spec.ports[7].port == 1").unwrap();
        index.holds(&scope()).unwrap_err();
        let division = Condition::parse("1 / 0 == 1").unwrap();
        division.holds(&scope()).unwrap_err();
    }

    #[test]
    fn what_cannot_be_read_or_would_take_for_ever_is_refused() {
        for source in [
            "",
            "object.",
            "object.spec.replicas = 3",
            "((",
            &"(".repeat(500),
            &format!("{}1{}", "(".repeat(100), ")".repeat(100)),
            &"!".repeat(2_001),
            "[1].all(a, [1].all(b, [1].all(c, [1].all(d, a == d))))",
        ] {
            let short: String = source.chars().take(40).collect();
            assert!(Condition::parse(source).is_err(), "{short}");
        }
    }

    #[test]
    fn names_that_are_not_there_are_refused_before_anything_is_looked_at() {
        let names = |source: &str| Condition::parse(source).unwrap().names_only(&["object"]);
        let stranger = names("objct.spec == 1").unwrap_err();
        assert!(stranger.contains("\"objct\""), "{stranger}");
        names("object.a.exists(it, it.b == 1) && type(object.a) == int").unwrap();
        names("object.a.exists(it, it.b == 1) && it.c == 1").unwrap_err();
    }

    #[test]
    fn the_values_that_were_looked_at_are_shown() {
        let shown = |source: &str| Condition::parse(source).unwrap().looked_at(&scope());
        assert_eq!(
            shown("object.spec.replicas == 4 && object.spec.pused"),
            "object.spec.replicas = 3, object.spec.pused = –"
        );
        assert_eq!(
            shown("object.spec.ports.exists(it, it.port == 1)"),
            "object.spec.ports = [{port: 80}, {port: 443}]"
        );
        assert_eq!(
            shown("object.spec.ports[1].port == 1"),
            "object.spec.ports[1].port = 443"
        );
        assert_eq!(shown("1 == 2"), "");
    }

    #[test]
    fn the_first_cause_that_is_true_is_named_before_one_without_a_condition() {
        let cause_of = |id: &str, when: Option<&str>| Cause {
            id: id.to_owned(),
            when: when.map(str::to_owned),
            text: Text::default(),
            look: None,
        };
        let causes = [
            cause_of("else", None),
            cause_of("broken", Some("object.nothing.at.all")),
            cause_of("four", Some("object.spec.replicas == 4")),
            cause_of("three", Some("object.spec.replicas == 3")),
            cause_of("any", Some("true")),
        ];
        let general = || Diagnosis::NotAnswered {
            question: String::new(),
        };
        let found = |found: Diagnosis, causes: &[Cause]| {
            or_cause(found, causes, &scope()).name().to_owned()
        };
        assert_eq!(found(general(), &causes), "three");
        assert_eq!(found(general(), &causes[..3]), "else");
        assert_eq!(found(general(), &causes[1..3]), "not-answered");
        let missing = Diagnosis::NoWorkspace {
            path: String::new(),
        };
        assert_eq!(found(missing.clone(), &causes[..3]), "no-workspace");
        assert_eq!(found(missing, &causes), "three");
    }
}
