//! A pod that names no ServiceAccount runs as `default`.
//! <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/>
//!
//! Upstream also mounts a token. There is none here: pods of this cluster cannot reach its
//! API yet.

use serde_json::{Value, json};

use super::{Admission, Operation};
use crate::error::ApiError;
use crate::object;

pub(super) fn admit(admission: &Admission<'_>, pod: &mut Value) -> Result<(), ApiError> {
    if admission.operation != Operation::Create || !admission.definition.is("", "pods") {
        return Ok(());
    }
    let old_name = object::text(pod, &["spec", "serviceAccount"]);
    let name = match object::text(pod, &["spec", "serviceAccountName"]) {
        "" if old_name.is_empty() => "default",
        "" => old_name,
        name => name,
    };
    let name = json!(name);
    // The older field still mirrors the newer one.
    object::set(pod, &["spec", "serviceAccount"], name.clone());
    object::set(pod, &["spec", "serviceAccountName"], name);
    Ok(())
}
