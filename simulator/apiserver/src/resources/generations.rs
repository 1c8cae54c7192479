//! `metadata.generation` of kinds without a status, whose every change is one of the spec.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The generation of a new object.
pub(super) fn begin(metadata: &mut ObjectMeta) {
    metadata.generation = Some(1);
}

/// The generation of a changed object.
pub(super) fn count(metadata: &mut ObjectMeta, old: &ObjectMeta, changed: bool) {
    let before = old.generation.unwrap_or(1);
    metadata.generation = Some(before + i64::from(changed));
}
