//! What has to change for a Service's slices to list its pods. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use lab_api::names::{ENDPOINT_SLICE_CONTROLLER, ENDPOINT_SLICE_MANAGED_BY, SERVICE_NAME};

use super::select::{Port, ports};
use crate::pods::PodRecord;

/// Endpoints in one slice at most, as in kube-controller-manager: a change of one endpoint
/// sends its whole slice to everyone who watches.
const SLICE_SIZE: usize = 100;

/// Marks slices of headless Services.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// Create a slice.
    Create(Box<EndpointSlice>),
    /// Write a slice's content.
    Update {
        /// Which.
        slice: Arc<EndpointSlice>,
        /// All its endpoints.
        endpoints: Vec<Endpoint>,
        /// Its ports.
        ports: Vec<EndpointPort>,
        /// Its labels.
        labels: BTreeMap<String, String>,
    },
    /// Delete a slice.
    Delete(Arc<EndpointSlice>),
}

/// The changes to `slices` that make them list `pods`. Endpoints stay in their slice, so that
/// one pod's change is one slice's change.
pub(super) fn desired(
    service: &Service,
    pods: &[Arc<PodRecord>],
    slices: &[Arc<EndpointSlice>],
) -> Vec<Change> {
    let mut groups = endpoints_by_ports(service, pods);
    if groups.is_empty() {
        // One empty slice tells "no endpoints" from "not looked at yet".
        groups.insert(Vec::new(), BTreeMap::new());
    }
    let mut unused: HashMap<Vec<Port>, Vec<Arc<EndpointSlice>>> = HashMap::new();
    for slice in slices {
        unused
            .entry(ports_of(slice))
            .or_default()
            .push(Arc::clone(slice));
    }
    let labels = labels(service);
    let mut changes = Vec::new();
    for (ports, endpoints) in groups {
        let present = unused.remove(&ports).unwrap_or_default();
        changes.extend(fit(&ports, endpoints, present, &labels));
    }
    changes.extend(unused.into_values().flatten().map(Change::Delete));
    changes
}

/// Endpoints by pod uid.
type Endpoints = BTreeMap<String, Endpoint>;

fn endpoints_by_ports(
    service: &Service,
    pods: &[Arc<PodRecord>],
) -> BTreeMap<Vec<Port>, Endpoints> {
    let mut groups: BTreeMap<Vec<Port>, Endpoints> = BTreeMap::new();
    for pod in pods {
        groups
            .entry(ports(service, pod))
            .or_default()
            .insert(pod.uid().to_owned(), endpoint(service, pod));
    }
    groups
}

/// Spreads the endpoints of one set of ports over slices.
fn fit(
    ports: &[Port],
    mut endpoints: Endpoints,
    present: Vec<Arc<EndpointSlice>>,
    labels: &BTreeMap<String, String>,
) -> Vec<Change> {
    let placeholder = endpoints.is_empty();
    let mut contents: Vec<(Arc<EndpointSlice>, Vec<Endpoint>)> = present
        .into_iter()
        .map(|slice| {
            let kept = slice
                .endpoints
                .iter()
                .flatten()
                .filter_map(|endpoint| endpoints.remove(uid_of(endpoint)?))
                .collect();
            (slice, kept)
        })
        .collect();
    let mut rest = endpoints.into_values();
    for (_, content) in &mut contents {
        content.extend(rest.by_ref().take(SLICE_SIZE.saturating_sub(content.len())));
    }
    let mut new: Vec<Vec<Endpoint>> = Vec::new();
    loop {
        let content: Vec<_> = rest.by_ref().take(SLICE_SIZE).collect();
        if content.is_empty() {
            break;
        }
        new.push(content);
    }
    let mut changes = Vec::new();
    let mut spare = placeholder;
    for (slice, content) in contents {
        if content.is_empty() && !std::mem::take(&mut spare) {
            changes.push(Change::Delete(slice));
        } else {
            changes.extend(update(slice, content, ports, labels));
        }
    }
    if spare {
        new.push(Vec::new());
    }
    changes.extend(
        new.into_iter()
            .map(|content| create(content, ports, labels)),
    );
    changes
}

fn update(
    slice: Arc<EndpointSlice>,
    endpoints: Vec<Endpoint>,
    ports: &[Port],
    labels: &BTreeMap<String, String>,
) -> Option<Change> {
    let present: HashSet<_> = slice.endpoints.iter().flatten().map(as_key).collect();
    let wanted: HashSet<_> = endpoints.iter().map(as_key).collect();
    let labelled = slice.metadata.labels.as_ref() == Some(labels);
    (present != wanted || !labelled).then(|| Change::Update {
        slice,
        endpoints,
        ports: ports.iter().map(endpoint_port).collect(),
        labels: labels.clone(),
    })
}

/// Everything about an endpoint, in a form that can be compared regardless of order.
fn as_key(endpoint: &Endpoint) -> String {
    format!("{endpoint:?}")
}

fn create(endpoints: Vec<Endpoint>, ports: &[Port], labels: &BTreeMap<String, String>) -> Change {
    Change::Create(Box::new(EndpointSlice {
        address_type: "IPv4".to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.iter().map(endpoint_port).collect()),
        metadata: ObjectMeta {
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        },
    }))
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    let name = service.metadata.name.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), name);
    labels.insert(
        ENDPOINT_SLICE_MANAGED_BY.to_owned(),
        ENDPOINT_SLICE_CONTROLLER.to_owned(),
    );
    let cluster_ip = service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref());
    if cluster_ip == Some("None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

/// A pod as an endpoint. While it terminates it is not ready, whatever its probe says: that is
/// what takes it out of rotation before it stops.
fn endpoint(service: &Service, pod: &PodRecord) -> Endpoint {
    let spec = service.spec.as_ref();
    let published = spec.and_then(|spec| spec.publish_not_ready_addresses) == Some(true);
    let serving = pod.ready.holds;
    let terminating = pod.is_terminating();
    let named = pod.subdomain.is_some() && pod.subdomain == service.metadata.name;
    Endpoint {
        addresses: pod.ip.iter().cloned().collect(),
        conditions: Some(EndpointConditions {
            ready: Some(published || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: pod.hostname.clone().filter(|_| named),
        node_name: Some(pod.node.clone()).filter(|node| !node.is_empty()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace().to_owned()),
            name: Some(pod.name().to_owned()),
            uid: Some(pod.uid().to_owned()),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

fn uid_of(endpoint: &Endpoint) -> Option<&str> {
    endpoint.target_ref.as_ref()?.uid.as_deref()
}

fn endpoint_port(port: &Port) -> EndpointPort {
    EndpointPort {
        app_protocol: port.app_protocol.clone(),
        name: Some(port.name.clone()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone()),
    }
}

fn ports_of(slice: &EndpointSlice) -> Vec<Port> {
    let mut ports: Vec<_> = slice
        .ports
        .iter()
        .flatten()
        .map(|port| Port {
            name: port.name.clone().unwrap_or_default(),
            port: port.port.unwrap_or(0),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    ports.sort();
    ports
}

#[cfg(test)]
mod tests;
