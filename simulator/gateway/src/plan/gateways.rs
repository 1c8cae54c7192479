//! Which GatewayClasses and Gateways are ours, and which of their listeners can be served.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lab_api::gateway::{GROUP, Gateway, Listener, RouteGroupKind};
use lab_api::names::GATEWAY_CONTROLLER;

use super::{ClassPlan, GatewayPlan, ListenerPlan, Refusal, Verdict};
use crate::table::Hostname;
use crate::world::{World, key};

/// The classes that name our controller.
pub(super) fn classes(world: &World) -> Vec<ClassPlan> {
    let ours = world
        .classes
        .iter()
        .filter(|class| class.spec.controller_name == GATEWAY_CONTROLLER);
    ours.map(|class| {
        let verdict = match class.spec.parameters_ref {
            None => Ok(()),
            Some(_) => Err(Refusal::new(
                "InvalidParameters",
                "spec.parametersRef is not supported",
            )),
        };
        ClassPlan {
            class: Arc::clone(class),
            verdict,
        }
    })
    .collect()
}

/// The Gateways of our classes, oldest first: an older Gateway keeps its ports.
pub(super) fn plan(world: &World) -> Vec<GatewayPlan> {
    let mut gateways: Vec<_> = world
        .gateways
        .iter()
        .filter(|gateway| is_ours(world, gateway))
        .collect();
    gateways.sort_by_cached_key(|gateway| {
        (
            gateway.metadata.creation_timestamp.clone(),
            key(&***gateway),
        )
    });
    let mut claims = Claims::default();
    gateways
        .into_iter()
        .map(|gateway| plan_gateway(gateway, &mut claims))
        .collect()
}

fn is_ours(world: &World, gateway: &Gateway) -> bool {
    world
        .classes
        .get(&gateway.spec.gateway_class_name)
        .is_some_and(|class| class.spec.controller_name == GATEWAY_CONTROLLER)
}

/// Which Gateway has which port and host. There is one address for all Gateways, so two of
/// them can share a port only with different hosts.
type Claims = HashMap<(u16, Hostname), String>;

fn plan_gateway(gateway: &Arc<Gateway>, claims: &mut Claims) -> GatewayPlan {
    let key = key(&**gateway);
    let refusal = refuse_gateway(gateway);
    let conflicts = Conflicts::among(&gateway.spec.listeners);
    let mut listeners = Vec::with_capacity(gateway.spec.listeners.len());
    for spec in &gateway.spec.listeners {
        let mut listener = plan_listener(spec, &conflicts);
        if let Some(refusal) = &refusal {
            listener.verdict = Verdict::Refused(refusal.clone());
        }
        if listener.verdict == Verdict::Served {
            claim(&mut listener, &key, claims);
        }
        listeners.push(listener);
    }
    GatewayPlan {
        key,
        gateway: Arc::clone(gateway),
        refusal,
        listeners,
    }
}

fn claim(listener: &mut ListenerPlan, gateway: &str, claims: &mut Claims) {
    let place = (listener.port, listener.hostname.clone());
    match claims.get(&place) {
        None => {
            claims.insert(place, gateway.to_owned());
        }
        Some(owner) => {
            let text = format!(
                "port {} with host {} is served for Gateway {owner}; choose another port or hostname",
                listener.port, listener.hostname
            );
            listener.verdict = Verdict::Refused(Refusal::new("PortUnavailable", text));
        }
    }
}

fn refuse_gateway(gateway: &Gateway) -> Option<Refusal> {
    let infrastructure = gateway.spec.infrastructure.as_ref();
    if infrastructure.is_some_and(|settings| settings.get("parametersRef").is_some()) {
        let text = "spec.infrastructure.parametersRef is not supported";
        return Some(Refusal::new("InvalidParameters", text));
    }
    let addresses = gateway.spec.addresses.as_deref().unwrap_or_default();
    let foreign = addresses
        .iter()
        .find_map(|address| address.type_.as_deref().filter(|&t| t != "IPAddress"));
    foreign.map(|type_| {
        Refusal::new(
            "UnsupportedAddress",
            format!("address type {type_} is not supported; use IPAddress"),
        )
    })
}

