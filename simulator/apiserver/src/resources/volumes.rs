//! Rules for the volumes of a pod.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{KeyToPath, Volume};
use serde_json::Value;

use super::syntax::{NameRule, name_problems, push_problems};
use crate::validation::FieldError;

/// Checks every volume, and returns the names that mounts may use.
pub(super) fn validate<'a>(
    volumes: Option<&'a [Volume]>,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (index, volume) in volumes.into_iter().flatten().enumerate() {
        let path = format!("{path}[{index}]");
        validate_source(volume, &path, errors);
        let name = volume.name.as_str();
        let place = format!("{path}.name");
        if name.is_empty() {
            errors.push(FieldError::required(place, ""));
            continue;
        }
        push_problems(
            errors,
            &place,
            name,
            name_problems(name, NameRule::DnsLabel),
        );
        if !names.insert(name) {
            errors.push(FieldError::duplicate(place, name));
        }
    }
    names
}

fn validate_source(volume: &Volume, path: &str, errors: &mut Vec<FieldError>) {
    for source in extra_sources(volume) {
        let rule = "may not specify more than 1 volume type";
        errors.push(FieldError::forbidden(format!("{path}.{source}"), rule));
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        require(name, &format!("{path}.secret.secretName"), errors);
        validate_items(secret.items.as_deref(), &format!("{path}.secret"), errors);
    }
    if let Some(config_map) = &volume.config_map {
        require(&config_map.name, &format!("{path}.configMap.name"), errors);
        validate_items(
            config_map.items.as_deref(),
            &format!("{path}.configMap"),
            errors,
        );
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        let place = format!("{path}.persistentVolumeClaim.claimName");
        require(&claim.claim_name, &place, errors);
    }
    if let Some(host) = &volume.host_path {
        let place = format!("{path}.hostPath.path");
        require(&host.path, &place, errors);
        if host.path.split('/').any(|part| part == "..") {
            errors.push(FieldError::invalid(
                place,
                &host.path,
                "must not contain '..'",
            ));
        }
    }
}

/// Names of the sources beyond the first.
fn extra_sources(volume: &Volume) -> Vec<String> {
    let json = serde_json::to_value(volume).expect("a volume serialises");
    let sources = json.as_object().into_iter().flat_map(serde_json::Map::iter);
    sources
        .filter(|(key, value): &(&String, &Value)| *key != "name" && !value.is_null())
        .skip(1)
        .map(|(key, _)| key.clone())
        .collect()
}

fn validate_items(items: Option<&[KeyToPath]>, path: &str, errors: &mut Vec<FieldError>) {
    for (index, item) in items.into_iter().flatten().enumerate() {
        let path = format!("{path}.items[{index}]");
        require(&item.key, &format!("{path}.key"), errors);
        let place = format!("{path}.path");
        require(&item.path, &place, errors);
        if item.path.starts_with('/') {
            errors.push(FieldError::invalid(
                &place,
                &item.path,
                "must be a relative path",
            ));
        }
        if item.path.split('/').any(|part| part == "..") {
            errors.push(FieldError::invalid(
                place,
                &item.path,
                "must not contain '..'",
            ));
        }
    }
}

fn require(value: &str, place: &str, errors: &mut Vec<FieldError>) {
    if value.is_empty() {
        errors.push(FieldError::required(place, ""));
    }
}
