//! From a reference to a Service's port, and from there to the endpoints behind it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::api::networking::v1::IngressServiceBackend;
use lab_api::gateway::HttpBackendRef;
use lab_api::names::SERVICE_NAME;
use lab_api::services::stand_in_port;

use super::grants::Reference;
use super::{Refusal, RouteObject};
use crate::world::{World, key};

/// One port of one Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServiceKey {
    /// `namespace/name`.
    pub(crate) service: String,
    pub(crate) port: u16,
    /// Name of the port, which its EndpointSlices use; empty when it has none.
    pub(crate) port_name: String,
    /// True where the Service says that it speaks HTTP/2 without TLS.
    pub(crate) http2: bool,
    /// True where connections of one client go to one endpoint (`sessionAffinity: ClientIP`).
    pub(crate) sticky: bool,
}

/// One endpoint: the same pod at the same address. Another pod that gets the address later is
/// another endpoint, so it inherits neither connections nor a bad name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EndpointKey {
    pub(crate) address: SocketAddr,
    /// Uid of the pod, where the slice tells it.
    pub(crate) target: Option<String>,
    /// Name of the pod, where the slice tells it; empty elsewhere.
    pub(crate) pod: String,
}

/// `namespace/name:port`, for messages and metrics.
pub(super) fn name(namespace: &str, spec: &HttpBackendRef) -> String {
    let namespace = spec.namespace.as_deref().unwrap_or(namespace);
    match spec.port {
        Some(port) => format!("{namespace}/{}:{port}", spec.name),
        None => format!("{namespace}/{}", spec.name),
    }
}

/// The Service port that a backend reference of a route means. A GRPCRoute speaks HTTP/2 to
/// its backends, whatever their port says.
pub(super) fn resolve(
    world: &World,
    route: &RouteObject,
    spec: &HttpBackendRef,
) -> Result<ServiceKey, Refusal> {
    let namespace = route.namespace();
    let kind = spec.kind.as_deref().unwrap_or("Service");
    if kind != "Service" || !spec.group.as_deref().unwrap_or_default().is_empty() {
        let text = format!("backends of kind {kind} are not supported; use a Service");
        return Err(Refusal::new("InvalidKind", text));
    }
    let there = spec.namespace.as_deref().unwrap_or(namespace);
    let asked = Reference {
        from_kind: route.kind(),
        from_namespace: namespace,
        to_kind: "Service",
        to_namespace: there,
        to_name: &spec.name,
    };
    if !asked.is_allowed(world) {
        return Err(Refusal::new("RefNotPermitted", asked.refused()));
    }
    let (key, service) = find(world, there, &spec.name)?;
    let Some(wanted) = spec.port else {
        let text = format!("the reference to Service {key} names no port");
        return Err(Refusal::new("BackendNotFound", text));
    };
    let found = resolve_port(key, service, &wanted, |port| port.port == wanted)?;
    Ok(ServiceKey {
        http2: found.http2 || matches!(route, RouteObject::Grpc(_)),
        ..found
    })
}

/// The Service port that a backend of an Ingress in `namespace` means.
pub(super) fn resolve_ingress(
    world: &World,
    namespace: &str,
    spec: &IngressServiceBackend,
) -> Result<ServiceKey, Refusal> {
    let (key, service) = find(world, namespace, &spec.name)?;
    let port = spec.port.clone().unwrap_or_default();
    match (port.number, port.name) {
        (Some(number), _) if number != 0 => {
            resolve_port(key, service, &number, |port| port.port == number)
        }
        (_, Some(name)) => resolve_port(key, service, &name, |port| {
            port.name.as_deref() == Some(name.as_str())
        }),
        (_, None) => {
            let text = format!("the reference to Service {key} names no port");
            Err(Refusal::new("BackendNotFound", text))
        }
    }
}

fn find<'a>(
    world: &'a World,
    namespace: &str,
    name: &str,
) -> Result<(String, &'a Service), Refusal> {
    let key = format!("{namespace}/{name}");
    let Some(service) = world.services.get(&key) else {
        return Err(Refusal::new(
            "BackendNotFound",
            format!("Service {key} does not exist"),
        ));
    };
    if is_external(service) {
        let text = format!("Service {key} is an ExternalName, which has no endpoints");
        return Err(Refusal::new("InvalidKind", text));
    }
    Ok((key, service))
}

fn resolve_port(
    key: String,
    service: &Service,
    wanted: &dyn Display,
    is_wanted: impl Fn(&ServicePort) -> bool,
) -> Result<ServiceKey, Refusal> {
    let ports = ports(service);
    let Some(port) = ports.iter().find(|port| is_wanted(port)) else {
        let known: Vec<_> = ports.iter().map(|port| port.port.to_string()).collect();
        let text = format!(
            "Service {key} has no port {wanted}; it has: {}",
            known.join(", ")
        );
        return Err(Refusal::new("BackendNotFound", text));
    };
    if !is_tcp(port) {
        let text = format!("port {wanted} of Service {key} is not TCP");
        return Err(Refusal::new("UnsupportedProtocol", text));
    }
    match port.app_protocol.as_deref() {
        None | Some("http" | "kubernetes.io/h2c" | "kubernetes.io/ws") => {
            Ok(service_key(key, service, port))
        }
        Some(other) => {
            let text =
                format!("port {wanted} of Service {key} speaks {other}, which is not supported");
            Err(Refusal::new("UnsupportedProtocol", text))
        }
    }
}

fn service_key(key: String, service: &Service, port: &ServicePort) -> ServiceKey {
    let affinity = service
        .spec
        .as_ref()
        .and_then(|spec| spec.session_affinity.as_deref());
    ServiceKey {
        service: key,
        sticky: affinity == Some("ClientIP"),
        port: u16::try_from(port.port).unwrap_or_default(),
        port_name: port.name.clone().unwrap_or_default(),
        http2: port.app_protocol.as_deref() == Some("kubernetes.io/h2c"),
    }
}

