//! Rules for a pod's spec (`ValidatePodSpec` in `k8s.io/kubernetes/pkg/apis/core/validation`).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec, Toleration};

use super::containers::{self, Scene};
use super::syntax::{
    NameRule, label_value_problems, name_problems, push_problems, qualified_name_problems,
    validate_labels,
};
use super::volumes;
use crate::validation::FieldError;

const RESTART_POLICIES: &[&str] = &["Always", "OnFailure", "Never"];
const DNS_POLICIES: &[&str] = &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Checks the spec at `path`.
pub(super) fn validate(spec: &PodSpec, path: &str, errors: &mut Vec<FieldError>) {
    let mut scene = Scene {
        volumes: volumes::validate(spec.volumes.as_deref(), &format!("{path}.volumes"), errors),
        names: BTreeSet::new(),
        host_ports: BTreeSet::new(),
    };
    if spec.containers.is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let main = list(&spec.containers, "containers");
    let init = list(
        spec.init_containers.as_deref().unwrap_or_default(),
        "initContainers",
    );
    for (container, place) in main.chain(init) {
        containers::validate(container, &format!("{path}.{place}"), &mut scene, errors);
    }
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let path = format!("{path}.initContainers[{index}]");
        validate_init(container, &path, errors);
    }
    validate_policies(spec, path, errors);
    validate_numbers(spec, path, errors);
    validate_names(spec, path, errors);
    validate_labels(
        spec.node_selector.as_ref(),
        &format!("{path}.nodeSelector"),
        errors,
    );
    for (index, toleration) in spec.tolerations.iter().flatten().enumerate() {
        validate_toleration(toleration, &format!("{path}.tolerations[{index}]"), errors);
    }
}

fn list<'a>(
    containers: &'a [Container],
    name: &'a str,
) -> impl Iterator<Item = (&'a Container, String)> {
    let places = containers.iter().enumerate();
    places.map(move |(index, container)| (container, format!("{name}[{index}]")))
}

/// Only a sidecar (an init container that restarts) is probed.
fn validate_init(container: &Container, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(policy) = container.restart_policy.as_deref() {
        if !RESTART_POLICIES.contains(&policy) {
            let place = format!("{path}.restartPolicy");
            errors.push(FieldError::not_supported(place, policy, RESTART_POLICIES));
        }
        if policy == "Always" {
            return;
        }
    }
    let rule = "may not be set for init containers without restartPolicy=Always";
    let given = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (field, _) in given.iter().filter(|(_, given)| *given) {
        errors.push(FieldError::forbidden(format!("{path}.{field}"), rule));
    }
}

fn validate_policies(spec: &PodSpec, path: &str, errors: &mut Vec<FieldError>) {
    let policies = [
        ("restartPolicy", &spec.restart_policy, RESTART_POLICIES),
        ("dnsPolicy", &spec.dns_policy, DNS_POLICIES),
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

fn validate_numbers(spec: &PodSpec, path: &str, errors: &mut Vec<FieldError>) {
    let grace = spec.termination_grace_period_seconds;
    if let Some(seconds) = grace.filter(|&seconds| seconds < 0) {
        let place = format!("{path}.terminationGracePeriodSeconds");
        let rule = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(place, seconds, rule));
    }
    let deadline = spec.active_deadline_seconds;
    if let Some(seconds) = deadline.filter(|s| !(1..=i64::from(i32::MAX)).contains(s)) {
        let place = format!("{path}.activeDeadlineSeconds");
        let rule = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(place, seconds, rule));
    }
}

fn validate_names(spec: &PodSpec, path: &str, errors: &mut Vec<FieldError>) {
    let fields = [
        (
            "serviceAccountName",
            &spec.service_account_name,
            NameRule::DnsSubdomain,
        ),
        ("nodeName", &spec.node_name, NameRule::DnsSubdomain),
        ("hostname", &spec.hostname, NameRule::DnsLabel),
        ("subdomain", &spec.subdomain, NameRule::DnsLabel),
        (
            "runtimeClassName",
            &spec.runtime_class_name,
            NameRule::DnsSubdomain,
        ),
    ];
    for (field, name, rule) in fields {
        if let Some(name) = name.as_deref().filter(|name| !name.is_empty()) {
            push_problems(
                errors,
                &format!("{path}.{field}"),
                name,
                name_problems(name, rule),
            );
        }
    }
}

fn validate_toleration(toleration: &Toleration, path: &str, errors: &mut Vec<FieldError>) {
    let key = toleration.key.as_deref().unwrap_or_default();
    let operator = toleration.operator.as_deref().unwrap_or_default();
    let value = toleration.value.as_deref().unwrap_or_default();
    if !key.is_empty() {
        push_problems(
            errors,
            &format!("{path}.key"),
            key,
            qualified_name_problems(key),
        );
    } else if operator != "Exists" {
        let rule = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.push(FieldError::invalid(
            format!("{path}.operator"),
            operator,
            rule,
        ));
    }
    let place = format!("{path}.operator");
    match operator {
        "" | "Equal" => push_problems(errors, &place, value, label_value_problems(value)),
        "Exists" if value.is_empty() => {}
        "Exists" => {
            let rule = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(place, toleration, rule));
        }
        _ => errors.push(FieldError::not_supported(
            place,
            operator,
            &["Equal", "Exists"],
        )),
    }
    let effect = toleration.effect.as_deref().unwrap_or_default();
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        errors.push(FieldError::not_supported(
            format!("{path}.effect"),
            effect,
            EFFECTS,
        ));
    }
    if toleration.toleration_seconds.is_some() && effect != "NoExecute" {
        let rule = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(format!("{path}.effect"), effect, rule));
    }
}