/// The protocols and hosts that the listeners of one Gateway give to each port.
struct Conflicts {
    protocols: BTreeMap<i32, Vec<String>>,
    hosts: HashMap<(i32, Hostname), usize>,
}

impl Conflicts {
    fn among(listeners: &[Listener]) -> Self {
        let mut conflicts = Self {
            protocols: BTreeMap::new(),
            hosts: HashMap::new(),
        };
        for listener in listeners {
            let protocols = conflicts.protocols.entry(listener.port).or_default();
            if !protocols.contains(&listener.protocol) {
                protocols.push(listener.protocol.clone());
            }
            *conflicts.hosts.entry(place(listener)).or_default() += 1;
        }
        conflicts
    }

    fn of(&self, listener: &Listener) -> Option<Refusal> {
        let port = listener.port;
        let protocols = self
            .protocols
            .get(&port)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if protocols.len() > 1 {
            let text = format!(
                "port {port} is asked for with protocols {}",
                protocols.join(" and ")
            );
            return Some(Refusal::new("ProtocolConflict", text));
        }
        let same = self
            .hosts
            .get(&place(listener))
            .copied()
            .unwrap_or_default();
        (same > 1).then(|| {
            let host = Hostname::parse(listener.hostname.as_deref());
            let text = format!("{same} listeners have port {port} and host {host}; only one may");
            Refusal::new("HostnameConflict", text)
        })
    }
}

fn place(listener: &Listener) -> (i32, Hostname) {
    (listener.port, Hostname::parse(listener.hostname.as_deref()))
}

fn plan_listener(spec: &Listener, conflicts: &Conflicts) -> ListenerPlan {
    let (kinds, kinds_refused) = route_kinds(spec);
    let port = u16::try_from(spec.port).unwrap_or_default();
    let verdict = match conflicts.of(spec) {
        Some(conflict) => Verdict::Conflicted(conflict),
        None => refuse_listener(spec, port).map_or(Verdict::Served, Verdict::Refused),
    };
    let hostname = Hostname::parse(spec.hostname.as_deref());
    ListenerPlan {
        name: spec.name.clone(),
        port,
        hostname,
        verdict,
        kinds,
        kinds_refused,
        attached: 0,
    }
}

fn refuse_listener(spec: &Listener, port: u16) -> Option<Refusal> {
    if spec.protocol != "HTTP" {
        let text = format!("protocol {} is not supported; use HTTP", spec.protocol);
        return Some(Refusal::new("UnsupportedProtocol", text));
    }
    (port == 0).then(|| {
        Refusal::new(
            "PortUnavailable",
            format!("port {} is not between 1 and 65535", spec.port),
        )
    })
}

/// The kinds that may attach, and a refusal for those asked for that we do not serve.
fn route_kinds(spec: &Listener) -> (Vec<RouteGroupKind>, Option<Refusal>) {
    let ours = || RouteGroupKind {
        group: Some(GROUP.to_owned()),
        kind: "HTTPRoute".to_owned(),
    };
    let served = if spec.protocol == "HTTP" {
        vec![ours()]
    } else {
        Vec::new()
    };
    let asked = spec
        .allowed_routes
        .as_ref()
        .and_then(|allowed| allowed.kinds.as_deref());
    let Some(asked) = asked.filter(|kinds| !kinds.is_empty()) else {
        return (served, None);
    };
    let is_ours = |kind: &RouteGroupKind| {
        kind.kind == "HTTPRoute" && kind.group.as_deref().is_none_or(|group| group == GROUP)
    };
    let kinds = served
        .into_iter()
        .filter(|_| asked.iter().any(is_ours))
        .collect();
    let refused = asked.iter().find(|kind| !is_ours(kind)).map(|kind| {
        let text = format!(
            "routes of kind {} are not supported; HTTPRoute is",
            kind.kind
        );
        Refusal::new("InvalidRouteKinds", text)
    });
    (kinds, refused)
}
