//! The functions that an expression may call.

use std::collections::BTreeMap;

use super::value::Value;

/// A function, named as in expr-lang or by Argo Rollouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    AsInt,
    AsFloat,
    IsNaN,
    IsInf,
    IsNil,
    Default,
    Len,
    All,
    Any,
    None,
    One,
    Filter,
    Map,
    Count,
    Find,
    FindIndex,
    FindLast,
    FindLastIndex,
    Reduce,
    Sum,
    Mean,
    Median,
    Min,
    Max,
    Abs,
    Ceil,
    Floor,
    Round,
    Int,
    Float,
    String,
    Type,
    Lower,
    Upper,
    Trim,
    TrimPrefix,
    TrimSuffix,
    Split,
    Join,
    Replace,
    HasPrefix,
    HasSuffix,
    IndexOf,
    First,
    Last,
    Get,
    Keys,
    Values,
    Sort,
    Reverse,
    Uniq,
    Concat,
    Flatten,
    FromJson,
}

/// Every supported function: spelling, fewest and most arguments.
const ALL: &[(&str, Function, usize, usize)] = &[
    ("asInt", Function::AsInt, 1, 1),
    ("asFloat", Function::AsFloat, 1, 1),
    ("isNaN", Function::IsNaN, 1, 1),
    ("isInf", Function::IsInf, 1, 1),
    ("isNil", Function::IsNil, 1, 1),
    ("default", Function::Default, 2, 2),
    ("len", Function::Len, 1, 1),
    ("all", Function::All, 2, 2),
    ("any", Function::Any, 2, 2),
    ("none", Function::None, 2, 2),
    ("one", Function::One, 2, 2),
    ("filter", Function::Filter, 2, 2),
    ("map", Function::Map, 2, 2),
    ("count", Function::Count, 1, 2),
    ("find", Function::Find, 2, 2),
    ("findIndex", Function::FindIndex, 2, 2),
    ("findLast", Function::FindLast, 2, 2),
    ("findLastIndex", Function::FindLastIndex, 2, 2),
    ("reduce", Function::Reduce, 2, 3),
    ("sum", Function::Sum, 1, 2),
    ("mean", Function::Mean, 1, MANY),
    ("median", Function::Median, 1, MANY),
    ("min", Function::Min, 1, MANY),
    ("max", Function::Max, 1, MANY),
    ("abs", Function::Abs, 1, 1),
    ("ceil", Function::Ceil, 1, 1),
    ("floor", Function::Floor, 1, 1),
    ("round", Function::Round, 1, 1),
    ("int", Function::Int, 1, 1),
    ("float", Function::Float, 1, 1),
    ("string", Function::String, 1, 1),
    ("type", Function::Type, 1, 1),
    ("lower", Function::Lower, 1, 1),
    ("upper", Function::Upper, 1, 1),
    ("trim", Function::Trim, 1, 2),
    ("trimPrefix", Function::TrimPrefix, 2, 2),
    ("trimSuffix", Function::TrimSuffix, 2, 2),
    ("split", Function::Split, 2, 2),
    ("join", Function::Join, 1, 2),
    ("replace", Function::Replace, 3, 3),
    ("hasPrefix", Function::HasPrefix, 2, 2),
    ("hasSuffix", Function::HasSuffix, 2, 2),
    ("indexOf", Function::IndexOf, 2, 2),
    ("first", Function::First, 1, 1),
    ("last", Function::Last, 1, 1),
    ("get", Function::Get, 2, 2),
    ("keys", Function::Keys, 1, 1),
    ("values", Function::Values, 1, 1),
    ("sort", Function::Sort, 1, 2),
    ("reverse", Function::Reverse, 1, 1),
    ("uniq", Function::Uniq, 1, 1),
    ("concat", Function::Concat, 1, MANY),
    ("flatten", Function::Flatten, 1, 1),
    ("fromJSON", Function::FromJson, 1, 1),
];

/// As many arguments as one likes.
const MANY: usize = 1000;

/// Functions of the language that are not here.
const NOT_HERE: &[&str] = &[
    "bitand",
    "bitnand",
    "bitnot",
    "bitor",
    "bitshl",
    "bitshr",
    "bitushr",
    "bitxor",
    "date",
    "duration",
    "fromBase64",
    "fromPairs",
    "groupBy",
    "lastIndexOf",
    "now",
    "repeat",
    "sortBy",
    "splitAfter",
    "take",
    "timezone",
    "toBase64",
    "toJSON",
    "toPairs",
];

