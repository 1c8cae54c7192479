//! Which GatewayClasses and Gateways are ours, and which of their listeners can be served.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lab_api::gateway::{GROUP, Gateway, Listener, ListenerTls, RouteGroupKind, SecretReference};
use lab_api::names::GATEWAY_CONTROLLER;
use rustls::sign::CertifiedKey;

use super::grants::Reference;
use super::{ClassPlan, GatewayPlan, ListenerPlan, Refusal, TlsPlan, Verdict};
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
        .map(|gateway| plan_gateway(world, gateway, &mut claims))
        .collect()
}

fn is_ours(world: &World, gateway: &Gateway) -> bool {
    world
        .classes
        .get(&gateway.spec.gateway_class_name)
        .is_some_and(|class| class.spec.controller_name == GATEWAY_CONTROLLER)
}

/// Which Gateway has which port and host. There is one address for all Gateways, so two of
/// them can share a port only with different hosts, and only if it speaks the same protocol for
/// both.
#[derive(Default)]
struct Claims {
    hosts: HashMap<(u16, Hostname), String>,
    /// Whether the port speaks TLS, and for whom it does first.
    secure: HashMap<u16, (bool, String)>,
}

impl Claims {
    /// Takes a listener's place for `gateway`, or says who has it.
    fn take(&mut self, listener: &ListenerPlan, gateway: &str) -> Result<(), Refusal> {
        let (port, host) = (listener.port, &listener.hostname);
        let taken = |text| Err(Refusal::new("PortUnavailable", text));
        let secure = listener.tls.is_some();
        match self.secure.get(&port) {
            Some((other, owner)) if *other != secure => {
                let protocol = if *other { "HTTPS" } else { "HTTP" };
                return taken(format!(
                    "port {port} speaks {protocol} for Gateway {owner}; choose another port"
                ));
            }
            Some(_) => {}
            None => {
                self.secure.insert(port, (secure, gateway.to_owned()));
            }
        }
        let place = (port, host.clone());
        if let Some(owner) = self.hosts.get(&place) {
            return taken(format!(
                "port {port} with host {host} is served for Gateway {owner}; choose another \
                 port or hostname"
            ));
        }
        self.hosts.insert(place, gateway.to_owned());
        Ok(())
    }
}

