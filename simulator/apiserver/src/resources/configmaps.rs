//! ConfigMap: configuration as keys and values.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;

use super::columns::{self, count, entries_at};
use super::keys::validate_keys;
use super::typed::{Kind, define, words};
use super::{ResourceDef, Scope};
use crate::validation::FieldError;

/// The definition of ConfigMap.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        short_names: words(&["cm"]),
        columns: vec![
            columns::name(),
            count("Data", "Number of entries.", |object| {
                entries_at(object, "/data") + entries_at(object, "/binaryData")
            }),
            columns::age(),
        ],
        ..define::<ConfigMap>("", "ConfigMap", "configmaps")
    }
}

impl Kind for ConfigMap {
    const SCOPE: Scope = Scope::Namespaced;

    fn validate(&self, errors: &mut Vec<FieldError>) {
        validate_keys(
            self.data.iter().flatten().map(|(k, v)| (k, v.len())),
            "data",
            errors,
        );
        let binary = self
            .binary_data
            .iter()
            .flatten()
            .map(|(k, v)| (k, v.0.len()));
        validate_keys(binary, "binaryData", errors);
        let texts: BTreeSet<&String> = self.data.iter().flat_map(|data| data.keys()).collect();
        for key in self.binary_data.iter().flat_map(|data| data.keys()) {
            if texts.contains(key) {
                let path = format!("data[{key}]");
                errors.push(FieldError::invalid(
                    path,
                    key,
                    "duplicate of key present in binaryData",
                ));
            }
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        if old.immutable != Some(true) {
            return;
        }
        let rule = "field is immutable when `immutable` is set";
        if self.immutable != Some(true) {
            errors.push(FieldError::forbidden("immutable", rule));
        }
        if self.data != old.data {
            errors.push(FieldError::forbidden("data", rule));
        }
        if self.binary_data != old.binary_data {
            errors.push(FieldError::forbidden("binaryData", rule));
        }
    }
}
