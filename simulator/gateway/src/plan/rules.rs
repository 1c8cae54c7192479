//! The rules of one route, read into the form that requests need.

use std::borrow::Cow;
use std::sync::Arc;

use lab_api::gateway::{
    Fraction, GrpcRouteRule, HttpBackendRef, HttpRequestMirror, HttpRouteFilter, HttpRouteRule,
    HttpRouteTimeouts,
};

use super::{BackendPlan, MirrorPlan, Refusal, RouteObject, RulePlan, Share, Timeouts, backends};
use crate::table::{FilterError, Filters, Matcher, duration};
use crate::world::World;

/// What became of a route's rules.
pub(super) struct Compiled {
    /// The rules that can be served, or why the route is not accepted.
    pub(super) rules: Result<Vec<RulePlan>, Refusal>,
    /// The rules that cannot, where others can.
    pub(super) dropped: Option<Refusal>,
    /// The first backend that cannot be used.
    pub(super) unresolved: Option<Refusal>,
}

/// A rule of any kind of route.
struct RuleSpec<'a> {
    name: Option<&'a str>,
    matchers: Result<Vec<Matcher>, String>,
    filters: Cow<'a, [HttpRouteFilter]>,
    backends: Cow<'a, [HttpBackendRef]>,
    timeouts: Option<&'a HttpRouteTimeouts>,
}

impl<'a> RuleSpec<'a> {
    fn http(rule: &'a HttpRouteRule) -> Self {
        let matches = rule.matches.as_deref().unwrap_or_default();
        Self {
            name: rule.name.as_deref(),
            matchers: matches.iter().map(Matcher::parse).collect(),
            filters: rule.filters.as_deref().unwrap_or_default().into(),
            backends: rule.backend_refs.as_deref().unwrap_or_default().into(),
            timeouts: rule.timeouts.as_ref(),
        }
    }

    fn grpc(rule: &'a GrpcRouteRule) -> Self {
        let matches = rule.matches.as_deref().unwrap_or_default();
        let filters = rule.filters.iter().flatten().cloned();
        let backends = rule.backend_refs.iter().flatten().cloned();
        Self {
            name: rule.name.as_deref(),
            matchers: matches.iter().map(Matcher::parse_grpc).collect(),
            filters: filters.map(HttpRouteFilter::from).collect(),
            backends: backends.map(HttpBackendRef::from).collect(),
            timeouts: None,
        }
    }

    /// Who gets copies of the requests.
    fn mirrors(&self) -> impl Iterator<Item = &HttpRequestMirror> {
        self.filters
            .iter()
            .filter_map(|filter| filter.request_mirror.as_ref())
    }
}

pub(super) fn compile(world: &World, route: &RouteObject) -> Compiled {
    let specs: Vec<_> = match route {
        RouteObject::Http(route) => route
            .spec
            .rules
            .iter()
            .flatten()
            .map(RuleSpec::http)
            .collect(),
        RouteObject::Grpc(route) => route
            .spec
            .rules
            .iter()
            .flatten()
            .map(RuleSpec::grpc)
            .collect(),
    };
    let referrer = Referrer { world, route };
    let (mut rules, mut refusals) = (Vec::with_capacity(specs.len()), Vec::new());
    for (index, spec) in specs.iter().enumerate() {
        match referrer.rule(index, spec) {
            Ok(rule) => rules.push(rule),
            Err(refusal) => {
                let place = spec.name.map_or_else(|| index.to_string(), str::to_owned);
                refusals.push(Refusal {
                    message: format!("rule {place}: {}", refusal.message),
                    ..refusal
                });
            }
        }
    }
    let unresolved = specs.iter().find_map(|spec| referrer.unresolved(spec));
    let (rules, dropped) = match (rules.is_empty(), refusals.into_iter().next()) {
        (true, Some(refusal)) => (Err(refusal), None),
        (_, refusal) => (Ok(rules), refusal),
    };
    let dropped = dropped.map(|refusal| Refusal {
        message: format!("Dropped Rule: {}", refusal.message),
        ..refusal
    });
    Compiled {
        rules,
        dropped,
        unresolved,
    }
}

/// The route whose rules are read.
#[derive(Clone, Copy)]
struct Referrer<'a> {
    world: &'a World,
    route: &'a RouteObject,
}

