//! Ingress: HTTP and HTTPS from outside to Services, by host and path.
//! <https://kubernetes.io/docs/concepts/services-networking/ingress/>

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressLoadBalancerStatus, IngressRule,
    IngressServiceBackend, IngressStatus, IngressTLS,
};
use lab_api::names::INGRESS_CLASS;
use serde_json::Value;

use super::columns::{self, NONE, at_most_three, list_at, or_none, str_at, text};
use super::syntax::{NameRule, name_problems};
use super::typed::{Kind, define, words};
use super::{PrepareContext, ResourceDef, Scope, Subresource};
use crate::validation::FieldError;

/// The definition of Ingress.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        short_names: words(&["ing"]),
        subresources: vec![Subresource::Status],
        columns: vec![
            columns::name(),
            text("Class", "Its IngressClass.", class),
            text("Hosts", "Hosts that its rules are for.", hosts),
            text("Address", "Where it is reached.", address),
            text("Ports", "80, and 443 where it has certificates.", |o| {
                let tls = !list_at(o, "/spec/tls").is_empty();
                if tls { "80, 443" } else { "80" }.to_owned()
            }),
            columns::age(),
        ],
        ..define::<Ingress>("networking.k8s.io", "Ingress", "ingresses")
    }
}

fn class(ingress: &Value) -> String {
    let annotated = ingress["metadata"]["annotations"][INGRESS_CLASS].as_str();
    let named = ingress["spec"]["ingressClassName"].as_str();
    named.or(annotated).unwrap_or(NONE).to_owned()
}

fn hosts(ingress: &Value) -> String {
    let rules = list_at(ingress, "/spec/rules").iter();
    let hosts: Vec<String> = rules
        .map(|rule| str_at(rule, "/host").to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    match hosts.as_slice() {
        [] => "*".to_owned(),
        hosts => at_most_three(hosts, ","),
    }
}

/// Empty until there is one, as upstream prints it.
fn address(ingress: &Value) -> String {
    let points = list_at(ingress, "/status/loadBalancer/ingress").iter();
    let mut addresses: Vec<&str> = points
        .map(|point| match str_at(point, "/ip") {
            "" => str_at(point, "/hostname"),
            ip => ip,
        })
        .filter(|address| !address.is_empty())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.join(",")
}

impl Kind for Ingress {
    const SCOPE: Scope = Scope::Namespaced;

    fn prepare_for_create(&mut self, _context: &PrepareContext<'_>) -> Result<(), FieldError> {
        self.status = Some(IngressStatus {
            load_balancer: Some(IngressLoadBalancerStatus::default()),
        });
        Ok(())
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let Some(spec) = &self.spec else { return };
        let rules = spec.rules.as_deref().unwrap_or_default();
        if rules.is_empty() && spec.default_backend.is_none() {
            let rule = "either `defaultBackend` or `rules` must be specified";
            errors.push(FieldError::invalid("spec", rules, rule));
        }
        for (index, rule) in rules.iter().enumerate() {
            validate_rule(rule, &format!("spec.rules[{index}]"), errors);
        }
        if let Some(backend) = &spec.default_backend {
            validate_backend(backend, "spec.defaultBackend", errors);
        }
        if let Some(class) = &spec.ingress_class_name {
            validate_name(class, "spec.ingressClassName", errors);
        }
        for (index, tls) in spec.tls.iter().flatten().enumerate() {
            validate_tls(tls, &format!("spec.tls[{index}]"), errors);
        }
    }
}

fn validate_name(name: &str, path: &str, errors: &mut Vec<FieldError>) {
    for problem in name_problems(name, NameRule::DnsSubdomain) {
        errors.push(FieldError::invalid(path, name, problem));
    }
}

const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

fn validate_host(host: &str, path: &str, errors: &mut Vec<FieldError>) {
    match host.strip_prefix('*') {
        Some(rest) => {
            let parent = rest.strip_prefix('.').unwrap_or_default();
            if !name_problems(parent, NameRule::DnsSubdomain).is_empty() {
                errors.push(FieldError::invalid(path, host, WILDCARD));
            }
        }
        None => validate_name(host, path, errors),
    }
}

fn validate_rule(rule: &IngressRule, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(host) = rule.host.as_deref().filter(|host| !host.is_empty()) {
        let path = format!("{path}.host");
        if host.parse::<IpAddr>().is_ok() {
            let rule = "must be a DNS name, not an IP address";
            errors.push(FieldError::invalid(path.as_str(), host, rule));
        }
        validate_host(host, &path, errors);
    }
    let Some(http) = &rule.http else { return };
    let path = format!("{path}.http.paths");
    if http.paths.is_empty() {
        errors.push(FieldError::required(path.as_str(), ""));
    }
    for (index, one) in http.paths.iter().enumerate() {
        validate_path(one, &format!("{path}[{index}]"), errors);
    }
}

const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
const FORBIDDEN: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const FORBIDDEN_ENDS: [&str; 2] = ["/..", "/."];

fn validate_path(one: &HTTPIngressPath, path: &str, errors: &mut Vec<FieldError>) {
    let value = one.path.as_deref().unwrap_or_default();
    let place = format!("{path}.path");
    let absolute = "must be an absolute path";
    match one.path_type.as_str() {
        "" => {
            let place = format!("{path}.pathType");
            errors.push(FieldError::required(place, "pathType must be specified"));
        }
        "Exact" | "Prefix" => {
            if !value.starts_with('/') {
                errors.push(FieldError::invalid(place.as_str(), value, absolute));
            }
            for part in FORBIDDEN.iter().filter(|part| value.contains(*part)) {
                let rule = format!("must not contain '{part}'");
                errors.push(FieldError::invalid(place.as_str(), value, rule));
            }
            for end in FORBIDDEN_ENDS.iter().filter(|end| value.ends_with(*end)) {
                let rule = format!("cannot end with '{end}'");
                errors.push(FieldError::invalid(place.as_str(), value, rule));
            }
        }
        "ImplementationSpecific" => {
            if !value.is_empty() && !value.starts_with('/') {
                errors.push(FieldError::invalid(place, value, absolute));
            }
        }
        other => {
            let place = format!("{path}.pathType");
            errors.push(FieldError::not_supported(place, other, &PATH_TYPES));
        }
    }
    validate_backend(&one.backend, &format!("{path}.backend"), errors);
}

fn validate_backend(backend: &IngressBackend, path: &str, errors: &mut Vec<FieldError>) {
    match (&backend.service, &backend.resource) {
        (Some(_), Some(_)) => {
            let rule = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(path, "", rule));
        }
        (Some(service), None) => validate_service(service, path, errors),
        (None, Some(resource)) => {
            for (field, value) in [("kind", &resource.kind), ("name", &resource.name)] {
                if value.is_empty() {
                    let place = format!("{path}.resource.{field}");
                    errors.push(FieldError::required(place, format!("{field} is required")));
                }
            }
        }
        (None, None) => {
            let rule = "resource or service backend is required";
            errors.push(FieldError::invalid(path, "", rule));
        }
    }
}