fn plan_gateway(world: &World, gateway: &Arc<Gateway>, claims: &mut Claims) -> GatewayPlan {
    let key = key(&**gateway);
    let refusal = refuse_gateway(gateway);
    let conflicts = Conflicts::among(&gateway.spec.listeners);
    let namespace = gateway.metadata.namespace.as_deref().unwrap_or_default();
    let mut listeners = Vec::with_capacity(gateway.spec.listeners.len());
    for spec in &gateway.spec.listeners {
        let mut listener = plan_listener(world, namespace, spec, &conflicts);
        if let Some(refusal) = &refusal {
            listener.verdict = Verdict::Refused(refusal.clone());
        }
        if listener.verdict == Verdict::Served {
            let claimed = claims.take(&listener, &key);
            listener.verdict = claimed.map_or_else(Verdict::Refused, |()| Verdict::Served);
        }
        listeners.push(listener);
    }
    GatewayPlan {
        key,
        gateway: Arc::clone(gateway),
        is_virtual: false,
        refusal,
        listeners,
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

fn plan_listener(
    world: &World,
    namespace: &str,
    spec: &Listener,
    conflicts: &Conflicts,
) -> ListenerPlan {
    let (kinds, kinds_refused) = route_kinds(spec);
    let port = u16::try_from(spec.port).unwrap_or_default();
    let verdict = match conflicts.of(spec) {
        Some(conflict) => Verdict::Conflicted(conflict),
        None => refuse_listener(spec, port).map_or(Verdict::Served, Verdict::Refused),
    };
    let tls = (spec.protocol == HTTPS).then(|| certificates(world, namespace, spec.tls.as_ref()));
    ListenerPlan {
        name: spec.name.clone(),
        port,
        hostname: Hostname::parse(spec.hostname.as_deref()),
        verdict,
        tls,
        kinds,
        kinds_refused,
        attached: 0,
    }
}

const HTTP: &str = "HTTP";
const HTTPS: &str = "HTTPS";

/// The kinds of routes that HTTP and HTTPS listeners carry.
const ROUTE_KINDS: [&str; 2] = ["HTTPRoute", "GRPCRoute"];

fn speaks_http(spec: &Listener) -> bool {
    matches!(spec.protocol.as_str(), HTTP | HTTPS)
}

fn refuse_listener(spec: &Listener, port: u16) -> Option<Refusal> {
    if !speaks_http(spec) {
        let text = format!(
            "protocol {} is not supported; use HTTP or HTTPS",
            spec.protocol
        );
        return Some(Refusal::new("UnsupportedProtocol", text));
    }
    let mode = spec.tls.as_ref().and_then(|tls| tls.mode.as_deref());
    if let Some(mode) = mode.filter(|&mode| mode != "Terminate") {
        let text = format!("tls.mode {mode} is not supported; use Terminate");
        return Some(Refusal::new("UnsupportedProtocol", text));
    }
    let options = spec.tls.as_ref().and_then(|tls| tls.options.as_ref());
    if options.is_some_and(|options| options.as_object().is_none_or(|map| !map.is_empty())) {
        let text = "tls.options are not supported; remove them";
        return Some(Refusal::new("Invalid", text));
    }
    (port == 0).then(|| {
        Refusal::new(
            "PortUnavailable",
            format!("port {} is not between 1 and 65535", spec.port),
        )
    })
}

/// The certificates that a listener of a Gateway in `namespace` names.
fn certificates(world: &World, namespace: &str, tls: Option<&ListenerTls>) -> TlsPlan {
    let refs = tls.and_then(|tls| tls.certificate_refs.as_deref());
    let refs = refs.unwrap_or_default();
    let mut plan = TlsPlan::default();
    if refs.is_empty() {
        let text = "an HTTPS listener needs tls.certificateRefs with a Secret of type \
                    kubernetes.io/tls";
        plan.unresolved = Some(Refusal::new("InvalidCertificateRef", text));
    }
    for reference in refs {
        match certificate(world, namespace, reference) {
            Ok(certificate) => plan.certificates.push(certificate),
            Err(refusal) => {
                plan.unresolved.get_or_insert(refusal);
            }
        }
    }
    plan
}

fn certificate(
    world: &World,
    namespace: &str,
    reference: &SecretReference,
) -> Result<Arc<CertifiedKey>, Refusal> {
    let invalid = |text| Err(Refusal::new("InvalidCertificateRef", text));
    let kind = reference.kind.as_deref().unwrap_or("Secret");
    let group = reference.group.as_deref().unwrap_or_default();
    if kind != "Secret" || !group.is_empty() {
        let separator = if group.is_empty() { "" } else { "." };
        return invalid(format!(
            "certificates of kind {kind}{separator}{group} are not supported; use a Secret"
        ));
    }
    let there = reference.namespace.as_deref().unwrap_or(namespace);
    let asked = Reference {
        from_kind: "Gateway",
        from_namespace: namespace,
        to_kind: "Secret",
        to_namespace: there,
        to_name: &reference.name,
    };
    if !asked.is_allowed(world) {
        return Err(Refusal::new("RefNotPermitted", asked.refused()));
    }
    secret(world, there, &reference.name).or_else(invalid)
}

/// The certificate in a Secret, or what is wrong with it.
pub(super) fn secret(
    world: &World,
    namespace: &str,
    name: &str,
) -> Result<Arc<CertifiedKey>, String> {
    let key = format!("{namespace}/{name}");
    let Some(certificate) = world.certificates.get(&key) else {
        return Err(format!(
            "Secret {key} does not exist, or is not of type kubernetes.io/tls"
        ));
    };
    let found = certificate.key.as_ref().map(Arc::clone);
    found.map_err(|why| format!("Secret {key} cannot be used: {why}"))
}

/// The kinds that may attach, and a refusal for those asked for that we do not serve.
fn route_kinds(spec: &Listener) -> (Vec<RouteGroupKind>, Option<Refusal>) {
    let served = if speaks_http(spec) {
        &ROUTE_KINDS[..]
    } else {
        &[]
    };
    let asked = spec
        .allowed_routes
        .as_ref()
        .and_then(|allowed| allowed.kinds.as_deref());
    let asked = asked.filter(|kinds| !kinds.is_empty());
    let is_asked = |kind: &str| {
        asked.is_none_or(|asked| {
            asked
                .iter()
                .any(|found| found.kind == kind && in_group(found))
        })
    };
    let kinds = served.iter().filter(|kind| is_asked(kind));
    let kinds = kinds.map(|kind| RouteGroupKind {
        group: Some(GROUP.to_owned()),
        kind: (*kind).to_owned(),
    });
    let is_served = |kind: &&RouteGroupKind| in_group(kind) && served.contains(&kind.kind.as_str());
    let refused = asked.into_iter().flatten().find(|kind| !is_served(kind));
    let refused = refused.map(|kind| {
        let text = format!(
            "routes of kind {} are not supported; {} are",
            kind.kind,
            ROUTE_KINDS.join(" and ")
        );
        Refusal::new("InvalidRouteKinds", text)
    });
    (kinds.collect(), refused)
}

fn in_group(kind: &RouteGroupKind) -> bool {
    kind.group.as_deref().is_none_or(|group| group == GROUP)
}
