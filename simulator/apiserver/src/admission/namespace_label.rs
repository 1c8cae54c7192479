//! Every namespace carries its name as a label, so that selectors can choose it.
//! <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name>

use serde_json::{Value, json};

use super::{Admission, Operation};
use crate::error::ApiError;
use crate::object;

pub(super) fn admit(admission: &Admission<'_>, namespace: &mut Value) -> Result<(), ApiError> {
    let name = object::meta(namespace, "name");
    if admission.operation != Operation::Delete
        && admission.definition.is("", "namespaces")
        && !name.is_empty()
    {
        let name = json!(name);
        let path = ["metadata", "labels", "kubernetes.io/metadata.name"];
        object::set(namespace, &path, name);
    }
    Ok(())
}
