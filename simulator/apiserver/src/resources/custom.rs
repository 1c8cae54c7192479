//! Rules of custom resources, in the words of their OpenAPI schema: the Gateway API's kinds
//! are CustomResourceDefinitions on a real cluster.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::Value;

use super::Column;
use super::columns::{age_at, cell};
use crate::validation::FieldError;

/// The Age of a custom resource: a date, where built-in kinds send a text.
pub(super) fn age() -> Column {
    cell(
        "Age",
        "date",
        "Time since the object was created.",
        |object, now| Value::String(age_at(object, "/metadata/creationTimestamp", now)),
    )
}

/// A condition that no controller has looked at yet.
pub(super) fn waiting(type_: &str) -> Condition {
    Condition {
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: "Waiting for controller".to_owned(),
        observed_generation: None,
        reason: "Pending".to_owned(),
        status: "Unknown".to_owned(),
        type_: type_.to_owned(),
    }
}

/// A rule of the schema (`x-kubernetes-validations`) that the object or array breaks.
pub(super) fn broken(path: impl Into<String>, type_: &'static str, rule: &str) -> FieldError {
    FieldError::invalid(path, type_, rule)
}

/// Checks `minimum` and `maximum`.
pub(super) fn validate_range(
    number: i64,
    (min, max): (i64, i64),
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let bound = match number {
        _ if number < min => format!("greater than or equal to {min}"),
        _ if number > max => format!("less than or equal to {max}"),
        _ => return,
    };
    let rule = format!("{path} in body should be {bound}");
    errors.push(FieldError::invalid(path, number, rule));
}

/// Checks `minLength: 1`.
pub(super) fn validate_not_empty(text: &str, path: &str, errors: &mut Vec<FieldError>) {
    if text.is_empty() {
        let rule = format!("{path} in body should be at least 1 chars long");
        errors.push(FieldError::invalid(path, text, rule));
    }
}

/// Checks an `enum`.
pub(super) fn validate_choice(
    choice: Option<&str>,
    supported: &[&str],
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if let Some(choice) = choice.filter(|choice| !supported.contains(choice)) {
        errors.push(FieldError::not_supported(path, choice, supported));
    }
}

/// Checks a `pattern`, given as what it means.
pub(super) fn validate_pattern(
    text: &str,
    matches: bool,
    pattern: &str,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if !matches {
        let rule = format!("{path} in body should match '{pattern}'");
        errors.push(FieldError::invalid(path, text, rule));
    }
}

const HOSTNAME: &str = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Checks a host name, which may begin with `*.`.
pub(super) fn validate_hostname(name: &str, path: &str, errors: &mut Vec<FieldError>) {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let matches = lab_api::names::is_dns_subdomain(plain);
    validate_pattern(name, matches, HOSTNAME, path, errors);
}
