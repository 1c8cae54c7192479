//! Field errors, as `k8s.io/apimachinery/pkg/util/validation/field` spells them.

use serde_json::Value;

/// Why a field is refused; becomes one cause of an `Invalid` status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `FieldValueRequired`: "Required value".
    Required,
    /// `FieldValueInvalid`: "Invalid value: …".
    Invalid(Value),
    /// `FieldValueNotSupported`: "Unsupported value: …: supported values: …".
    NotSupported(Value),
    /// `FieldValueDuplicate`: "Duplicate value: …".
    Duplicate(Value),
    /// `FieldValueForbidden`: "Forbidden".
    Forbidden,
    /// `FieldValueTooLong`: "Too long".
    TooLong,
    /// `FieldValueTooMany`: "Too many: …".
    TooMany(usize),
    /// `FieldValueNotFound`: "Not found: …".
    NotFound(Value),
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
