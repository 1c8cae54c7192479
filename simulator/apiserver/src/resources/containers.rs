//! Rules for containers (`ValidateContainers` in `k8s.io/kubernetes/pkg/apis/core/validation`).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvFromSource, EnvVar, EnvVarSource, VolumeMount,
};

use super::syntax::{NameRule, name_problems, push_problems};
use super::{ports, probes, resource_requirements};
use crate::validation::FieldError;

const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const MESSAGE_POLICIES: &[&str] = &["File", "FallbackToLogsOnError"];
const ENV_NAME: &str = "a valid environment variable name must consist only of printable ASCII characters other than '='";

/// Fields of a pod that a variable may be made of.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// What the containers of one pod share.
pub(super) struct Scene<'a> {
    /// Names of the pod's volumes.
    pub(super) volumes: BTreeSet<&'a str>,
    /// Container names met so far.
    pub(super) names: BTreeSet<&'a str>,
    /// Host ports met so far, as `protocol/address:port`.
    pub(super) host_ports: BTreeSet<String>,
}

/// Checks one container at `path`.
pub(super) fn validate<'a>(
    container: &'a Container,
    path: &str,
    scene: &mut Scene<'a>,
    errors: &mut Vec<FieldError>,
) {
    validate_name(&container.name, path, scene, errors);
    validate_image(container.image.as_deref().unwrap_or_default(), path, errors);
    probes::validate(container, path, errors);
    validate_policies(container, path, errors);
    validate_ports(container, path, scene, errors);
    for (index, variable) in container.env.iter().flatten().enumerate() {
        validate_variable(variable, &format!("{path}.env[{index}]"), errors);
    }
    for (index, source) in container.env_from.iter().flatten().enumerate() {
        validate_env_from(source, &format!("{path}.envFrom[{index}]"), errors);
    }
    validate_mounts(container.volume_mounts.as_deref(), path, scene, errors);
    if let Some(resources) = &container.resources {
        resource_requirements::validate(resources, &format!("{path}.resources"), errors);
    }
    validate_security(container, path, errors);
}

fn validate_name<'a>(
    name: &'a str,
    path: &str,
    scene: &mut Scene<'a>,
    errors: &mut Vec<FieldError>,
) {
    let place = format!("{path}.name");
    if name.is_empty() {
        errors.push(FieldError::required(place, ""));
        return;
    }
    push_problems(
        errors,
        &place,
        name,
        name_problems(name, NameRule::DnsLabel),
    );
    if !scene.names.insert(name) {
        errors.push(FieldError::duplicate(place, name));
    }
}

fn validate_image(image: &str, path: &str, errors: &mut Vec<FieldError>) {
    let place = format!("{path}.image");
    if image.is_empty() {
        errors.push(FieldError::required(place, ""));
    } else if image.trim() != image {
        let rule = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(place, image, rule));
    }
}

fn validate_policies(container: &Container, path: &str, errors: &mut Vec<FieldError>) {
    let policies = [
        (
            "imagePullPolicy",
            &container.image_pull_policy,
            PULL_POLICIES,
        ),
        (
            "terminationMessagePolicy",
            &container.termination_message_policy,
            MESSAGE_POLICIES,
        ),
    ];
    for (name, policy, supported) in policies {
        let place = format!("{path}.{name}");
        match policy.as_deref().unwrap_or_default() {
            "" => errors.push(FieldError::required(place, "")),
            policy if supported.contains(&policy) => {}
            policy => errors.push(FieldError::not_supported(place, policy, supported)),
        }
    }
}

fn validate_ports(
    container: &Container,
    path: &str,
    scene: &mut Scene<'_>,
    errors: &mut Vec<FieldError>,
) {
    let mut names = BTreeSet::new();
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let path = format!("{path}.ports[{index}]");
        validate_port(port, &path, errors);
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
        let host_port = port.host_port.unwrap_or_default();
        let protocol = port.protocol.as_deref().unwrap_or_default();
        let address = port.host_ip.as_deref().unwrap_or_default();
        if host_port != 0
            && !scene
                .host_ports
                .insert(format!("{protocol}/{address}:{host_port}"))
        {
            let key = format!("{protocol}/{address}/{host_port}");
            errors.push(FieldError::duplicate(format!("{path}.hostPort"), key));
        }
    }
}

fn validate_port(port: &ContainerPort, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
        push_problems(
            errors,
            &format!("{path}.name"),
            name,
            ports::name_problems(name),
        );
    }
    match port.container_port {
        0 => errors.push(FieldError::required(format!("{path}.containerPort"), "")),
        number => ports::validate_number(number, &format!("{path}.containerPort"), errors),
    }
    if let Some(number) = port.host_port.filter(|&number| number != 0) {
        ports::validate_number(number, &format!("{path}.hostPort"), errors);
    }
    let protocol = port.protocol.as_deref().unwrap_or_default();
    ports::validate_protocol(protocol, &format!("{path}.protocol"), errors);
}

fn validate_variable(variable: &EnvVar, path: &str, errors: &mut Vec<FieldError>) {
    let place = format!("{path}.name");
    if variable.name.is_empty() {
        errors.push(FieldError::required(place, ""));
    } else if !variable
        .name
        .chars()
        .all(|c| (' '..='~').contains(&c) && c != '=')
    {
        errors.push(FieldError::invalid(place, &variable.name, ENV_NAME));
    }
    if let Some(source) = &variable.value_from {
        let has_value = variable
            .value
            .as_deref()
            .is_some_and(|value| !value.is_empty());
        validate_value_from(source, has_value, &format!("{path}.valueFrom"), errors);
    }
}

