//! An Ingress that names no class gets the default one.
//! <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaultingressclass>

use lab_api::names::{DEFAULT_INGRESS_CLASS, INGRESS_CLASS};
use serde_json::{Value, json};

use super::{Admission, Operation};
use crate::error::ApiError;
use crate::object;

pub(super) fn admit(admission: &Admission<'_>, ingress: &mut Value) -> Result<(), ApiError> {
    if admission.operation != Operation::Create
        || !admission.definition.is("networking.k8s.io", "ingresses")
    {
        return Ok(());
    }
    let named = object::at(ingress, &["spec", "ingressClassName"]).is_some_and(Value::is_string);
    let annotation = ["metadata", "annotations", INGRESS_CLASS];
    if named || object::at(ingress, &annotation).is_some() {
        return Ok(());
    }
    if let Some(name) = default_class(admission) {
        object::set(ingress, &["spec", "ingressClassName"], json!(name));
    }
    Ok(())
}

/// Where several say that they are the default, the newest is meant, then the first by name.
fn default_class(admission: &Admission<'_>) -> Option<String> {
    let store = &admission.server.store;
    let page = store.list("ingressclasses.networking.k8s.io", "", None, None);
    let objects = page
        .entries
        .iter()
        .map(|entry| object::decode(&entry.value));
    let annotation = ["metadata", "annotations", DEFAULT_INGRESS_CLASS];
    let mut defaults: Vec<Value> = objects
        .filter(|class| object::text(class, &annotation) == "true")
        .collect();
    defaults.sort_by_cached_key(|class| {
        let created = object::meta(class, "creationTimestamp").to_owned();
        (
            std::cmp::Reverse(created),
            object::meta(class, "name").to_owned(),
        )
    });
    let first = defaults.first()?;
    Some(object::meta(first, "name").to_owned())
}
