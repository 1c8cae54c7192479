//! The rules of one HTTPRoute, read into the form that requests need.

use std::sync::Arc;

use lab_api::gateway::{HTTPRoute, HttpBackendRef, HttpRouteRule, HttpRouteTimeouts};

use super::{BackendPlan, Refusal, RulePlan, Timeouts, backends};
use crate::table::{FilterError, Filters, Matcher, duration};
use crate::world::World;

/// What became of a route's rules.
pub(super) struct Compiled {
    /// All rules, or why the route is not accepted.
    pub(super) rules: Result<Vec<RulePlan>, Refusal>,
    /// The first backend that cannot be used.
    pub(super) unresolved: Option<Refusal>,
}

pub(super) fn compile(world: &World, route: &HTTPRoute) -> Compiled {
    let namespace = route.metadata.namespace.as_deref().unwrap_or_default();
    let specs = route.spec.rules.as_deref().unwrap_or_default();
    let unresolved = specs
        .iter()
        .flat_map(|rule| rule.backend_refs.iter().flatten())
        .find_map(|backend| backends::resolve(world, "HTTPRoute", namespace, backend).err());
    let rules = specs
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            compile_rule(world, namespace, rule).map_err(|refusal| {
                let place = rule.name.clone().unwrap_or_else(|| index.to_string());
                Refusal {
                    message: format!("rule {place}: {}", refusal.message),
                    ..refusal
                }
            })
        })
        .collect();
    Compiled { rules, unresolved }
}

fn compile_rule(world: &World, namespace: &str, rule: &HttpRouteRule) -> Result<RulePlan, Refusal> {
    let matchers = matchers(rule)?;
    let filters = filters(rule.filters.as_deref().unwrap_or_default())?;
    if filters.needs_prefix() && !matchers.iter().all(|matcher| matcher.is_prefix()) {
        let text = "ReplacePrefixMatch needs every match of its rule to be a PathPrefix";
        return Err(Refusal::new("IncompatibleFilters", text));
    }
    let refs = rule.backend_refs.as_deref().unwrap_or_default();
    if filters.redirect.is_some() && !refs.is_empty() {
        let text = "a rule with RequestRedirect sends nothing to backends; remove its backendRefs";
        return Err(Refusal::new("IncompatibleFilters", text));
    }
    let backends = refs
        .iter()
        .map(|backend| plan_backend(world, namespace, backend));
    Ok(RulePlan {
        matchers,
        filters,
        backends: backends.collect::<Result<_, _>>()?,
        timeouts: timeouts(rule.timeouts.as_ref())?,
    })
}

fn matchers(rule: &HttpRouteRule) -> Result<Vec<Arc<Matcher>>, Refusal> {
    let specs = rule.matches.as_deref().unwrap_or_default();
    if specs.is_empty() {
        return Ok(vec![Arc::new(Matcher::everything())]);
    }
    let parse = |spec| Matcher::parse(spec).map(Arc::new).map_err(unsupported);
    specs.iter().map(parse).collect()
}

fn filters(specs: &[lab_api::gateway::HttpRouteFilter]) -> Result<Filters, Refusal> {
    Filters::parse(specs).map_err(|error| match error {
        FilterError::Unsupported(text) => unsupported(text),
        FilterError::Incompatible(text) => Refusal::new("IncompatibleFilters", text),
    })
}

fn plan_backend(
    world: &World,
    namespace: &str,
    spec: &HttpBackendRef,
) -> Result<BackendPlan, Refusal> {
    let filters = filters(spec.filters.as_deref().unwrap_or_default())?;
    if filters.redirect.is_some() || filters.rewrite.is_some() {
        let text = format!(
            "backend {} has a filter that only a rule may have",
            spec.name
        );
        return Err(unsupported(text));
    }
    let weight = spec.weight.unwrap_or(1);
    Ok(BackendPlan {
        weight: u32::try_from(weight)
            .map_err(|_| unsupported(format!("weight {weight} is negative")))?,
        filters,
        name: backends::name(namespace, spec),
        service: backends::resolve(world, "HTTPRoute", namespace, spec),
    })
}

fn timeouts(spec: Option<&HttpRouteTimeouts>) -> Result<Timeouts, Refusal> {
    let Some(spec) = spec else {
        return Ok(Timeouts::default());
    };
    let read = |text: Option<&str>| match text.map(|text| (text, duration(text))) {
        None => Ok(None),
        Some((_, Some(time))) => Ok((!time.is_zero()).then_some(time)),
        Some((text, None)) => Err(unsupported(format!("timeout {text:?} is not a duration"))),
    };
    let timeouts = Timeouts {
        request: read(spec.request.as_deref())?,
        backend: read(spec.backend_request.as_deref())?,
    };
    match timeouts {
        Timeouts {
            request: Some(request),
            backend: Some(backend),
        } if backend > request => Err(unsupported(
            "timeouts.backendRequest is longer than timeouts.request",
        )),
        fine => Ok(fine),
    }
}

fn unsupported(text: impl Into<String>) -> Refusal {
    Refusal::new("UnsupportedValue", text)
}
