//! Rules that the metadata of every kind follows
//! (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::Value;

use super::Scope;
use super::syntax::{
    NameRule, name_problems, push_problems, qualified_name_problems, validate_annotations,
    validate_labels,
};
use crate::validation::FieldError;

/// Finalizers that need no domain.
const STANDARD_FINALIZERS: &[&str] = &["kubernetes", "orphan", "foregroundDeletion"];

/// Everything wrong with the metadata of an object.
pub(super) fn validate(object: &Value, scope: Scope, names: NameRule) -> Vec<FieldError> {
    let meta: ObjectMeta = object
        .get("metadata")
        .and_then(|meta| serde_json::from_value(meta.clone()).ok())
        .unwrap_or_default();
    let mut errors = Vec::new();
    validate_name(&meta, names, &mut errors);
    validate_namespace(&meta, scope, &mut errors);
    validate_labels(meta.labels.as_ref(), "metadata.labels", &mut errors);
    validate_annotations(
        meta.annotations.as_ref(),
        "metadata.annotations",
        &mut errors,
    );
    validate_owners(
        meta.owner_references.as_deref().unwrap_or_default(),
        &mut errors,
    );
    for (index, finalizer) in meta.finalizers.iter().flatten().enumerate() {
        validate_finalizer(finalizer, index, &mut errors);
    }
    errors
}

fn validate_name(meta: &ObjectMeta, rule: NameRule, errors: &mut Vec<FieldError>) {
    if let Some(prefix) = meta
        .generate_name
        .as_deref()
        .filter(|prefix| !prefix.is_empty())
    {
        // A prefix may end in a dash: the suffix follows it.
        let problems = name_problems(prefix.trim_end_matches('-'), rule);
        push_problems(errors, "metadata.generateName", prefix, problems);
    }
    match meta.name.as_deref().unwrap_or_default() {
        "" => errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        )),
        name => push_problems(errors, "metadata.name", name, name_problems(name, rule)),
    }
}

fn validate_namespace(meta: &ObjectMeta, scope: Scope, errors: &mut Vec<FieldError>) {
    let path = "metadata.namespace";
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    match (scope, namespace) {
        (Scope::Namespaced, "") => errors.push(FieldError::required(path, "")),
        (Scope::Namespaced, name) => {
            push_problems(errors, path, name, name_problems(name, NameRule::DnsLabel));
        }
        (Scope::Cluster, "") => {}
        (Scope::Cluster, _) => errors.push(FieldError::forbidden(path, "not allowed on this type")),
    }
}

fn validate_owners(owners: &[OwnerReference], errors: &mut Vec<FieldError>) {
    let path = "metadata.ownerReferences";
    for (index, owner) in owners.iter().enumerate() {
        let fields = BTreeMap::from([
            ("apiVersion", &owner.api_version),
            ("kind", &owner.kind),
            ("name", &owner.name),
            ("uid", &owner.uid),
        ]);
        for (field, value) in fields.into_iter().filter(|(_, value)| value.is_empty()) {
            let place = format!("{path}[{index}].{field}");
            errors.push(FieldError::invalid(place, value, "must not be empty"));
        }
    }
    let controllers = owners.iter().filter(|owner| owner.controller == Some(true));
    if controllers.count() > 1 {
        let rule = "Only one reference can have Controller set to true";
        errors.push(FieldError::invalid(path, owners, rule));
    }
}

fn validate_finalizer(finalizer: &str, index: usize, errors: &mut Vec<FieldError>) {
    let path = format!("metadata.finalizers[{index}]");
    let problems = qualified_name_problems(finalizer);
    if problems.is_empty() && !finalizer.contains('/') && !STANDARD_FINALIZERS.contains(&finalizer)
    {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        errors.push(FieldError::invalid(path, finalizer, detail));
    } else {
        push_problems(errors, &path, finalizer, problems);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn case(metadata: &Value, expected: &[&str]) {
        let object = json!({ "metadata": metadata });
        let errors = validate(&object, Scope::Namespaced, NameRule::DnsSubdomain);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), expected.len(), "{texts:#?}");
        for (text, start) in texts.iter().zip(expected) {
            assert!(text.starts_with(start), "{text}");
        }
    }

    #[test]
    fn metadata_mistakes_are_named() {
        case(&json!({"name": "web-1", "namespace": "default"}), &[]);
        case(
            &json!({"namespace": "default"}),
            &["metadata.name: Required value: name or generateName is required"],
        );
        case(
            &json!({"name": "My_App", "namespace": "default"}),
            &[r#"metadata.name: Invalid value: "My_App": a lowercase RFC 1123 subdomain"#],
        );
        case(
            &json!({"name": "a", "namespace": "default", "labels": {"a b": "x", "app": "-"}}),
            &[
                r#"metadata.labels: Invalid value: "a b": name part must consist"#,
                r#"metadata.labels: Invalid value: "-": a valid label must be"#,
            ],
        );
        case(
            &json!({"name": "a", "namespace": "default", "annotations": {"x/y/z": ""}}),
            &[r#"metadata.annotations: Invalid value: "x/y/z": a qualified name must consist"#],
        );
        case(
            &json!({"name": "a"}),
            &["metadata.namespace: Required value"],
        );
        case(
            &json!({"name": "a", "namespace": "b", "finalizers": ["x.y", "x.y/z", "orphan"]}),
            &[r#"metadata.finalizers[0]: Invalid value: "x.y": name is neither a standard"#],
        );
    }
}