/// What is known of a name.
pub(super) enum Known {
    /// It can be called.
    Supported(Function),
    /// The language has it; this evaluator does not.
    Unsupported,
    /// No such function.
    Unknown,
}

/// Looks a function up.
pub(super) fn known(name: &str) -> Known {
    match ALL.iter().find(|(spelling, ..)| *spelling == name) {
        Some((_, function, ..)) => Known::Supported(*function),
        None if NOT_HERE.contains(&name) => Known::Unsupported,
        None => Known::Unknown,
    }
}

impl Function {
    /// Fewest and most arguments.
    pub(super) fn arguments(self) -> (usize, usize) {
        ALL.iter()
            .find(|(_, function, ..)| *function == self)
            .map_or((0, 0), |(_, _, least, most)| (*least, *most))
    }

    /// True where the second argument is evaluated for each item of the first.
    pub(super) fn takes_predicate(self) -> bool {
        matches!(
            self,
            Self::All
                | Self::Any
                | Self::None
                | Self::One
                | Self::Filter
                | Self::Map
                | Self::Count
                | Self::Find
                | Self::FindIndex
                | Self::FindLast
                | Self::FindLastIndex
                | Self::Reduce
                | Self::Sum
        )
    }

    fn name(self) -> &'static str {
        ALL.iter()
            .find(|(_, function, ..)| *function == self)
            .map_or("", |(name, ..)| name)
    }
}

/// Calls a function whose arguments are values; `None` for those that take a predicate.
pub(super) fn call(function: Function, arguments: &[Value]) -> Option<Result<Value, String>> {
    Some(match (function, arguments) {
        (Function::AsInt, [value]) => as_int(value),
        (Function::AsFloat, [value]) => as_float(value),
        (Function::Int, [value]) => int(value),
        (Function::Float, [value]) => float(value),
        (Function::IsNaN, [value]) => number(function, value).map(|n| Value::Bool(n.is_nan())),
        (Function::IsInf, [value]) => number(function, value).map(|n| Value::Bool(n.is_infinite())),
        (Function::IsNil, [value]) => Ok(Value::Bool(matches!(value, Value::Nil))),
        (Function::Default, [Value::Nil, otherwise]) => Ok(otherwise.clone()),
        (Function::Default, [value, _]) => Ok(value.clone()),
        (Function::Len, [value]) => len(value),
        (Function::Abs, [Value::Int(number)]) => Ok(Value::Int(number.wrapping_abs())),
        (Function::Abs, [value]) => number(function, value).map(|n| Value::Float(n.abs())),
        (Function::Ceil, [value]) => number(function, value).map(|n| Value::Float(n.ceil())),
        (Function::Floor, [value]) => number(function, value).map(|n| Value::Float(n.floor())),
        (Function::Round, [value]) => number(function, value).map(|n| Value::Float(n.round())),
        (Function::Sum | Function::Mean | Function::Median | Function::Min | Function::Max, _) => {
            aggregate(function, arguments)
        }
        (Function::Count, [Value::List(items)]) => count_true(items),
        (Function::String, [value]) => Ok(Value::Text(value.to_string())),
        (Function::Type, [value]) => Ok(Value::Text(kind(value).to_owned())),
        (Function::Lower, [Value::Text(text)]) => Ok(Value::Text(text.to_lowercase())),
        (Function::Upper, [Value::Text(text)]) => Ok(Value::Text(text.to_uppercase())),
        (Function::Trim, [Value::Text(text)]) => Ok(Value::Text(text.trim().to_owned())),
        (Function::Trim, [Value::Text(text), Value::Text(set)]) => Ok(Value::Text(
            text.trim_matches(|c| set.contains(c)).to_owned(),
        )),
        (Function::TrimPrefix, [Value::Text(text), Value::Text(part)]) => Ok(Value::Text(
            text.strip_prefix(part.as_str()).unwrap_or(text).to_owned(),
        )),
        (Function::TrimSuffix, [Value::Text(text), Value::Text(part)]) => Ok(Value::Text(
            text.strip_suffix(part.as_str()).unwrap_or(text).to_owned(),
        )),
        (Function::Split, [Value::Text(text), Value::Text(by)]) => Ok(Value::List(
            text.split(by.as_str())
                .map(|part| Value::Text(part.to_owned()))
                .collect(),
        )),
        (Function::Join, [Value::List(items)]) => Ok(join(items, "")),
        (Function::Join, [Value::List(items), Value::Text(by)]) => Ok(join(items, by)),
        (Function::Replace, [Value::Text(text), Value::Text(old), Value::Text(new)]) => {
            Ok(Value::Text(text.replace(old.as_str(), new)))
        }
        (Function::HasPrefix, [Value::Text(text), Value::Text(part)]) => {
            Ok(Value::Bool(text.starts_with(part.as_str())))
        }
        (Function::HasSuffix, [Value::Text(text), Value::Text(part)]) => {
            Ok(Value::Bool(text.ends_with(part.as_str())))
        }
        (Function::IndexOf, [Value::Text(text), Value::Text(part)]) => {
            Ok(Value::Int(text.find(part.as_str()).map_or(-1, size)))
        }
        (Function::First, [Value::List(items)]) => Ok(items.first().cloned().unwrap_or(Value::Nil)),
        (Function::Last, [Value::List(items)]) => Ok(items.last().cloned().unwrap_or(Value::Nil)),
        (Function::Get, [Value::Map(fields), Value::Text(key)]) => {
            Ok(fields.get(key).cloned().unwrap_or(Value::Nil))
        }
        (Function::Get, [Value::List(items), Value::Int(index)]) => Ok(usize::try_from(*index)
            .ok()
            .and_then(|index| items.get(index))
            .cloned()
            .unwrap_or(Value::Nil)),
        (Function::Keys, [Value::Map(fields)]) => Ok(Value::List(
            fields.keys().cloned().map(Value::Text).collect(),
        )),
        (Function::Values, [Value::Map(fields)]) => {
            Ok(Value::List(fields.values().cloned().collect()))
        }
        (Function::Sort, [Value::List(items)]) => sort(items, false),
        (Function::Sort, [Value::List(items), Value::Text(order)]) => sort(items, order == "desc"),
        (Function::Reverse, [Value::List(items)]) => {
            Ok(Value::List(items.iter().rev().cloned().collect()))
        }
        (Function::Uniq, [Value::List(items)]) => Ok(uniq(items)),
        (Function::Concat, lists) => concat(lists),
        (Function::Flatten, [Value::List(items)]) => Ok(Value::List(flatten(items))),
        (Function::FromJson, [Value::Text(text)]) => {
            serde_json::from_str::<serde_json::Value>(text)
                .map(Value::from)
                .map_err(|error| error.to_string())
        }
        (function, _) if function.takes_predicate() => return None,
        (function, _) => Err(does_not_fit(function, arguments)),
    })
}