fn validate_value_from(
    source: &EnvVarSource,
    has_value: bool,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let given = [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.config_map_key_ref.is_some(),
        source.secret_key_ref.is_some(),
        source.file_key_ref.is_some(),
    ];
    match given.iter().filter(|&&given| given).count() {
        0 => {
            let rule = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
            errors.push(FieldError::invalid(path, "", rule));
        }
        _ if has_value => {
            let rule = "may not be specified when `value` is not empty";
            errors.push(FieldError::invalid(path, "", rule));
        }
        1 => {}
        _ => {
            let rule = "may not have more than one field specified at a time";
            errors.push(FieldError::invalid(path, "", rule));
        }
    }
    let keys = [
        (
            "configMapKeyRef",
            source
                .config_map_key_ref
                .as_ref()
                .map(|r| (&r.name, &r.key)),
        ),
        (
            "secretKeyRef",
            source.secret_key_ref.as_ref().map(|r| (&r.name, &r.key)),
        ),
    ];
    for (field, reference) in keys {
        let Some((name, key)) = reference else {
            continue;
        };
        for (part, value) in [("name", name), ("key", key)] {
            if value.is_empty() {
                errors.push(FieldError::required(format!("{path}.{field}.{part}"), ""));
            }
        }
    }
    if let Some(field) = &source.field_ref {
        validate_env_field(
            &field.field_path,
            &format!("{path}.fieldRef.fieldPath"),
            errors,
        );
    }
}

fn validate_env_field(field: &str, place: &str, errors: &mut Vec<FieldError>) {
    let subscripted = ["metadata.labels['", "metadata.annotations['"];
    let known = ENV_FIELDS.contains(&field)
        || subscripted
            .iter()
            .any(|start| field.starts_with(start) && field.ends_with("']"));
    if field.is_empty() {
        errors.push(FieldError::required(place, ""));
    } else if !known {
        errors.push(FieldError::not_supported(place, field, ENV_FIELDS));
    }
}

fn validate_env_from(source: &EnvFromSource, path: &str, errors: &mut Vec<FieldError>) {
    let given = [
        (
            "configMapRef",
            source.config_map_ref.as_ref().map(|r| &r.name),
        ),
        ("secretRef", source.secret_ref.as_ref().map(|r| &r.name)),
    ];
    match given.iter().filter(|(_, name)| name.is_some()).count() {
        0 => {
            let rule = "must specify one of: `configMapRef` or `secretRef`";
            errors.push(FieldError::invalid(path, "", rule));
        }
        1 => {}
        _ => {
            let rule = "may not have more than one field specified at a time";
            errors.push(FieldError::invalid(path, "", rule));
        }
    }
    for (field, name) in given {
        if name.is_some_and(String::is_empty) {
            errors.push(FieldError::required(format!("{path}.{field}.name"), ""));
        }
    }
}

fn validate_mounts(
    mounts: Option<&[VolumeMount]>,
    path: &str,
    scene: &Scene<'_>,
    errors: &mut Vec<FieldError>,
) {
    let mut paths = BTreeSet::new();
    for (index, mount) in mounts.into_iter().flatten().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let name = format!("{path}.name");
        if mount.name.is_empty() {
            errors.push(FieldError::required(name, ""));
        } else if !scene.volumes.contains(mount.name.as_str()) {
            errors.push(FieldError::not_found(name, &mount.name));
        }
        let place = format!("{path}.mountPath");
        if mount.mount_path.is_empty() {
            errors.push(FieldError::required(place, ""));
        } else if !paths.insert(&mount.mount_path) {
            errors.push(FieldError::invalid(
                place,
                &mount.mount_path,
                "must be unique",
            ));
        }
        if let Some(sub_path) = mount.sub_path.as_deref().filter(|p| !p.is_empty()) {
            validate_sub_path(sub_path, &format!("{path}.subPath"), errors);
        }
    }
}

fn validate_sub_path(sub_path: &str, place: &str, errors: &mut Vec<FieldError>) {
    if sub_path.starts_with('/') {
        errors.push(FieldError::invalid(
            place,
            sub_path,
            "must be a relative path",
        ));
    }
    if sub_path.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(
            place,
            sub_path,
            "must not contain '..'",
        ));
    }
}

/// A cluster on a student's laptop runs no privileged containers, and says so at once.
fn validate_security(container: &Container, path: &str, errors: &mut Vec<FieldError>) {
    let Some(security) = &container.security_context else {
        return;
    };
    let path = format!("{path}.securityContext");
    if security.privileged == Some(true) {
        let rule = "disallowed by cluster policy";
        errors.push(FieldError::forbidden(format!("{path}.privileged"), rule));
    }
    for (field, id) in [
        ("runAsUser", security.run_as_user),
        ("runAsGroup", security.run_as_group),
    ] {
        if let Some(id) = id.filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
            let rule = "must be between 0 and 2147483647, inclusive";
            errors.push(FieldError::invalid(format!("{path}.{field}"), id, rule));
        }
    }
}
