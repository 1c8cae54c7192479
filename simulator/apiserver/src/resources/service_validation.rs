//! Rules for Services (`ValidateService` in `k8s.io/kubernetes/pkg/apis/core/validation`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use serde_json::json;

use super::ports;
use super::services::{Exposure, is_headless};
use super::syntax::{
    NameRule, name_problems, push_problems, qualified_name_problems, validate_labels,
};
use crate::validation::FieldError;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// Checks a Service's spec.
pub(super) fn validate(spec: &ServiceSpec, errors: &mut Vec<FieldError>) {
    let exposure = Exposure::of(spec);
    let type_ = spec.type_.as_deref().unwrap_or_default();
    match exposure {
        _ if !TYPES.contains(&type_) => {
            errors.push(FieldError::not_supported("spec.type", type_, TYPES));
        }
        Exposure::ExternalName => validate_external_name(spec, errors),
        Exposure::NodePort | Exposure::LoadBalancer if is_headless(spec) => {
            let rule = format!("may not be set to 'None' for {type_} services");
            errors.push(FieldError::invalid("spec.clusterIPs[0]", "None", rule));
        }
        Exposure::NodePort | Exposure::LoadBalancer | Exposure::ClusterIp => {}
    }
    validate_ports(spec, exposure, errors);
    validate_labels(spec.selector.as_ref(), "spec.selector", errors);
    validate_choice(
        &spec.session_affinity,
        "spec.sessionAffinity",
        &["ClientIP", "None"],
        errors,
    );
    let policies = &["Cluster", "Local"];
    if exposure != Exposure::ExternalName {
        let path = "spec.internalTrafficPolicy";
        validate_choice(&spec.internal_traffic_policy, path, policies, errors);
    }
    if spec.external_traffic_policy.is_some() {
        let path = "spec.externalTrafficPolicy";
        validate_choice(&spec.external_traffic_policy, path, policies, errors);
    }
    validate_addresses(spec, errors);
}

fn validate_choice(
    choice: &Option<String>,
    path: &str,
    supported: &[&str],
    errors: &mut Vec<FieldError>,
) {
    match choice.as_deref().unwrap_or_default() {
        "" => errors.push(FieldError::required(path, "")),
        choice if supported.contains(&choice) => {}
        choice => errors.push(FieldError::not_supported(path, choice, supported)),
    }
}

fn validate_external_name(spec: &ServiceSpec, errors: &mut Vec<FieldError>) {
    if spec.cluster_ip.as_deref().is_some_and(|ip| !ip.is_empty()) {
        let rule = "may not be set for ExternalName services";
        errors.push(FieldError::forbidden("spec.clusterIPs", rule));
    }
    let name = spec.external_name.as_deref().unwrap_or_default();
    // A fully qualified name may end in a dot.
    match name.strip_suffix('.').unwrap_or(name) {
        "" => errors.push(FieldError::required("spec.externalName", "")),
        name => {
            let problems = name_problems(name, NameRule::DnsSubdomain);
            push_problems(errors, "spec.externalName", name, problems);
        }
    }
}

fn validate_ports(spec: &ServiceSpec, exposure: Exposure, errors: &mut Vec<FieldError>) {
    let list = spec.ports.as_deref().unwrap_or_default();
    if list.is_empty() && !is_headless(spec) && exposure != Exposure::ExternalName {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let (mut names, mut numbers, mut node_ports) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, port) in list.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let name = port.name.as_deref().unwrap_or_default();
        validate_port_name(name, list.len() > 1, &format!("{path}.name"), errors);
        if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), name));
        }
        validate_port(port, exposure, &path, errors);
        let protocol = port.protocol.as_deref().unwrap_or_default();
        if !numbers.insert((protocol, port.port)) {
            let value = json!({"port": port.port, "protocol": protocol});
            errors.push(FieldError::duplicate(&path, value));
        }
        let node_port = port.node_port.unwrap_or_default();
        if node_port != 0 && !node_ports.insert((protocol, node_port)) {
            errors.push(FieldError::duplicate(format!("{path}.nodePort"), node_port));
        }
    }
}

/// With several ports each needs a name, so that endpoints can tell them apart.
fn validate_port_name(name: &str, several: bool, path: &str, errors: &mut Vec<FieldError>) {
    if !name.is_empty() {
        push_problems(errors, path, name, name_problems(name, NameRule::DnsLabel));
    } else if several {
        errors.push(FieldError::required(path, ""));
    }
}

fn validate_port(port: &ServicePort, exposure: Exposure, path: &str, errors: &mut Vec<FieldError>) {
    ports::validate_number(port.port, &format!("{path}.port"), errors);
    let protocol = port.protocol.as_deref().unwrap_or_default();
    ports::validate_protocol(protocol, &format!("{path}.protocol"), errors);
    if let Some(target) = &port.target_port {
        ports::validate_target(target, &format!("{path}.targetPort"), errors);
    }
    if let Some(protocol) = port.app_protocol.as_deref() {
        let place = format!("{path}.appProtocol");
        push_problems(errors, &place, protocol, qualified_name_problems(protocol));
    }
    if exposure == Exposure::ClusterIp && port.node_port.unwrap_or_default() != 0 {
        let rule = "may not be used when `type` is 'ClusterIP'";
        errors.push(FieldError::forbidden(format!("{path}.nodePort"), rule));
    }
}

fn validate_addresses(spec: &ServiceSpec, errors: &mut Vec<FieldError>) {
    let is_ip = |text: &str| text.parse::<IpAddr>().is_ok();
    for (index, ip) in spec.cluster_ips.iter().flatten().enumerate() {
        if !is_ip(ip) && ip != "None" && !ip.is_empty() {
            errors.push(FieldError::invalid(
                format!("spec.clusterIPs[{index}]"),
                ip,
                IP,
            ));
        }
    }
    if let (Some(ip), Some(first)) = (&spec.cluster_ip, spec.cluster_ips.iter().flatten().next())
        && ip != first
    {
        let rule = "first value must match `clusterIP`";
        errors.push(FieldError::invalid(
            "spec.clusterIPs",
            &spec.cluster_ips,
            rule,
        ));
    }
    for (index, ip) in spec.external_ips.iter().flatten().enumerate() {
        if !is_ip(ip) {
            errors.push(FieldError::invalid(
                format!("spec.externalIPs[{index}]"),
                ip,
                IP,
            ));
        }
    }
}

/// An address may come and go with the type, but not change: clients have it in their caches.
pub(super) fn validate_update(spec: &ServiceSpec, old: &ServiceSpec, errors: &mut Vec<FieldError>) {
    let external = |spec: &ServiceSpec| Exposure::of(spec) == Exposure::ExternalName;
    if external(spec) || external(old) {
        return;
    }
    let held = old.cluster_ip.as_deref().unwrap_or_default();
    if !held.is_empty() && spec.cluster_ip != old.cluster_ip {
        let rule = "may not change once set";
        errors.push(FieldError::invalid(
            "spec.clusterIPs[0]",
            &spec.cluster_ips,
            rule,
        ));
    }
}
