//! GRPCRoute: rules that carry gRPC calls from listeners to Services.
//! <https://gateway-api.sigs.k8s.io/reference/spec/#grpcroute>

use lab_api::gateway::{
    GROUP, GRPCRoute, GrpcBackendRef, GrpcMethodMatch, GrpcRouteFilter, GrpcRouteMatch,
    GrpcRouteRule, HttpBackendRef, HttpRouteFilter,
};

use super::columns::{self, cell};
use super::custom::{broken, validate_choice};
use super::httproutes::{default_mirror, default_parent, hostnames, text};
use super::route_validation::{self as rules, RuleOutline};
use super::typed::{Kind, define, words};
use super::{ResourceDef, Scope, Subresource, custom};
use crate::validation::FieldError;

/// The definition of GRPCRoute.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        categories: words(&["gateway-api"]),
        subresources: vec![Subresource::Status],
        columns: vec![
            columns::name(),
            cell("Hostnames", "string", "Host names it matches.", |o, _| {
                hostnames(o)
            }),
            custom::age(),
        ],
        ..define::<GRPCRoute>(GROUP, "GRPCRoute", "grpcroutes")
    }
}

/// The filters of GRPCRoutes.
const FILTERS: [&str; 4] = [
    "ResponseHeaderModifier",
    "RequestHeaderModifier",
    "RequestMirror",
    "ExtensionRef",
];

const METHOD_TYPES: &[&str] = &["Exact", "RegularExpression"];

impl Kind for GRPCRoute {
    const SCOPE: Scope = Scope::Namespaced;
    const OMITS_EMPTY: bool = false;

    fn set_defaults(&mut self) {
        let parents = self.spec.parent_refs.iter_mut().flatten();
        parents.for_each(default_parent);
        self.spec.rules.iter_mut().flatten().for_each(default_rule);
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let spec = &self.spec;
        rules::validate_parents(spec.parent_refs.as_deref().unwrap_or_default(), errors);
        rules::validate_hostnames(spec.hostnames.as_deref().unwrap_or_default(), errors);
        let all = spec.rules.as_deref().unwrap_or_default();
        let outlines = all.iter().map(|rule| RuleOutline {
            name: rule.name.as_deref(),
            matches: rule.matches.as_ref().map_or(0, Vec::len),
        });
        rules::validate_outlines(outlines, errors);
        for (index, rule) in all.iter().enumerate() {
            validate_rule(rule, &format!("spec.rules[{index}]"), errors);
        }
    }
}

fn default_rule(rule: &mut GrpcRouteRule) {
    rule.matches.iter_mut().flatten().for_each(default_match);
    rule.filters.iter_mut().flatten().for_each(default_filter);
    for backend in rule.backend_refs.iter_mut().flatten() {
        text(&mut backend.group, "");
        text(&mut backend.kind, "Service");
        backend.weight.get_or_insert(1);
        let filters = backend.filters.iter_mut().flatten();
        filters.for_each(default_filter);
    }
}

fn default_match(one: &mut GrpcRouteMatch) {
    if let Some(method) = &mut one.method {
        text(&mut method.type_, "Exact");
    }
    for header in one.headers.iter_mut().flatten() {
        text(&mut header.type_, "Exact");
    }
}

fn default_filter(filter: &mut GrpcRouteFilter) {
    filter.request_mirror.iter_mut().for_each(default_mirror);
}

fn validate_rule(rule: &GrpcRouteRule, path: &str, errors: &mut Vec<FieldError>) {
    for (index, one) in rule.matches.iter().flatten().enumerate() {
        let path = format!("{path}.matches[{index}]");
        if let Some(method) = &one.method {
            validate_method(method, &format!("{path}.method"), errors);
        }
        let headers = one.headers.as_deref().unwrap_or_default();
        rules::validate_values(headers, &format!("{path}.headers"), errors);
    }
    validate_filters(rule.filters.as_deref(), path, errors);
    for (index, backend) in rule.backend_refs.iter().flatten().enumerate() {
        validate_backend(backend, &format!("{path}.backendRefs[{index}]"), errors);
    }
}

fn validate_filters(filters: Option<&[GrpcRouteFilter]>, path: &str, errors: &mut Vec<FieldError>) {
    let filters = filters.unwrap_or_default().iter().cloned();
    let filters: Vec<HttpRouteFilter> = filters.map(Into::into).collect();
    rules::validate_filters(&filters, &FILTERS, &format!("{path}.filters"), errors);
}

fn validate_backend(backend: &GrpcBackendRef, path: &str, errors: &mut Vec<FieldError>) {
    rules::validate_target(&HttpBackendRef::from(backend.clone()), path, errors);
    validate_filters(backend.filters.as_deref(), path, errors);
}

fn validate_method(method: &GrpcMethodMatch, path: &str, errors: &mut Vec<FieldError>) {
    let type_ = method.type_.as_deref();
    validate_choice(type_, METHOD_TYPES, &format!("{path}.type"), errors);
    if method.service.is_none() && method.method.is_none() {
        let rule = "One or both of 'service' or 'method' must be specified";
        errors.push(broken(path, "object", rule));
    }
    if type_ != Some("Exact") {
        return;
    }
    let service = method.service.as_deref();
    if service.is_some_and(|service| !is_service(service)) {
        let rule = r"service must only contain valid characters (matching ^(?i)\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*$)";
        errors.push(broken(path, "object", rule));
    }
    if method.method.as_deref().is_some_and(|name| !is_word(name)) {
        let rule = "method must only contain valid characters (matching ^[A-Za-z_][A-Za-z_0-9]*$)";
        errors.push(broken(path, "object", rule));
    }
}

fn is_service(name: &str) -> bool {
    name.strip_prefix('.')
        .unwrap_or(name)
        .split('.')
        .all(is_word)
}

fn is_word(word: &str) -> bool {
    let mut letters = word.bytes();
    let starts = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    letters.next().is_some_and(starts)
        && letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
