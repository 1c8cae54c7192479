//! Which HTTPRoutes attach to which listeners.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use lab_api::gateway::{GROUP, Gateway, HTTPRoute, Listener, ParentReference};
use lab_api::names::GATEWAY_CONTROLLER;
use lab_api::selector::Selector;

use super::{
    Attachment, GatewayPlan, ListenerPlan, ParentPlan, Refusal, RoutePlan, Verdict, rules,
};
use crate::table::Hostname;
use crate::world::{World, key};

/// The routes that name Gateways of ours, and, in `gateways`, how many attach to each listener.
pub(super) fn plan(world: &World, gateways: &mut [GatewayPlan]) -> Vec<RoutePlan> {
    let mut routes: Vec<_> = world.routes.iter().collect();
    routes.sort_by_cached_key(|route| (route.metadata.creation_timestamp.clone(), key(&***route)));
    let plans: Vec<_> = routes
        .into_iter()
        .filter_map(|route| plan_route(world, gateways, route))
        .collect();
    for route in &plans {
        count(route, gateways);
    }
    plans
}

/// A route that names one listener twice is still one route there.
fn count(route: &RoutePlan, gateways: &mut [GatewayPlan]) {
    let attachments = route
        .parents
        .iter()
        .filter_map(|parent| parent.verdict.as_ref().ok())
        .flatten();
    let places: HashSet<_> = attachments.map(|at| (at.gateway, at.listener)).collect();
    for (gateway, listener) in places {
        gateways[gateway].listeners[listener].attached += 1;
    }
}

fn plan_route(
    world: &World,
    gateways: &[GatewayPlan],
    route: &Arc<HTTPRoute>,
) -> Option<RoutePlan> {
    let candidates: Vec<_> = route
        .spec
        .parent_refs
        .iter()
        .flatten()
        .filter_map(|parent| Some((parent.clone(), find(world, gateways, route, parent)?)))
        .collect();
    if candidates.is_empty() && !was_ours(route) {
        return None;
    }
    let compiled = rules::compile(world, route);
    let parents = candidates
        .into_iter()
        .map(|(parent, found)| {
            let verdict = found.and_then(|gateway| match &compiled.rules {
                Ok(_) => attach(world, gateways, gateway, route, &parent),
                Err(refusal) => Err(refusal.clone()),
            });
            ParentPlan { parent, verdict }
        })
        .collect();
    let key = key(&**route);
    let route = Arc::clone(route);
    Some(RoutePlan {
        key,
        route,
        rules: compiled.rules,
        unresolved: compiled.unresolved,
        parents,
    })
}

/// True where we said something of the route before; it must not stand when the route has left.
fn was_ours(route: &HTTPRoute) -> bool {
    let mut said = route.status.iter().flat_map(|status| &status.parents);
    said.any(|parent| parent.controller_name == GATEWAY_CONTROLLER)
}

/// The Gateway that a parent reference means: none where it is somebody else's business. A
/// Gateway that does not exist is nobody's, and we say so only in a cluster where all classes
/// are ours.
fn find(
    world: &World,
    gateways: &[GatewayPlan],
    route: &HTTPRoute,
    parent: &ParentReference,
) -> Option<Result<usize, Refusal>> {
    let group = parent.group.as_deref().unwrap_or(GROUP);
    if group != GROUP || parent.kind.as_deref().unwrap_or("Gateway") != "Gateway" {
        return None;
    }
    let namespace = parent
        .namespace
        .as_deref()
        .unwrap_or_else(|| namespace_of(route));
    let name = format!("{namespace}/{}", parent.name);
    if let Some(position) = gateways.iter().position(|gateway| gateway.key == name) {
        return Some(Ok(position));
    }
    let alone = world
        .classes
        .iter()
        .all(|class| class.spec.controller_name == GATEWAY_CONTROLLER);
    let missing = world.gateways.get(&name).is_none();
    (alone && missing).then(|| {
        Err(Refusal::new(
            "NoMatchingParent",
            format!("Gateway {name} does not exist"),
        ))
    })
}

fn namespace_of(route: &HTTPRoute) -> &str {
    route.metadata.namespace.as_deref().unwrap_or_default()
}

