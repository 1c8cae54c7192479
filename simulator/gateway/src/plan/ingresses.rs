//! Ingresses of our class: their rules are served by the listeners of Gateways on the ports of
//! the cluster's production listener and of HTTPS, or by listeners of their own there.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/ingress/>

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressClass, IngressTLS,
};
use lab_api::names::{DEFAULT_INGRESS_CLASS, INGRESS_CLASS, INGRESS_CONTROLLER};

use super::gateways::secret;
use super::{
    Attachment, BackendPlan, GatewayPlan, IngressPlan, IngressRoute, ListenerPlan, Refusal,
    RulePlan, Timeouts, TlsPlan, Verdict, backends,
};
use crate::config::IngressPorts;
use crate::table::{Filters, Hostname, Matcher};
use crate::world::{World, key};

/// The Ingresses of our class, oldest first; `gateways` gets the listeners that they need.
pub(super) fn plan(
    world: &World,
    ports: IngressPorts,
    gateways: &mut Vec<GatewayPlan>,
) -> Vec<IngressPlan> {
    let ours = world.ingresses.iter().filter(|one| is_ours(world, one));
    let mut ours: Vec<_> = ours.collect();
    ours.sort_by_cached_key(|one| (one.metadata.creation_timestamp.clone(), key(&***one)));
    ours.into_iter()
        .map(|ingress| plan_ingress(world, ports, gateways, ingress))
        .collect()
}

/// An Ingress names its class, in one of two places; without one, the default class is meant.
fn is_ours(world: &World, ingress: &Ingress) -> bool {
    let spec = ingress.spec.as_ref();
    let named = spec.and_then(|spec| spec.ingress_class_name.as_deref());
    let annotations = ingress.metadata.annotations.as_ref();
    let annotated = annotations
        .and_then(|all| all.get(INGRESS_CLASS))
        .map(String::as_str);
    match named.or(annotated) {
        Some(name) => world
            .ingress_classes
            .get(name)
            .is_some_and(|class| serves(class)),
        None => world
            .ingress_classes
            .iter()
            .any(|class| serves(class) && is_default(class)),
    }
}

fn serves(class: &IngressClass) -> bool {
    let controller = class
        .spec
        .as_ref()
        .and_then(|spec| spec.controller.as_deref());
    controller == Some(INGRESS_CONTROLLER)
}

fn is_default(class: &IngressClass) -> bool {
    let annotations = class.metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get(DEFAULT_INGRESS_CLASS))
        .map(String::as_str)
        == Some("true")
}

fn plan_ingress(
    world: &World,
    ports: IngressPorts,
    gateways: &mut Vec<GatewayPlan>,
    ingress: &Arc<Ingress>,
) -> IngressPlan {
    let mut reading = Reading {
        world,
        namespace: ingress.metadata.namespace.as_deref().unwrap_or_default(),
        next: 0,
        troubles: strange_annotations(ingress),
    };
    let spec = ingress.spec.clone().unwrap_or_default();
    let mut hosts: BTreeMap<Option<String>, Vec<RulePlan>> = BTreeMap::new();
    for rule in spec.rules.iter().flatten() {
        let host = rule.host.clone().filter(|host| !host.is_empty());
        let here = hosts.entry(host).or_default();
        let paths = rule.http.as_ref().map(|http| http.paths.as_slice());
        here.extend(
            paths
                .unwrap_or_default()
                .iter()
                .filter_map(|path| reading.path(path)),
        );
        // A rule without paths sends its host to the default backend, as nothing else does.
    }
    if let Some(backend) = &spec.default_backend {
        let rest = reading.rule(Matcher::rest(), backend);
        hosts.entry(None).or_default().push(rest);
    }
    let tls = spec.tls.as_deref().unwrap_or_default();
    let certificates = reading.certificates(tls);
    let mut places = Vec::new();
    for (port, secure) in [(ports.http, false), (ports.https, true)] {
        if secure && certificates.is_empty() {
            continue;
        }
        match place(gateways, port, secure) {
            Ok(at) => places.push((port, at)),
            Err(trouble) => reading.troubles.push(trouble),
        }
    }
    for (_, (gateway, listener)) in &places {
        let listener = &mut gateways[*gateway].listeners[*listener];
        if let Some(tls) = &mut listener.tls {
            tls.hosts.extend(certificates.iter().cloned());
        }
    }
    let name = format!("Ingress/{}", key(&**ingress));
    let routes = hosts.into_iter().map(|(host, rules)| IngressRoute {
        name: name.clone(),
        rules,
        attachments: places
            .iter()
            .map(|(_, (gateway, listener))| Attachment {
                gateway: *gateway,
                listener: *listener,
                hostnames: vec![Hostname::parse_ingress(host.as_deref())],
            })
            .collect(),
    });
    IngressPlan {
        ingress: Arc::clone(ingress),
        ports: places.iter().map(|(port, _)| *port).collect(),
        routes: routes.collect(),
        troubles: reading.troubles,
    }
}

