//! The part of an object that the server owns: identity, generation, preconditions.
//!
//! Names, labels and annotations are checked by the kind's strategy.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/>

use lab_context::Context;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::object;
use crate::resources::{ResourceDef, Subresource};
use crate::validation::FieldError;
use crate::write::Target;

/// Metadata that only the server sets, kept over updates.
const OWNED: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
];

/// Gives a new object its identity.
pub(crate) fn begin(definition: &ResourceDef, object: &mut Value, context: &Context) {
    for field in OWNED.into_iter().chain(["selfLink"]) {
        object::remove(object, &["metadata", field]);
    }
    object::set(object, &["metadata", "uid"], json!(context.uid()));
    let now = object::time(context.now());
    object::set(object, &["metadata", "creationTimestamp"], json!(now));
    if counts_generations(definition) {
        object::set(object, &["metadata", "generation"], json!(1));
    }
}

/// Restores what a client cannot change.
pub(crate) fn carry_over(object: &mut Value, old: &Value) {
    object::remove(object, &["metadata", "selfLink"]);
    let managers = "managedFields";
    // A client that does not know managedFields would otherwise clear them.
    let forgets_managers = object::at(object, &["metadata", managers]).is_none();
    for field in OWNED
        .into_iter()
        .chain(forgets_managers.then_some(managers))
    {
        let value = object::at(old, &["metadata", field]).cloned();
        object::put(object, &["metadata", field], value);
    }
}

/// Whether objects of the kind have a generation.
pub(crate) fn counts_generations(definition: &ResourceDef) -> bool {
    definition.has(Subresource::Status) && definition.strategy.counts_generations()
}

/// Counts a change of what is wanted.
pub(crate) fn next_generation(object: &mut Value) {
    let generation = object::at(object, &["metadata", "generation"]).and_then(Value::as_i64);
    let next = generation.unwrap_or(0) + 1;
    object::set(object, &["metadata", "generation"], json!(next));
}

/// Refuses a write that is about another state, or another object of the same name.
pub(crate) fn check_preconditions(
    target: &Target<'_>,
    object: &Value,
    old: &Value,
) -> Result<(), ApiError> {
    let uid = object::meta(object, "uid");
    let stored_uid = object::meta(old, "uid");
    if !uid.is_empty() && uid != stored_uid {
        let message = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {stored_uid}"
        );
        return Err(ApiError::Conflict(target.subject(), message));
    }
    let revision = object::meta(object, "resourceVersion");
    if !revision.is_empty() && revision != object::meta(old, "resourceVersion") {
        return Err(ApiError::modified(target.subject()));
    }
    Ok(())
}

/// Everything wrong with a change of metadata.
pub(crate) fn validate_update(object: &Value, old: &Value) -> Vec<FieldError> {
    if object::meta(old, "deletionTimestamp").is_empty() {
        return Vec::new();
    }
    let finalizers = ["metadata", "finalizers"];
    let before = object::texts(old, &finalizers);
    let added: Vec<String> = object::texts(object, &finalizers)
        .into_iter()
        .filter(|finalizer| !before.contains(finalizer))
        .map(|finalizer| format!("{finalizer:?}"))
        .collect();
    if added.is_empty() {
        return Vec::new();
    }
    vec![FieldError::forbidden(
        "metadata.finalizers",
        format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        ),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_under_deletion_gets_no_new_finalizer() {
        let old = json!({"metadata": {"deletionTimestamp": "x", "finalizers": ["a/b"]}});
        let fewer = json!({"metadata": {}});
        let more = json!({"metadata": {"finalizers": ["a/b", "c/d"]}});
        assert!(validate_update(&fewer, &old).is_empty());
        let errors = validate_update(&more, &old);
        assert!(
            errors[0].to_string().ends_with("[]string{\"c/d\"}"),
            "{errors:?}"
        );
        assert!(validate_update(&more, &fewer).is_empty());
    }
}
