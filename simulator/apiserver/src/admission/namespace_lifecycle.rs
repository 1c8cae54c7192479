//! Objects need a namespace that exists and is not on its way out; the cluster's own
//! namespaces stay.

use serde_json::Value;

use super::{Admission, Operation};
use crate::error::{ApiError, Cause};
use crate::facts::Facts;
use crate::object;

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

const PHASE: &[&str] = &["status.phase"];

pub(super) fn admit(admission: &Admission<'_>, object: &mut Value) -> Result<(), ApiError> {
    match (admission.operation, admission.namespace) {
        (Operation::Create, Some(namespace)) => check_exists(admission, object, namespace),
        (Operation::Delete, None) => check_mortal(admission, object),
        (Operation::Create, None) | (Operation::Update, _) | (Operation::Delete, Some(_)) => Ok(()),
    }
}

fn check_exists(
    admission: &Admission<'_>,
    object: &Value,
    namespace: &str,
) -> Result<(), ApiError> {
    let Some(definition) = admission.server.catalog.find("", "v1", "namespaces") else {
        // A server without the kind (a test's) has no namespaces to check.
        return Ok(());
    };
    let entry = admission
        .server
        .store
        .get(&definition.collection(), namespace);
    let entry = entry.ok_or_else(|| ApiError::NotFound(definition.subject(namespace)))?;
    if Facts::read(&entry.value, PHASE).field("status.phase") != Some("Terminating") {
        return Ok(());
    }
    let cause = Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    };
    Err(ApiError::Forbidden(
        admission.definition.subject(object::meta(object, "name")),
        format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        ),
        Some(Box::new(cause)),
    ))
}

fn check_mortal(admission: &Admission<'_>, object: &Value) -> Result<(), ApiError> {
    let name = object::meta(object, "name");
    if admission.definition.is("", "namespaces") && IMMORTAL.contains(&name) {
        let why = "this namespace may not be deleted".to_owned();
        return Err(ApiError::Forbidden(
            admission.definition.subject(name),
            why,
            None,
        ));
    }
    Ok(())
}
