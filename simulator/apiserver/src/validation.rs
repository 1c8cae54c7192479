//! Field errors, as `k8s.io/apimachinery/pkg/util/validation/field` spells them.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// Why a field is refused; becomes one cause of an `Invalid` status. Values are boxed because
/// errors are returned through many hands and a [`Value`] is large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `FieldValueRequired`: "Required value".
    Required,
    /// `FieldValueInvalid`: "Invalid value: …".
    Invalid(Box<Value>),
    /// `FieldValueNotSupported`: "Unsupported value: …: supported values: …".
    NotSupported(Box<Value>),
    /// `FieldValueDuplicate`: "Duplicate value: …".
    Duplicate(Box<Value>),
    /// `FieldValueForbidden`: "Forbidden".
    Forbidden,
    /// `FieldValueTooLong`: "Too long".
    TooLong,
    /// `FieldValueTooMany`: "Too many: …".
    TooMany(usize),
    /// `FieldValueNotFound`: "Not found: …".
    NotFound(Box<Value>),
}

/// One thing wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Dotted path, such as `spec.template.spec.containers[0].name`.
    pub field: String,
    /// Why.
    pub reason: Reason,
    /// What would be right; may be empty.
    pub detail: String,
}

impl FieldError {
    /// A field that must be given. `detail` may be empty.
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(field, Reason::Required, detail)
    }

    /// A value that breaks a rule, which `detail` states.
    pub fn invalid(
        field: impl Into<String>,
        value: impl Serialize,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(field, Reason::Invalid(json(value)), detail)
    }

    /// A value outside a closed set. Upstream lists the set in alphabetical order.
    pub fn not_supported(
        field: impl Into<String>,
        value: impl Serialize,
        supported: &[&str],
    ) -> Self {
        let mut supported: Vec<String> = supported.iter().map(|s| format!("\"{s}\"")).collect();
        supported.sort_unstable();
        let detail = format!("supported values: {}", supported.join(", "));
        Self::new(field, Reason::NotSupported(json(value)), detail)
    }

    /// A value that occurs twice where each may occur once.
    pub fn duplicate(field: impl Into<String>, value: impl Serialize) -> Self {
        Self::new(field, Reason::Duplicate(json(value)), "")
    }

    /// A field that may not be given, or not changed, here.
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(field, Reason::Forbidden, detail)
    }

    /// A text of more than `max` bytes.
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        let detail = format!("may not be more than {max} bytes");
        Self::new(field, Reason::TooLong, detail)
    }

    /// A list of `count` items where `max` are allowed.
    pub fn too_many(field: impl Into<String>, count: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} items");
        Self::new(field, Reason::TooMany(count), detail)
    }

    /// A name that refers to nothing.
    pub fn not_found(field: impl Into<String>, value: impl Serialize) -> Self {
        Self::new(field, Reason::NotFound(json(value)), "")
    }

    fn new(field: impl Into<String>, reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason,
            detail: detail.into(),
        }
    }

    /// The machine-readable reason of a cause.
    #[must_use]
    pub fn cause_reason(&self) -> &'static str {
        match self.reason {
            Reason::Required => "FieldValueRequired",
            Reason::Invalid(_) => "FieldValueInvalid",
            Reason::NotSupported(_) => "FieldValueNotSupported",
            Reason::Duplicate(_) => "FieldValueDuplicate",
            Reason::Forbidden => "FieldValueForbidden",
            Reason::TooLong => "FieldValueTooLong",
            Reason::TooMany(_) => "FieldValueTooMany",
            Reason::NotFound(_) => "FieldValueNotFound",
        }
    }

    /// The message of a cause: everything but the field.
    #[must_use]
    pub fn message(&self) -> String {
        let body = match &self.reason {
            Reason::Required => "Required value".to_owned(),
            // serde_json prints strings quoted and objects compactly, as upstream does.
            Reason::Invalid(value) => format!("Invalid value: {value}"),
            Reason::NotSupported(value) => format!("Unsupported value: {value}"),
            Reason::Duplicate(value) => format!("Duplicate value: {value}"),
            Reason::Forbidden => "Forbidden".to_owned(),
            Reason::TooLong => "Too long".to_owned(),
            Reason::TooMany(count) => format!("Too many: {count}"),
            Reason::NotFound(value) => format!("Not found: {value}"),
        };
        if self.detail.is_empty() {
            body
        } else {
            format!("{body}: {}", self.detail)
        }
    }
}

/// Field and message, as they stand in the message of an `Invalid` status.
impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message())
    }
}

impl std::error::Error for FieldError {}

/// API types always serialise; a map with keys that are not strings does not exist among them.
fn json(value: impl Serialize) -> Box<Value> {
    Box::new(serde_json::to_value(value).unwrap_or(Value::Null))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(error: &FieldError, reason: &str, text: &str) {
        assert_eq!(error.cause_reason(), reason);
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn errors_read_as_kubernetes_writes_them() {
        case(
            &FieldError::invalid("spec.replicas", -1, "must be greater than or equal to 0"),
            "FieldValueInvalid",
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        );
        case(
            &FieldError::required("metadata.name", "name or generateName is required"),
            "FieldValueRequired",
            "metadata.name: Required value: name or generateName is required",
        );
        case(
            &FieldError::not_supported("p", "udp", &["UDP", "TCP"]),
            "FieldValueNotSupported",
            r#"p: Unsupported value: "udp": supported values: "TCP", "UDP""#,
        );
        case(
            &FieldError::duplicate("ports[1].name", "a"),
            "FieldValueDuplicate",
            r#"ports[1].name: Duplicate value: "a""#,
        );
        case(
            &FieldError::too_many("x", 5, 3),
            "FieldValueTooMany",
            "x: Too many: 5: must have at most 3 items",
        );
        case(
            &FieldError::too_long("x", 63),
            "FieldValueTooLong",
            "x: Too long: may not be more than 63 bytes",
        );
        case(
            &FieldError::invalid("l", serde_json::json!({"name": "nginx"}), "no match"),
            "FieldValueInvalid",
            r#"l: Invalid value: {"name":"nginx"}: no match"#,
        );
    }
}
