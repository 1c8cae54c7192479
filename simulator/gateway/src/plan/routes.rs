//! Which routes attach to which listeners.

use lab_api::gateway::{GROUP, Gateway, Listener, ParentReference};
use lab_api::names::GATEWAY_CONTROLLER;
use lab_api::selector::Selector;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    Attachment, GatewayPlan, ListenerPlan, ParentPlan, Refusal, RouteObject, RoutePlan, Verdict,
    rules,
};
use crate::table::Hostname;
use crate::world::World;

/// The routes that name Gateways of ours, and, in `gateways`, how many attach to each listener.
pub(super) fn plan(world: &World, gateways: &mut [GatewayPlan]) -> Vec<RoutePlan> {
    let http = world.routes.iter().cloned().map(RouteObject::Http);
    let grpc = world.grpc_routes.iter().cloned().map(RouteObject::Grpc);
    let mut routes: Vec<_> = http.chain(grpc).collect();
    routes.sort_by_cached_key(|route| (route.metadata().creation_timestamp.clone(), route.key()));
    let mut owners = Owners::default();
    let plans: Vec<_> = routes
        .into_iter()
        .filter_map(|route| plan_route(world, gateways, &mut owners, route))
        .collect();
    for route in &plans {
        count(route, gateways);
    }
    plans
}

/// Which kind of routes has which hosts of a listener: an HTTPRoute and a GRPCRoute cannot
/// share one, and the older route keeps it.
///
/// <https://gateway-api.sigs.k8s.io/reference/spec/#grpcroute>
#[derive(Default)]
struct Owners(HashMap<(usize, usize), Vec<Owned>>);

/// Kind and name of a route, and a host that it has.
type Owned = (&'static str, Hostname, String);

impl Owners {
    /// The route of another kind that has one of these hosts already.
    fn other(&self, kind: &str, at: &Attachment) -> Option<&str> {
        let here = self.0.get(&(at.gateway, at.listener))?;
        let taken = here.iter().find(|(owner, host, _)| {
            *owner != kind
                && at
                    .hostnames
                    .iter()
                    .any(|mine| mine.intersect(host).is_some())
        });
        taken.map(|(_, _, name)| name.as_str())
    }

    fn add(&mut self, kind: &'static str, name: &str, at: &Attachment) {
        let here = self.0.entry((at.gateway, at.listener)).or_default();
        let hosts = at.hostnames.iter().cloned();
        here.extend(hosts.map(|host| (kind, host, name.to_owned())));
    }
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
    owners: &mut Owners,
    route: RouteObject,
) -> Option<RoutePlan> {
    let candidates: Vec<_> = route
        .parent_refs()
        .iter()
        .filter_map(|parent| Some((parent.clone(), find(world, gateways, &route, parent)?)))
        .collect();
    if candidates.is_empty() && !was_ours(&route) {
        return None;
    }
    let name = match &route {
        RouteObject::Http(_) => route.key(),
        RouteObject::Grpc(_) => format!("{}/{}", route.kind(), route.key()),
    };
    let compiled = rules::compile(world, &route);
    let mut parents = Vec::with_capacity(candidates.len());
    for (parent, found) in candidates {
        let verdict = found.and_then(|gateway| match &compiled.rules {
            Ok(_) => attach(world, gateways, gateway, &route, &parent)
                .and_then(|attachments| without_owned(owners, &route, attachments)),
            Err(refusal) => Err(refusal.clone()),
        });
        parents.push(ParentPlan { parent, verdict });
    }
    let verdicts = parents
        .iter()
        .filter_map(|parent| parent.verdict.as_ref().ok());
    for at in verdicts.flatten() {
        owners.add(route.kind(), &name, at);
    }
    Some(RoutePlan {
        name,
        route,
        rules: compiled.rules,
        dropped: compiled.dropped,
        unresolved: compiled.unresolved,
        parents,
    })
}

/// Without the listeners whose hosts belong to routes of another kind.
fn without_owned(
    owners: &Owners,
    route: &RouteObject,
    mut attachments: Vec<Attachment>,
) -> Result<Vec<Attachment>, Refusal> {
    let kind = route.kind();
    let owner = attachments.iter().find_map(|at| owners.other(kind, at));
    let Some(owner) = owner.map(str::to_owned) else {
        return Ok(attachments);
    };
    attachments.retain(|at| owners.other(kind, at).is_none());
    if attachments.is_empty() {
        let text = format!(
            "{owner} is older and has a hostname of this {kind} on the same listener; give \
             them different hostnames or listeners"
        );
        return Err(Refusal::new("HostnameConflict", text));
    }
    Ok(attachments)
}

/// True where we said something of the route before; it must not stand when the route has left.
fn was_ours(route: &RouteObject) -> bool {
    let mut said = route
        .status()
        .into_iter()
        .flat_map(|status| &status.parents);
    said.any(|parent| parent.controller_name == GATEWAY_CONTROLLER)
}

/// The Gateway that a parent reference means: none where it is somebody else's business. A
/// Gateway that does not exist is nobody's, and we say so only in a cluster where all classes
/// are ours.
fn find(
    world: &World,
    gateways: &[GatewayPlan],
    route: &RouteObject,
    parent: &ParentReference,
) -> Option<Result<usize, Refusal>> {
    let group = parent.group.as_deref().unwrap_or(GROUP);
    if group != GROUP || parent.kind.as_deref().unwrap_or("Gateway") != "Gateway" {
        return None;
    }
    let namespace = parent
        .namespace
        .as_deref()
        .unwrap_or_else(|| route.namespace());
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

/// The listeners of the Gateway that the reference means, that allow the route, and that
/// share a host with it; the first of these filters that leaves none names the reason.
fn attach(
    world: &World,
    gateways: &[GatewayPlan],
    at: usize,
    route: &RouteObject,
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
            "no listener of Gateway {} allows {}s of namespace {}; see allowedRoutes",
            gateway.key,
            route.kind(),
            route.namespace()
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
    route: &RouteObject,
) -> bool {
    let served = match &plan.verdict {
        Verdict::Served => true,
        Verdict::Conflicted(_) | Verdict::Refused(_) => false,
    };
    let kind = plan.kinds.iter().any(|kind| kind.kind == route.kind());
    served && kind && allows_namespace(world, gateway, spec, route.namespace())
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

fn hostnames(route: &RouteObject) -> Vec<Hostname> {
    let names = route.hostnames();
    if names.is_empty() {
        return vec![Hostname::Any];
    }
    let parse = |name: &String| Hostname::parse(Some(name));
    names.iter().map(parse).collect()
}

fn shared_hostnames(listener: &Hostname, wanted: &[Hostname]) -> Option<Vec<Hostname>> {
    let mut shared: Vec<_> = wanted
        .iter()
        .filter_map(|name| listener.intersect(name))
        .collect();
    shared.dedup();
    (!shared.is_empty()).then_some(shared)
}
