//! Columns that many kinds share, and helpers to read cells out of JSON.
//!
//! Cells read the JSON itself rather than a type: a list of thousands of pods becomes a table
//! without being parsed again.

use std::sync::Arc;

use jiff::Timestamp;
use lab_api::age;
use serde_json::{Value, json};

use super::Column;

/// What stands for nothing.
pub(super) const NONE: &str = "<none>";

/// The object's name.
pub(super) fn name() -> Column {
    let mut column = text("Name", "Name, unique within a namespace.", |object| {
        str_at(object, "/metadata/name").to_owned()
    });
    column.format = "name";
    column
}

/// The time since the object was created.
pub(super) fn age() -> Column {
    cell(
        "Age",
        "string",
        "Time since the object was created.",
        |object, now| json!(age_at(object, "/metadata/creationTimestamp", now)),
    )
}

/// A text column.
pub(super) fn text(
    name: &'static str,
    description: &'static str,
    f: impl Fn(&Value) -> String + Send + Sync + 'static,
) -> Column {
    cell(name, "string", description, move |object, _| {
        json!(f(object))
    })
}

/// A whole-number column.
pub(super) fn count(
    name: &'static str,
    description: &'static str,
    f: impl Fn(&Value) -> i64 + Send + Sync + 'static,
) -> Column {
    cell(name, "integer", description, move |object, _| {
        json!(f(object))
    })
}

/// Any column; the cell may depend on the present moment.
pub(super) fn cell(
    name: &'static str,
    type_: &'static str,
    description: &'static str,
    f: impl Fn(&Value, Timestamp) -> Value + Send + Sync + 'static,
) -> Column {
    Column {
        name: name.into(),
        type_,
        format: "",
        description: description.into(),
        priority: 0,
        cell: Arc::new(f),
    }
}

/// The same column, shown with `-o wide` only.
pub(super) fn wide(mut column: Column) -> Column {
    column.priority = 1;
    column
}

/// Containers, Images and Selector of a workload, as wide columns.
pub(super) fn workload() -> [Column; 3] {
    [
        wide(text(
            "Containers",
            "Names of the containers in the template.",
            |object| joined_containers(object, "name"),
        )),
        wide(text(
            "Images",
            "Images of the containers in the template.",
            |object| joined_containers(object, "image"),
        )),
        wide(text(
            "Selector",
            "Labels of the pods that belong to it.",
            |object| label_selector(&object["spec"]["selector"]),
        )),
    ]
}

fn joined_containers(object: &Value, field: &str) -> String {
    let containers = list_at(object, "/spec/template/spec/containers");
    let values: Vec<&str> = containers
        .iter()
        .filter_map(|c| c[field].as_str())
        .collect();
    values.join(",")
}

/// The text at a JSON pointer; empty when there is none.
pub(super) fn str_at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The text at a JSON pointer, or `otherwise` when there is none.
pub(super) fn str_or<'a>(object: &'a Value, pointer: &str, otherwise: &'a str) -> &'a str {
    match str_at(object, pointer) {
        "" => otherwise,
        text => text,
    }
}

/// The number at a JSON pointer; 0 when there is none.
pub(super) fn int_at(object: &Value, pointer: &str) -> i64 {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// The list at a JSON pointer; empty when there is none.
pub(super) fn list_at<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The number of entries of the map at a JSON pointer.
pub(super) fn entries_at(object: &Value, pointer: &str) -> i64 {
    let entries = object.pointer(pointer).and_then(Value::as_object);
    entries.map_or(0, |map| i64::try_from(map.len()).unwrap_or(i64::MAX))
}

/// The moment at a JSON pointer.
pub(super) fn time_at(object: &Value, pointer: &str) -> Option<Timestamp> {
    str_at(object, pointer).parse().ok()
}

/// The age of the moment at a JSON pointer; `<unknown>` when there is none.
pub(super) fn age_at(object: &Value, pointer: &str, now: Timestamp) -> String {
    age::age(time_at(object, pointer), now)
}

/// The status of the condition of this type, if the object has it.
pub(super) fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    list_at(object, "/status/conditions")
        .iter()
        .find(|condition| condition["type"] == type_)
}

/// `a=b,c=d` in alphabetical order; `<none>` for no labels.
pub(super) fn labels(map: &Value) -> String {
    let mut pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort_unstable();
    or_none(pairs.join(","))
}

/// A `LabelSelector` as `kubectl` prints it.
pub(super) fn label_selector(selector: &Value) -> String {
    let mut clauses = Vec::new();
    if entries_at(selector, "/matchLabels") > 0 {
        clauses.push(labels(&selector["matchLabels"]));
    }
    clauses.extend(
        list_at(selector, "/matchExpressions")
            .iter()
            .map(expression),
    );
    or_none(clauses.join(","))
}

fn expression(expression: &Value) -> String {
    let key = str_at(expression, "/key");
    let values: Vec<&str> = list_at(expression, "/values")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let values = values.join(",");
    match str_at(expression, "/operator") {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "DoesNotExist" => format!("!{key}"),
        // "Exists"; validation lets nothing else through.
        _ => key.to_owned(),
    }
}

/// `<none>` for an empty text.
pub(super) fn or_none(text: String) -> String {
    if text.is_empty() {
        NONE.to_owned()
    } else {
        text
    }
}

/// The first three, then how many more there are, as lists of addresses are printed.
pub(super) fn at_most_three(items: &[String], separator: &str) -> String {
    const SHOWN: usize = 3;
    let shown = items[..items.len().min(SHOWN)].join(separator);
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_reads_as_kubectl_prints_it() {
        let selector = json!({
            "matchLabels": {"tier": "db", "app": "web"},
            "matchExpressions": [
                {"key": "env", "operator": "In", "values": ["a", "b"]},
                {"key": "old", "operator": "DoesNotExist"},
                {"key": "new", "operator": "Exists"},
            ],
        });
        assert_eq!(
            label_selector(&selector),
            "app=web,tier=db,env in (a,b),!old,new"
        );
        assert_eq!(label_selector(&json!({})), "<none>");
    }

    #[test]
    fn a_long_list_says_how_much_it_leaves_out() {
        let items: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        assert_eq!(at_most_three(&items, ","), "a,b,c + 2 more...");
        assert_eq!(at_most_three(&items[..2], ","), "a,b");
    }
}
