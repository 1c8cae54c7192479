//! Values of expressions, with GitHub's loose coercions.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/expressions>

use std::cmp::Ordering;

use serde_json::Value;

/// False, 0, NaN, the empty string and null are falsy; all else is true.
pub(crate) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64().is_some_and(|n| n != 0.0 && !n.is_nan()),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// As text, where a value is put into a string. Lists and mappings have only their kind.
pub(crate) fn to_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match number.as_f64() {
            Some(n) if n.fract() == 0.0 && n.abs() < 1e15 => format!("{n:.0}"),
            _ => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(_) => "Array".to_owned(),
        Value::Object(_) => "Object".to_owned(),
    }
}

/// As a number: null is 0, booleans are 0 and 1, text is what it reads as, everything else is
/// not a number.
pub(crate) fn to_number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
        Value::String(text) => text_to_number(text),
        Value::Array(_) | Value::Object(_) => f64::NAN,
    }
}

fn text_to_number(text: &str) -> f64 {
    let text = text.trim();
    let radix = |digits, radix| i64::from_str_radix(digits, radix).map_or(f64::NAN, |n| n as f64);
    match text {
        "" => 0.0,
        _ if text.starts_with("0x") => radix(&text[2..], 16),
        _ if text.starts_with("0o") => radix(&text[2..], 8),
        // Rust also reads "inf" and "nan", which are words here.
        _ if text.contains(|c: char| c.is_alphabetic() && !matches!(c, 'e' | 'E')) => f64::NAN,
        _ => text.parse().unwrap_or(f64::NAN),
    }
}

/// Equal as `==` sees it: text without regard to case, different kinds as numbers. Lists and
/// mappings are equal to nothing, since what is compared here are never the same instance.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::String(a), Value::String(b)) => same_text(a, b),
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => false,
        (a, b) => to_number(a) == to_number(b),
    }
}

/// Before, the same or after, as `<` and `>` see it; `None` where one is not a number.
pub(crate) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.to_uppercase().cmp(&b.to_uppercase())),
        (a, b) => to_number(a).partial_cmp(&to_number(b)),
    }
}

/// The same text without regard to case.
pub(crate) fn same_text(a: &str, b: &str) -> bool {
    a.to_uppercase() == b.to_uppercase()
}

/// A number; whole ones without a fraction.
pub(crate) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        // Whole and in range: nothing is cut off.
        return Value::from(value as i64);
    }
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}