fn does_not_fit(function: Function, arguments: &[Value]) -> String {
    let types: Vec<_> = arguments.iter().map(Value::type_name).collect();
    format!(
        "invalid argument for {} (type {})",
        function.name(),
        types.join(", ")
    )
}

fn number(function: Function, value: &Value) -> Result<f64, String> {
    value
        .number()
        .ok_or_else(|| does_not_fit(function, std::slice::from_ref(value)))
}

fn as_int(value: &Value) -> Result<Value, String> {
    match value {
        Value::Text(text) => text
            .parse()
            .map(Value::Int)
            .map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax")),
        _ => int(value),
    }
}

fn as_float(value: &Value) -> Result<Value, String> {
    match value {
        Value::Text(text) => text
            .parse()
            .map(Value::Float)
            .map_err(|_| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax")),
        _ => float(value),
    }
}

fn int(value: &Value) -> Result<Value, String> {
    match value {
        Value::Int(number) => Ok(Value::Int(*number)),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "as Go's int(float64): the part after the point is dropped"
        )]
        Value::Float(number) => Ok(Value::Int(*number as i64)),
        Value::Text(text) => text
            .parse()
            .map(Value::Int)
            .map_err(|_| "invalid operation: int(".to_owned() + text + ")"),
        Value::Nil | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
            Err(format!("invalid operation: int({})", value.type_name()))
        }
    }
}

fn float(value: &Value) -> Result<Value, String> {
    match value {
        Value::Text(text) => text
            .parse()
            .map(Value::Float)
            .map_err(|_| "invalid operation: float(".to_owned() + text + ")"),
        _ => value
            .number()
            .map(Value::Float)
            .ok_or_else(|| format!("invalid operation: float({})", value.type_name())),
    }
}