/// Annotations with which other controllers are configured. Here they would do nothing, and
/// nobody should wonder why.
fn strange_annotations(ingress: &Ingress) -> Vec<Refusal> {
    let annotations = ingress.metadata.annotations.iter().flatten();
    let strange: BTreeSet<_> = annotations
        .map(|(name, _)| name.as_str())
        .filter(|name| {
            let prefix = name.split_once('/').map_or("", |(prefix, _)| prefix);
            prefix.contains("ingress.") && *name != INGRESS_CLASS
        })
        .collect();
    let refuse = |name| {
        let text = format!(
            "annotation {name} has no effect: this cluster's load balancer reads the spec only; \
             an HTTPRoute can rewrite, redirect, split and mirror requests"
        );
        Refusal::new("UnsupportedAnnotation", text)
    };
    strange.into_iter().map(refuse).collect()
}

/// An Ingress while it is read.
struct Reading<'a> {
    world: &'a World,
    namespace: &'a str,
    /// Number of the next rule.
    next: usize,
    troubles: Vec<Refusal>,
}

impl Reading<'_> {
    fn path(&mut self, path: &HTTPIngressPath) -> Option<RulePlan> {
        match Matcher::parse_ingress(&path.path_type, path.path.as_deref()) {
            Ok(matcher) => Some(self.rule(matcher, &path.backend)),
            Err(text) => {
                self.troubles.push(Refusal::new("UnsupportedValue", text));
                None
            }
        }
    }

    fn rule(&mut self, matcher: Matcher, backend: &IngressBackend) -> RulePlan {
        let index = self.next;
        self.next += 1;
        RulePlan {
            index,
            matchers: vec![Arc::new(matcher)],
            filters: Filters::default(),
            backends: vec![self.backend(backend)],
            mirrors: Vec::new(),
            timeouts: Timeouts::default(),
        }
    }

    fn backend(&mut self, backend: &IngressBackend) -> BackendPlan {
        let (name, service) = match (&backend.service, &backend.resource) {
            (Some(service), _) => {
                let port = service.port.clone().unwrap_or_default();
                let port = port
                    .name
                    .unwrap_or_else(|| port.number.unwrap_or_default().to_string());
                let name = format!("{}/{}:{port}", self.namespace, service.name);
                (
                    name,
                    backends::resolve_ingress(self.world, self.namespace, service),
                )
            }
            (None, Some(resource)) => {
                let text = format!(
                    "backends of kind {} are not supported; use a Service",
                    resource.kind
                );
                let name = format!("{}/{}", self.namespace, resource.name);
                (name, Err(Refusal::new("InvalidKind", text)))
            }
            (None, None) => {
                let text = "a backend names no Service";
                (String::new(), Err(Refusal::new("BackendNotFound", text)))
            }
        };
        self.troubles.extend(service.as_ref().err().cloned());
        BackendPlan {
            weight: 1,
            filters: Filters::default(),
            name,
            service,
        }
    }

    /// The certificates, each with a host that it is for.
    fn certificates(&mut self, tls: &[IngressTLS]) -> Vec<HostKeys> {
        let mut found = Vec::new();
        for one in tls {
            let name = one.secret_name.as_deref().unwrap_or_default();
            if name.is_empty() {
                let text = "an entry of spec.tls names no Secret; there is no default certificate";
                self.troubles
                    .push(Refusal::new("InvalidCertificateRef", text));
                continue;
            }
            match secret(self.world, self.namespace, name) {
                Ok(key) => {
                    let hosts = one.hosts.as_deref().unwrap_or_default();
                    let hosts = hosts.iter().map(|host| Hostname::parse_ingress(Some(host)));
                    let any = hosts.len() == 0;
                    let any = any.then_some(Hostname::Any);
                    found.extend(hosts.chain(any).map(|host| (host, vec![Arc::clone(&key)])));
                }
                Err(text) => {
                    self.troubles
                        .push(Refusal::new("InvalidCertificateRef", text));
                }
            }
        }
        found
    }
}

type HostKeys = (Hostname, Vec<Arc<rustls::sign::CertifiedKey>>);

/// The listener for Ingresses on a port: one of a Gateway that serves every host there, or one
/// of their own.
fn place(
    gateways: &mut Vec<GatewayPlan>,
    port: u16,
    secure: bool,
) -> Result<(usize, usize), Refusal> {
    let mut other = None;
    for (at, gateway) in gateways.iter().enumerate() {
        for (position, listener) in gateway.listeners.iter().enumerate() {
            if listener.port != port || listener.verdict != Verdict::Served {
                continue;
            }
            if listener.tls.is_some() != secure {
                other = Some(gateway.key.clone());
            } else if listener.hostname == Hostname::Any {
                return Ok((at, position));
            }
        }
    }
    if let Some(owner) = other {
        let protocol = if secure { "HTTPS" } else { "HTTP" };
        let text = format!(
            "port {port} is meant for {protocol} of Ingresses, and Gateway {owner} speaks \
             another protocol there"
        );
        return Err(Refusal::new("PortUnavailable", text));
    }
    let own = gateways.iter().position(|gateway| gateway.is_virtual);
    let at = own.unwrap_or_else(|| {
        gateways.push(GatewayPlan {
            key: "Ingress".to_owned(),
            gateway: Arc::default(),
            is_virtual: true,
            refusal: None,
            listeners: Vec::new(),
        });
        gateways.len() - 1
    });
    let listeners = &mut gateways[at].listeners;
    listeners.push(ListenerPlan {
        name: if secure { "https" } else { "http" }.to_owned(),
        port,
        hostname: Hostname::Any,
        verdict: Verdict::Served,
        tls: secure.then(TlsPlan::default),
        kinds: Vec::new(),
        kinds_refused: None,
        attached: 0,
    });
    Ok((at, listeners.len() - 1))
}
