//! `{{args.NAME}}` in the texts of a metric.

use lab_api::analysis::{Argument, Metric};
use serde_json::Value;

/// Why a metric's arguments could not be put in; the messages are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArgumentError {
    /// No argument of this name has a value.
    #[error("failed to resolve {{{{{0}}}}}")]
    Unresolved(String),
    /// With the values put in, it is no metric any more.
    #[error("the metric is not valid with its arguments: {0}")]
    Invalid(String),
}

/// The metric with the value of every argument in its place.
pub(super) fn resolve(metric: &Metric, args: &[Argument]) -> Result<Metric, ArgumentError> {
    let mut json = serde_json::to_value(metric).expect("metrics serialise");
    resolve_value(&mut json, args)?;
    serde_json::from_value(json).map_err(|error| ArgumentError::Invalid(error.to_string()))
}

fn resolve_value(value: &mut Value, args: &[Argument]) -> Result<(), ArgumentError> {
    match value {
        Value::String(text) => {
            if text.contains("{{") {
                *text = resolve_text(text, args)?;
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| resolve_value(item, args)),
        Value::Object(fields) => fields
            .values_mut()
            .try_for_each(|field| resolve_value(field, args)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// The text with the value of every argument in its place.
pub(super) fn resolve_text(text: &str, args: &[Argument]) -> Result<String, ArgumentError> {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        resolved.push_str(before);
        let Some((tag, after)) = after.split_once("}}") else {
            // An opening without an end is a text like any other.
            resolved.push_str("{{");
            rest = after;
            continue;
        };
        let tag = tag.trim();
        let value = tag
            .strip_prefix("args.")
            .and_then(|name| args.iter().find(|arg| arg.name == name))
            .and_then(|arg| arg.value.as_deref());
        match value {
            Some(value) => resolved.push_str(value),
            None => return Err(ArgumentError::Unresolved(tag.to_owned())),
        }
        rest = after;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

/// The text of an object's field: `metadata.name`, `metadata.labels['app']`,
/// `spec.template.spec.containers[0].image`.
pub(crate) fn field_value(object: &Value, path: &str) -> Option<String> {
    let mut value = object;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (key, after) = inside.split_once(']')?;
            let quoted = key.trim_matches(['\'', '"']);
            value = match key.parse::<usize>() {
                Ok(index) => value.get(index)?,
                Err(_) => value.get(quoted)?,
            };
            rest = after;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            value = value.get(&rest[..end])?;
            rest = &rest[end..];
        }
    }
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn args() -> Vec<Argument> {
        serde_json::from_value(json!([
            {"name": "service", "value": "shop \"canary\""},
            {"name": "limit", "value": "3"},
            {"name": "later", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ]))
        .unwrap()
    }

    #[test]
    fn arguments_are_put_into_texts_and_numbers() {
        let metric: Metric = serde_json::from_value(json!({
            "name": "errors", "failureLimit": "{{args.limit}}",
            "provider": {"prometheus": {"query": "up{service='{{ args.service }}'}"}}}))
        .unwrap();
        let resolved = serde_json::to_value(resolve(&metric, &args()).unwrap()).unwrap();
        assert_eq!(resolved["failureLimit"], "3");
        assert_eq!(
            resolved["provider"]["prometheus"]["query"],
            "up{service='shop \"canary\"'}"
        );
    }

    #[track_caller]
    fn text(text: &str, expected: Result<&str, &str>) {
        let found = resolve_text(text, &args()).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn a_field_is_found_by_its_path() {
        let object = json!({"metadata": {"labels": {"a.b/c": "d"}}, "spec": {"list": [{"n": 1}]}});
        let value = |path| field_value(&object, path);
        assert_eq!(value("metadata.labels['a.b/c']").as_deref(), Some("d"));
        assert_eq!(value("spec.list[0].n").as_deref(), Some("1"));
        assert_eq!(value("spec.list[1].n"), None);
        assert_eq!(value("spec.list"), None);
    }

    #[test]
    fn an_argument_without_a_value_is_named() {
        text("{{args.limit}}{{args.limit}}", Ok("33"));
        text("sum({{", Ok("sum({{"));
        text("{{args.nobody}}", Err("failed to resolve {{args.nobody}}"));
        text("{{args.later}}", Err("failed to resolve {{args.later}}"));
        text(
            "{{workflow.name}}",
            Err("failed to resolve {{workflow.name}}"),
        );
    }
}