fn ports(service: &Service) -> &[ServicePort] {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default()
}

fn is_tcp(port: &ServicePort) -> bool {
    port.protocol.as_deref().unwrap_or("TCP") == "TCP"
}

fn is_external(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName")
}

/// An address of a Service: its clusterIP and one of its TCP ports.
#[derive(Debug)]
pub(crate) struct ServiceAddress {
    pub(crate) address: SocketAddr,
    pub(crate) key: ServiceKey,
    /// Port that nodes have for it.
    pub(crate) node_port: Option<u16>,
}

impl ServiceAddress {
    /// Ports of the same address that stand in for its own where that may not be opened: always
    /// the same one, and the node port where there is one.
    pub(crate) fn detours(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        let ip = self.address.ip();
        let stand_in = stand_in_port(self.address.port());
        let node_port = self.node_port.filter(|_| stand_in.is_some());
        let ports = node_port.into_iter().chain(stand_in);
        ports.map(move |port| SocketAddr::new(ip, port))
    }
}

/// Ports of Services that are not served because they are not TCP, with their protocol. The
/// cluster's own DNS is served elsewhere.
pub(crate) fn unserved(world: &World) -> impl Iterator<Item = (SocketAddr, &Arc<Service>, &str)> {
    let served_elsewhere = |service: &Service| key(service) == "kube-system/kube-dns";
    let services = world.services.iter().filter(move |s| !served_elsewhere(s));
    services.flat_map(|service| {
        let spec = service.spec.as_ref();
        let ip = spec.and_then(|spec| spec.cluster_ip.as_deref()?.parse::<IpAddr>().ok());
        let others = ports(service).iter().filter(|port| !is_tcp(port));
        others.filter_map(move |port| {
            let address = SocketAddr::new(ip?, u16::try_from(port.port).ok()?);
            Some((address, service, port.protocol.as_deref()?))
        })
    })
}

/// The addresses of every Service that has one of its own, and the Service of each.
pub(crate) fn addresses(world: &World) -> impl Iterator<Item = (ServiceAddress, &Arc<Service>)> {
    world.services.iter().flat_map(|service| {
        let ip = service
            .spec
            .as_ref()
            .and_then(|spec| spec.cluster_ip.as_deref()?.parse().ok());
        let tcp = ports(service).iter().filter(|port| is_tcp(port));
        tcp.filter_map(move |port| Some((service_address(ip?, service, port), service)))
    })
}

fn service_address(ip: IpAddr, service: &Service, port: &ServicePort) -> ServiceAddress {
    let key = service_key(key(service), service, port);
    let node_port = port.node_port.and_then(|port| u16::try_from(port).ok());
    ServiceAddress {
        address: SocketAddr::new(ip, key.port),
        key,
        node_port: node_port.filter(|&port| port != 0),
    }
}

/// EndpointSlices by their Service.
pub(crate) struct Slices<'a>(HashMap<String, Vec<&'a EndpointSlice>>);

impl<'a> Slices<'a> {
    pub(crate) fn of(world: &'a World) -> Self {
        let mut slices: HashMap<String, Vec<&EndpointSlice>> = HashMap::new();
        for slice in world.slices.iter() {
            let service = slice
                .metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(SERVICE_NAME));
            if let Some(service) = service {
                let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
                slices
                    .entry(format!("{namespace}/{service}"))
                    .or_default()
                    .push(slice);
            }
        }
        Self(slices)
    }

    /// The endpoints that get new requests: the ready ones, or, where none is, those that are
    /// on their way out and still serve, as kube-proxy does.
    ///
    /// <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions>
    pub(crate) fn endpoints(&self, port: &ServiceKey) -> Vec<EndpointKey> {
        let slices = self
            .0
            .get(&port.service)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let ready = collect(slices, &port.port_name, is_ready);
        if !ready.is_empty() {
            return ready;
        }
        collect(slices, &port.port_name, is_leaving_but_serves)
    }
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.ready)
        != Some(false)
}

fn is_leaving_but_serves(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_some_and(|conditions| {
        conditions.serving == Some(true) && conditions.terminating == Some(true)
    })
}

/// In the order of addresses, and each address once, though two slices may have it for a
/// moment while an endpoint moves between them.
fn collect(
    slices: &[&EndpointSlice],
    port_name: &str,
    wanted: fn(&Endpoint) -> bool,
) -> Vec<EndpointKey> {
    let mut found = BTreeMap::new();
    for slice in slices {
        let Some(port) = slice_port(slice, port_name) else {
            continue;
        };
        for endpoint in slice
            .endpoints
            .iter()
            .flatten()
            .filter(|endpoint| wanted(endpoint))
        {
            let address = endpoint
                .addresses
                .first()
                .and_then(|text| text.parse::<IpAddr>().ok());
            if let Some(ip) = address {
                let target = endpoint.target_ref.as_ref();
                let uid = target.and_then(|target| target.uid.clone());
                let pod = target.and_then(|target| target.name.clone());
                found.insert(SocketAddr::new(ip, port), (uid, pod.unwrap_or_default()));
            }
        }
    }
    found
        .into_iter()
        .map(|(address, (target, pod))| EndpointKey {
            address,
            target,
            pod,
        })
        .collect()
}

fn slice_port(slice: &EndpointSlice, name: &str) -> Option<u16> {
    let ports = slice.ports.as_deref().unwrap_or_default();
    let port = ports
        .iter()
        .find(|port| port.name.as_deref().unwrap_or_default() == name)?;
    u16::try_from(port.port?).ok()
}
