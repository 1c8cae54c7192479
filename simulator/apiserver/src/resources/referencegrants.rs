//! ReferenceGrant: lets objects of other namespaces refer to those of its own.
//! It is `v1` since release 1.5 of the Gateway API and `v1beta1` before, with the same fields.
//! <https://gateway-api.sigs.k8s.io/reference/spec/#referencegrant>

use lab_api::gateway::{GROUP, OLD_GRANT_VERSION, ReferenceGrant};

use super::custom::{self, validate_not_empty, validate_pattern};
use super::typed::{Kind, define, words};
use super::{PrepareContext, ResourceDef, Scope, columns, generations};
use crate::validation::FieldError;

/// The definition of ReferenceGrant.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        older_versions: words(&[OLD_GRANT_VERSION]),
        short_names: words(&["refgrant"]),
        categories: words(&["gateway-api"]),
        columns: vec![columns::name(), custom::age()],
        ..define::<ReferenceGrant>(GROUP, "ReferenceGrant", "referencegrants")
    }
}

/// Most entries of `from` and of `to`.
const ENTRIES_MAX: usize = 16;

const KIND: &str = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$";
const NAMESPACE: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

impl Kind for ReferenceGrant {
    const SCOPE: Scope = Scope::Namespaced;
    const OMITS_EMPTY: bool = false;

    fn prepare_for_create(&mut self, _context: &PrepareContext<'_>) -> Result<(), FieldError> {
        generations::begin(&mut self.metadata);
        Ok(())
    }

    fn prepare_for_update(
        &mut self,
        old: &Self,
        _context: &PrepareContext<'_>,
    ) -> Result<(), FieldError> {
        let changed = self.spec != old.spec;
        generations::count(&mut self.metadata, &old.metadata, changed);
        Ok(())
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let spec = &self.spec;
        for (field, number) in [("from", spec.from.len()), ("to", spec.to.len())] {
            let path = format!("spec.{field}");
            if number == 0 {
                let rule = format!("{path} in body should have at least 1 items");
                errors.push(FieldError::invalid(path, 0, rule));
            } else if number > ENTRIES_MAX {
                errors.push(FieldError::too_many(path, number, ENTRIES_MAX));
            }
        }
        for (index, from) in spec.from.iter().enumerate() {
            let path = format!("spec.from[{index}]");
            validate_kind(&from.kind, &path, errors);
            let place = format!("{path}.namespace");
            validate_not_empty(&from.namespace, &place, errors);
            let matches = lab_api::names::is_dns_label(&from.namespace);
            validate_pattern(&from.namespace, matches, NAMESPACE, &place, errors);
        }
        for (index, to) in spec.to.iter().enumerate() {
            let path = format!("spec.to[{index}]");
            validate_kind(&to.kind, &path, errors);
            if let Some(name) = &to.name {
                validate_not_empty(name, &format!("{path}.name"), errors);
            }
        }
    }
}

fn validate_kind(kind: &str, path: &str, errors: &mut Vec<FieldError>) {
    let path = format!("{path}.kind");
    validate_not_empty(kind, &path, errors);
    let starts = |first: char| first.is_ascii_alphabetic();
    let matches = kind.starts_with(starts)
        && kind.ends_with(|last: char| last.is_ascii_alphanumeric())
        && kind
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    validate_pattern(kind, matches, KIND, &path, errors);
}