/// The listeners of the Gateway that the reference means, that allow the route, and that
/// share a host with it; the first of these filters that leaves none names the reason.
fn attach(
    world: &World,
    gateways: &[GatewayPlan],
    at: usize,
    route: &HTTPRoute,
    parent: &ParentReference,
) -> Result<Vec<Attachment>, Refusal> {
    let gateway = &gateways[at];
    let specs = &gateway.gateway.spec.listeners;
    let listeners = gateway.listeners.iter().zip(specs).enumerate();
    let meant: Vec<_> = listeners
        .filter(|(_, (plan, spec))| is_meant(plan, spec, parent))
        .collect();
    if meant.is_empty() {
        return Err(Refusal::new(
            "NoMatchingParent",
            no_such_listener(gateway, parent),
        ));
    }
    let allowed: Vec<_> = meant
        .into_iter()
        .filter(|(_, (plan, spec))| is_allowed(world, &gateway.gateway, plan, spec, route))
        .collect();
    if allowed.is_empty() {
        let text = format!(
            "no listener of Gateway {} allows HTTPRoutes of namespace {}; see allowedRoutes",
            gateway.key,
            namespace_of(route)
        );
        return Err(Refusal::new("NotAllowedByListeners", text));
    }
    let wanted = hostnames(route);
    let attachments: Vec<_> = allowed
        .into_iter()
        .filter_map(|(listener, (plan, _))| {
            let hostnames = shared_hostnames(&plan.hostname, &wanted)?;
            Some(Attachment {
                gateway: at,
                listener,
                hostnames,
            })
        })
        .collect();
    if attachments.is_empty() {
        let text = format!(
            "no listener of Gateway {} serves any of the route's hostnames",
            gateway.key
        );
        return Err(Refusal::new("NoMatchingListenerHostname", text));
    }
    Ok(attachments)
}

fn is_meant(plan: &ListenerPlan, spec: &Listener, parent: &ParentReference) -> bool {
    let name = parent
        .section_name
        .as_deref()
        .is_none_or(|name| name == plan.name);
    let port = parent.port.is_none_or(|port| port == spec.port);
    name && port
}

fn no_such_listener(gateway: &GatewayPlan, parent: &ParentReference) -> String {
    let names: Vec<_> = gateway
        .listeners
        .iter()
        .map(|listener| listener.name.as_str())
        .collect();
    let wanted = match (&parent.section_name, parent.port) {
        (Some(name), Some(port)) => format!("listener {name} on port {port}"),
        (Some(name), None) => format!("listener {name}"),
        (None, Some(port)) => format!("listener on port {port}"),
        (None, None) => "listener".to_owned(),
    };
    format!(
        "Gateway {} has no {wanted}; it has: {}",
        gateway.key,
        names.join(", ")
    )
}

fn is_allowed(
    world: &World,
    gateway: &Gateway,
    plan: &ListenerPlan,
    spec: &Listener,
    route: &HTTPRoute,
) -> bool {
    let served = match &plan.verdict {
        Verdict::Served => true,
        Verdict::Conflicted(_) | Verdict::Refused(_) => false,
    };
    served && !plan.kinds.is_empty() && allows_namespace(world, gateway, spec, namespace_of(route))
}

/// <https://gateway-api.sigs.k8s.io/reference/spec/#fromnamespaces>
fn allows_namespace(world: &World, gateway: &Gateway, spec: &Listener, namespace: &str) -> bool {
    let namespaces = spec
        .allowed_routes
        .as_ref()
        .and_then(|allowed| allowed.namespaces.as_ref());
    let from = namespaces
        .and_then(|namespaces| namespaces.from.as_deref())
        .unwrap_or("Same");
    match from {
        "All" => true,
        "Same" => gateway.metadata.namespace.as_deref() == Some(namespace),
        "Selector" => {
            let selector = namespaces.and_then(|namespaces| namespaces.selector.as_ref());
            let none = BTreeMap::new();
            let labels = world
                .namespaces
                .get(namespace)
                .and_then(|object| object.metadata.labels.as_ref());
            selector.is_some_and(|selector| {
                Selector::from_label_selector(selector).matches(labels.unwrap_or(&none))
            })
        }
        _ => false,
    }
}

fn hostnames(route: &HTTPRoute) -> Vec<Hostname> {
    let names = route.spec.hostnames.as_deref().unwrap_or_default();
    if names.is_empty() {
        return vec![Hostname::Any];
    }
    names
        .iter()
        .map(|name| Hostname::parse(Some(name)))
        .collect()
}

fn shared_hostnames(listener: &Hostname, wanted: &[Hostname]) -> Option<Vec<Hostname>> {
    let mut shared: Vec<_> = wanted
        .iter()
        .filter_map(|name| listener.intersect(name))
        .collect();
    shared.dedup();
    (!shared.is_empty()).then_some(shared)
}