impl Referrer<'_> {
    fn rule(self, index: usize, spec: &RuleSpec<'_>) -> Result<RulePlan, Refusal> {
        let matchers = matchers(spec)?;
        let filters = filters(&spec.filters)?;
        if filters.needs_prefix() && !matchers.iter().all(|matcher| matcher.is_prefix()) {
            let text = "ReplacePrefixMatch needs every match of its rule to be a PathPrefix";
            return Err(Refusal::new("IncompatibleFilters", text));
        }
        if filters.redirect.is_some() && !spec.backends.is_empty() {
            let text =
                "a rule with RequestRedirect sends nothing to backends; remove its backendRefs";
            return Err(Refusal::new("IncompatibleFilters", text));
        }
        let backends = spec.backends.iter().map(|backend| self.backend(backend));
        Ok(RulePlan {
            index,
            matchers,
            filters,
            backends: backends.collect::<Result<_, _>>()?,
            mirrors: self.mirrors(spec)?,
            timeouts: timeouts(spec.timeouts)?,
        })
    }

    fn backend(self, spec: &HttpBackendRef) -> Result<BackendPlan, Refusal> {
        let specs = spec.filters.as_deref().unwrap_or_default();
        let filters = filters(specs)?;
        let mirrors = specs.iter().any(|filter| filter.request_mirror.is_some());
        if filters.redirect.is_some() || filters.rewrite.is_some() || mirrors {
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
            name: backends::name(self.route.namespace(), spec),
            service: backends::resolve(self.world, self.route, spec),
        })
    }

    fn mirrors(self, spec: &RuleSpec<'_>) -> Result<Vec<MirrorPlan>, Refusal> {
        if let Some(empty) = spec
            .filters
            .iter()
            .find(|filter| filter.type_ == "RequestMirror" && filter.request_mirror.is_none())
        {
            return Err(unsupported(format!(
                "filter {} has no settings",
                empty.type_
            )));
        }
        let mirror = |mirror: &HttpRequestMirror| {
            Ok(MirrorPlan {
                share: share(mirror)?,
                backend: self.backend(&mirror.backend_ref.clone().into())?,
            })
        };
        spec.mirrors().map(mirror).collect()
    }

    /// The first backend of a rule that cannot be used.
    fn unresolved(self, spec: &RuleSpec<'_>) -> Option<Refusal> {
        let resolve =
            |backend: &HttpBackendRef| backends::resolve(self.world, self.route, backend).err();
        let mirrors = || {
            spec.mirrors()
                .find_map(|mirror| resolve(&mirror.backend_ref.clone().into()))
        };
        spec.backends.iter().find_map(resolve).or_else(mirrors)
    }
}

fn matchers(spec: &RuleSpec<'_>) -> Result<Vec<Arc<Matcher>>, Refusal> {
    let matchers = spec.matchers.as_deref();
    let matchers = matchers.map_err(|text| unsupported(text.as_str()))?;
    if matchers.is_empty() {
        return Ok(vec![Arc::new(Matcher::everything())]);
    }
    Ok(matchers.iter().cloned().map(Arc::new).collect())
}

fn filters(specs: &[HttpRouteFilter]) -> Result<Filters, Refusal> {
    Filters::parse(specs).map_err(|error| match error {
        FilterError::Unsupported(text) => unsupported(text),
        FilterError::Incompatible(text) => Refusal::new("IncompatibleFilters", text),
    })
}

/// The share of the requests that is copied: all of them unless something else is asked for.
fn share(mirror: &HttpRequestMirror) -> Result<Share, Refusal> {
    let (parts, of) = match (mirror.percent, &mirror.fraction) {
        (None, None) => (100, 100),
        (Some(percent), None) => (percent, 100),
        (
            None,
            Some(Fraction {
                numerator,
                denominator,
            }),
        ) => (*numerator, denominator.unwrap_or(100)),
        (Some(_), Some(_)) => {
            return Err(unsupported("requestMirror has both percent and fraction"));
        }
    };
    match (u64::try_from(parts), u64::try_from(of)) {
        (Ok(parts), Ok(of)) if of > 0 && parts <= of => Ok(Share { parts, of }),
        _ => Err(unsupported(format!(
            "requestMirror cannot take {parts} of {of} requests"
        ))),
    }
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
