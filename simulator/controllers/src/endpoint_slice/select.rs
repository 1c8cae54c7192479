//! Which pods stand behind a Service, and on which ports.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lab_api::selector::Selector;

use crate::claim::selects;
use crate::pods::PodRecord;
use crate::runner::{Cache, Index};

/// A port of an endpoint, with its number resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Port {
    /// The Service port's name; empty where it has none.
    pub name: String,
    /// Number.
    pub port: i32,
    /// TCP, UDP or SCTP.
    pub protocol: String,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
}

/// What the Service selects; `None` where its endpoints are not ours to manage.
pub(crate) fn selector(service: &Service) -> Option<Selector> {
    let spec = service.spec.as_ref()?;
    let labels = spec.selector.as_ref().filter(|labels| !labels.is_empty())?;
    let external = spec.type_.as_deref() == Some("ExternalName");
    (!external).then(|| Selector::from_map(labels))
}

/// The pods that the Service selects and that have an address, by name.
pub(crate) fn selected_pods(service: &Service, pods: &Cache<PodRecord>) -> Vec<Arc<PodRecord>> {
    let spec = service.spec.as_ref();
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let labels = spec.and_then(|spec| spec.selector.as_ref());
    // Every pod sought has the first label, so there is no need to look at the whole namespace.
    let Some((key, value)) = labels.and_then(|labels| labels.first_key_value()) else {
        return Vec::new();
    };
    let mut found = pods.by_index(&Index::Label {
        namespace: namespace.to_owned(),
        key: key.clone(),
        value: value.clone(),
    });
    let selector = selector(service);
    found.retain(|pod| {
        pod.ip.is_some() && !pod.is_finished() && selects(selector.as_ref(), &pod.metadata)
    });
    found.sort_by(|a, b| a.name().cmp(b.name()));
    found
}

/// The Service's ports as they are on one pod. A target port by name may be another number on
/// each pod, and is left out where the pod has no such port.
pub(crate) fn ports(service: &Service, pod: &PodRecord) -> Vec<Port> {
    let of_service = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten());
    let mut ports: Vec<_> = of_service
        .filter_map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            Some(Port {
                name: port.name.clone().unwrap_or_default(),
                port: target(port, &protocol, pod)?,
                protocol,
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect();
    ports.sort();
    ports
}

fn target(port: &ServicePort, protocol: &str, pod: &PodRecord) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => pod
            .named_ports
            .iter()
            .find(|named| named.name == *name && named.protocol == protocol)
            .map(|named| named.port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::record;
    use serde_json::{Value, json};

    #[track_caller]
    fn case(service_port: &Value, expected: &[i32]) {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "web"}, "spec": {"ports": [service_port]}}))
        .unwrap();
        let pod = record(json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "c", "ports": [{"name": "http", "containerPort": 8000}, {"containerPort": 9}]},
            {"name": "d", "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]}}));
        let found: Vec<_> = ports(&service, &pod).iter().map(|port| port.port).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn target_ports_are_numbers_or_names_of_the_pods_ports() {
        case(&json!({"port": 80}), &[80]);
        case(&json!({"port": 80, "targetPort": 8080}), &[8080]);
        case(&json!({"port": 80, "targetPort": "http"}), &[8000]);
        case(&json!({"port": 80, "targetPort": "nope"}), &[]);
        case(&json!({"port": 53, "targetPort": "dns"}), &[]);
        case(
            &json!({"port": 53, "targetPort": "dns", "protocol": "UDP"}),
            &[53],
        );
    }

    #[test]
    fn only_services_with_a_selector_are_managed() {
        let managed = |spec: Value| {
            let service: Service =
                serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            selector(&service).is_some()
        };
        assert!(managed(json!({"selector": {"app": "web"}})));
        assert!(!managed(json!({"selector": {}})));
        assert!(!managed(json!({})));
        assert!(!managed(
            json!({"selector": {"app": "web"}, "type": "ExternalName"})
        ));
    }

    #[test]
    fn pods_without_an_address_and_finished_pods_are_left_out() {
        let cache = Cache::<PodRecord>::new();
        let add = |name: &str, app: &str, ip: Option<&str>, phase: &str| {
            let pod = json!({"metadata": {"namespace": "default", "name": name, "labels": {"app": app, "tier": "x"}},
                "status": {"podIP": ip, "phase": phase}});
            cache.apply(serde_json::from_value(pod).unwrap());
        };
        add("b", "web", Some("10.0.0.2"), "Running");
        add("a", "web", Some("10.0.0.1"), "Running");
        add("starting", "web", None, "Pending");
        add("done", "web", Some("10.0.0.3"), "Succeeded");
        add("other", "db", Some("10.0.0.4"), "Running");
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"app": "web", "tier": "x"}}}))
        .unwrap();
        let names: Vec<_> = selected_pods(&service, &cache)
            .iter()
            .map(|pod| pod.name().to_owned())
            .collect();
        assert_eq!(names, ["a", "b"]);
    }
}