fn len(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) => text.chars().count(),
        Value::List(items) => items.len(),
        Value::Map(fields) => fields.len(),
        Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            return Err(format!(
                "invalid argument for len (type {})",
                value.type_name()
            ));
        }
    };
    Ok(Value::Int(size(length)))
}

/// A length as a number of the language.
pub(super) fn size(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float",
        Value::Text(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "map",
    }
}

/// The numbers among the arguments, lists opened.
fn numbers(function: Function, arguments: &[Value]) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for argument in arguments {
        match argument {
            Value::List(items) => all.extend(numbers(function, items)?),
            Value::Int(_) | Value::Float(_) => all.push(argument.clone()),
            Value::Nil | Value::Bool(_) | Value::Text(_) | Value::Map(_) => {
                return Err(does_not_fit(function, std::slice::from_ref(argument)));
            }
        }
    }
    Ok(all)
}

fn aggregate(function: Function, arguments: &[Value]) -> Result<Value, String> {
    let all = numbers(function, arguments)?;
    let floats: Vec<f64> = all.iter().filter_map(Value::number).collect();
    let best = |better: fn(f64, f64) -> bool| {
        all.iter()
            .zip(&floats)
            .reduce(|one, other| if better(*other.1, *one.1) { other } else { one })
            .map(|(value, _)| value.clone())
            .ok_or_else(|| format!("not enough arguments to call {}", function.name()))
    };
    match function {
        Function::Min => best(|a, b| a < b),
        Function::Max => best(|a, b| a > b),
        Function::Sum if all.iter().all(|value| matches!(value, Value::Int(_))) => {
            let sum = all.iter().fold(0_i64, |sum, value| match value {
                Value::Int(number) => sum.wrapping_add(*number),
                _ => sum,
            });
            Ok(Value::Int(sum))
        }
        Function::Sum => Ok(Value::Float(floats.iter().sum())),
        Function::Mean => Ok(Value::Float(mean(&floats))),
        _ => Ok(Value::Float(median(floats))),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a list of numbers is far shorter than 2^53"
)]
fn mean(numbers: &[f64]) -> f64 {
    if numbers.is_empty() {
        return 0.0;
    }
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() {
        0 => 0.0,
        length if length % 2 == 1 => numbers[middle],
        _ => f64::midpoint(numbers[middle - 1], numbers[middle]),
    }
}

fn count_true(items: &[Value]) -> Result<Value, String> {
    let mut count = 0;
    for item in items {
        match item {
            Value::Bool(true) => count += 1,
            Value::Bool(false) => {}
            other => return Err(format!("expected bool, but got {}", other.type_name())),
        }
    }
    Ok(Value::Int(count))
}

fn join(items: &[Value], by: &str) -> Value {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    Value::Text(texts.join(by))
}

fn sort(items: &[Value], descending: bool) -> Result<Value, String> {
    let mut problem = None;
    let mut sorted = items.to_vec();
    sorted.sort_by(|a, b| match a.order(b) {
        Some(order) => order.unwrap_or(std::cmp::Ordering::Equal),
        None => {
            problem = Some(format!(
                "cannot compare {} and {}",
                a.type_name(),
                b.type_name()
            ));
            std::cmp::Ordering::Equal
        }
    });
    if descending {
        sorted.reverse();
    }
    problem.map_or(Ok(Value::List(sorted)), Err)
}

fn uniq(items: &[Value]) -> Value {
    let mut kept: Vec<Value> = Vec::new();
    for item in items {
        if !kept.iter().any(|other| other.equals(item)) {
            kept.push(item.clone());
        }
    }
    Value::List(kept)
}

fn concat(lists: &[Value]) -> Result<Value, String> {
    let mut all = Vec::new();
    for list in lists {
        match list {
            Value::List(items) => all.extend(items.iter().cloned()),
            other => return Err(format!("cannot concat {}", other.type_name())),
        }
    }
    Ok(Value::List(all))
}

fn flatten(items: &[Value]) -> Vec<Value> {
    items
        .iter()
        .flat_map(|item| match item {
            Value::List(inner) => flatten(inner),
            other => vec![other.clone()],
        })
        .collect()
}

/// A map of texts to values.
pub(super) type Fields = BTreeMap<String, Value>;
