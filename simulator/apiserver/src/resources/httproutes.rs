//! HTTPRoute: rules that carry requests from listeners to Services.

use lab_api::gateway::{
    GROUP, HTTPRoute, HttpBackendRef, HttpPathMatch, HttpRequestMirror, HttpRouteFilter,
    HttpRouteMatch, HttpRouteRule, HttpValueMatch, ParentReference,
};
use serde_json::Value;

use super::columns::{self, cell};
use super::typed::{Kind, define, words};
use super::{ResourceDef, Scope, Subresource, custom, route_validation};
use crate::validation::FieldError;

/// The definition of HTTPRoute.
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
        ..define::<HTTPRoute>(GROUP, "HTTPRoute", "httproutes")
    }
}

/// JSONPath prints a list as JSON.
pub(super) fn hostnames(route: &Value) -> Value {
    route
        .pointer("/spec/hostnames")
        .map_or(Value::Null, |names| Value::String(names.to_string()))
}

/// Status code of a redirect that names none.
const FOUND: u16 = 302;

impl Kind for HTTPRoute {
    const SCOPE: Scope = Scope::Namespaced;
    const OMITS_EMPTY: bool = false;

    fn set_defaults(&mut self) {
        self.spec
            .parent_refs
            .iter_mut()
            .flatten()
            .for_each(default_parent);
        let rules = self
            .spec
            .rules
            .get_or_insert_with(|| vec![HttpRouteRule::default()]);
        rules.iter_mut().for_each(default_rule);
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        route_validation::validate(&self.spec, errors);
    }
}

pub(super) fn text(field: &mut Option<String>, value: &str) {
    field.get_or_insert_with(|| value.to_owned());
}

pub(super) fn default_parent(parent: &mut ParentReference) {
    text(&mut parent.group, GROUP);
    text(&mut parent.kind, "Gateway");
}

/// A rule without matches takes every request.
fn default_rule(rule: &mut HttpRouteRule) {
    let matches = rule
        .matches
        .get_or_insert_with(|| vec![HttpRouteMatch::default()]);
    matches.iter_mut().for_each(default_match);
    rule.filters.iter_mut().flatten().for_each(default_filter);
    for backend in rule.backend_refs.iter_mut().flatten() {
        default_backend(backend);
        backend
            .filters
            .iter_mut()
            .flatten()
            .for_each(default_filter);
    }
}

fn default_match(one: &mut HttpRouteMatch) {
    let path: &mut HttpPathMatch = one.path.get_or_insert_default();
    text(&mut path.type_, "PathPrefix");
    text(&mut path.value, "/");
    let headers = one.headers.iter_mut().flatten();
    for value in headers.chain(one.query_params.iter_mut().flatten()) {
        let value: &mut HttpValueMatch = value;
        text(&mut value.type_, "Exact");
    }
}

fn default_backend(backend: &mut HttpBackendRef) {
    text(&mut backend.group, "");
    text(&mut backend.kind, "Service");
    backend.weight.get_or_insert(1);
}

fn default_filter(filter: &mut HttpRouteFilter) {
    if let Some(redirect) = &mut filter.request_redirect {
        redirect.status_code.get_or_insert(FOUND);
    }
    filter.request_mirror.iter_mut().for_each(default_mirror);
}

pub(super) fn default_mirror(mirror: &mut HttpRequestMirror) {
    text(&mut mirror.backend_ref.group, "");
    text(&mut mirror.backend_ref.kind, "Service");
    if let Some(fraction) = &mut mirror.fraction {
        fraction.denominator.get_or_insert(100);
    }
}
