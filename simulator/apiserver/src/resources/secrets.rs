//! Secret: configuration that is not shown by default.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use super::columns::{self, count, entries_at, str_at, text};
use super::keys::validate_keys;
use super::typed::{Kind, define};
use super::{ResourceDef, Scope};
use crate::validation::FieldError;

/// The definition of Secret.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        columns: vec![
            columns::name(),
            text("Type", "What the Secret is for.", |o| {
                str_at(o, "/type").to_owned()
            }),
            count("Data", "Number of entries.", |o| entries_at(o, "/data")),
            columns::age(),
        ],
        ..define::<Secret>("", "Secret", "secrets")
    }
}

/// Keys that a Secret of each type must have.
const REQUIRED: &[(&str, &[&str])] = &[
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
];

impl Kind for Secret {
    const SCOPE: Scope = Scope::Namespaced;
    const SELECTABLE: &'static [&'static str] = &["type"];

    fn set_defaults(&mut self) {
        self.type_.get_or_insert_with(|| "Opaque".to_owned());
        for (key, value) in self.string_data.take().into_iter().flatten() {
            let data = self.data.get_or_insert_default();
            data.insert(key, ByteString(value.into_bytes()));
        }
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        validate_keys(
            self.data.iter().flatten().map(|(k, v)| (k, v.0.len())),
            "data",
            errors,
        );
        let type_ = self.type_.as_deref().unwrap_or_default();
        let required = REQUIRED.iter().find(|(name, _)| *name == type_);
        for key in required.map_or(&[][..], |(_, keys)| keys) {
            match self.data.as_ref().and_then(|data| data.get(*key)) {
                None => errors.push(FieldError::required(format!("data[{key}]"), "")),
                Some(value) if key.starts_with(".docker") => validate_json(key, value, errors),
                Some(_) => {}
            }
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        if self.type_ != old.type_ {
            errors.push(FieldError::invalid(
                "type",
                &self.type_,
                "field is immutable",
            ));
        }
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
    }
}

/// The value stays out of the message: it is secret.
fn validate_json(key: &str, value: &ByteString, errors: &mut Vec<FieldError>) {
    if let Err(error) = serde_json::from_slice::<Value>(&value.0) {
        let path = format!("data[{key}]");
        errors.push(FieldError::invalid(
            path,
            "<secret contents redacted>",
            error.to_string(),
        ));
    }
}