fn validate_service(service: &IngressServiceBackend, path: &str, errors: &mut Vec<FieldError>) {
    let place = format!("{path}.service.name");
    if service.name.is_empty() {
        errors.push(FieldError::required(place, ""));
    } else {
        for problem in name_problems(&service.name, NameRule::Dns1035Label) {
            errors.push(FieldError::invalid(place.as_str(), &service.name, problem));
        }
    }
    let port = service.port.clone().unwrap_or_default();
    let name = port.name.filter(|name| !name.is_empty());
    let number = port.number.filter(|number| *number != 0);
    match (name, number) {
        (Some(_), Some(_)) => {
            let rule = "cannot set both port name & port number";
            errors.push(FieldError::invalid(path, "", rule));
        }
        (None, None) => errors.push(FieldError::required(
            path,
            "port name or number is required",
        )),
        (None, Some(number)) if !(1..=65_535).contains(&number) => {
            let place = format!("{path}.service.port.number");
            let rule = "must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(place, number, rule));
        }
        (Some(_), None) | (None, Some(_)) => {}
    }
}

fn validate_tls(tls: &IngressTLS, path: &str, errors: &mut Vec<FieldError>) {
    for (index, host) in tls.hosts.iter().flatten().enumerate() {
        validate_host(host, &format!("{path}.hosts[{index}]"), errors);
    }
    if let Some(name) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) {
        validate_name(name, &format!("{path}.secretName"), errors);
    }
}

/// The controller and the parameters of a class, for its row.
pub(super) fn parameters(class: &Value) -> String {
    let parameters = &class["spec"]["parameters"];
    let kind = str_at(parameters, "/kind");
    let group = match str_at(parameters, "/apiGroup") {
        "" => String::new(),
        group => format!(".{group}"),
    };
    match str_at(parameters, "/name") {
        "" => or_none(String::new()),
        name => format!("{kind}{group}/{name}"),
    }
}
