//! Service: one address for many pods.

use k8s_openapi::api::core::v1::{LoadBalancerStatus, Service, ServiceSpec, ServiceStatus};
use serde_json::Value;

use super::columns::{self, NONE, int_at, list_at, or_none, str_at, str_or, text, wide};
use super::syntax::NameRule;
use super::typed::{Kind, define, words};
use super::{
    PrepareContext, ResourceDef, Scope, Subresource, service_addresses, service_defaults,
    service_validation,
};
use crate::validation::FieldError;

/// The definition of Service.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        short_names: words(&["svc"]),
        categories: words(&["all"]),
        subresources: vec![Subresource::Status],
        columns: vec![
            columns::name(),
            text("Type", "How the Service is reached.", |o| {
                str_at(o, "/spec/type").to_owned()
            }),
            text("Cluster-IP", "Address inside the cluster.", |o| {
                let first = str_or(o, "/spec/clusterIP", NONE);
                str_or(o, "/spec/clusterIPs/0", first).to_owned()
            }),
            text("External-IP", "Addresses outside the cluster.", external_ip),
            text("Port(s)", "Ports, with the port on every node.", ports),
            columns::age(),
            wide(text("Selector", "Labels of its pods.", |o| {
                columns::labels(&o["spec"]["selector"])
            })),
        ],
        ..define::<Service>("", "Service", "services")
    }
}

/// What kind of Service a spec describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposure {
    /// An address inside the cluster.
    ClusterIp,
    /// The same, and a port on every node.
    NodePort,
    /// The same, and an address outside.
    LoadBalancer,
    /// Another name in DNS; no address at all.
    ExternalName,
}

impl Exposure {
    /// The type of a Service; an unknown one, which validation refuses, counts as `ClusterIP`.
    pub(super) fn of(spec: &ServiceSpec) -> Self {
        match spec.type_.as_deref() {
            Some("NodePort") => Self::NodePort,
            Some("LoadBalancer") => Self::LoadBalancer,
            Some("ExternalName") => Self::ExternalName,
            _ => Self::ClusterIp,
        }
    }

    /// Whether its ports get a port on every node.
    pub(super) fn wants_node_ports(self, spec: &ServiceSpec) -> bool {
        match self {
            Self::NodePort => true,
            Self::LoadBalancer => spec.allocate_load_balancer_node_ports != Some(false),
            Self::ClusterIp | Self::ExternalName => false,
        }
    }
}

/// Whether the Service wants no address: its pods' addresses are in DNS.
pub(super) fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some("None")
}

impl Kind for Service {
    const SCOPE: Scope = Scope::Namespaced;
    const NAMES: NameRule = NameRule::Dns1035Label;
    const COUNTS_GENERATIONS: bool = false;

    fn set_defaults(&mut self) {
        service_defaults::apply(self.spec.get_or_insert_default());
    }

    fn prepare_for_create(&mut self, context: &PrepareContext<'_>) -> Result<(), FieldError> {
        self.status = Some(ServiceStatus {
            load_balancer: Some(LoadBalancerStatus::default()),
            ..ServiceStatus::default()
        });
        service_addresses::allocate(self.spec.get_or_insert_default(), None, context.allocator)
    }

    fn prepare_for_update(
        &mut self,
        old: &Self,
        context: &PrepareContext<'_>,
    ) -> Result<(), FieldError> {
        let spec = self.spec.get_or_insert_default();
        let Some(old) = &old.spec else {
            return Ok(());
        };
        if Exposure::of(spec) != Exposure::LoadBalancer
            && let Some(status) = &mut self.status
        {
            status.load_balancer = Some(LoadBalancerStatus::default());
        }
        service_addresses::drop_what_the_type_forbids(spec, old);
        service_addresses::keep(spec, old);
        service_addresses::allocate(spec, Some(old), context.allocator)
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        if let Some(spec) = &self.spec {
            service_validation::validate(spec, errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        if let (Some(spec), Some(old)) = (&self.spec, &old.spec) {
            service_validation::validate_update(spec, old, errors);
        }
    }
}

fn external_ip(service: &Value) -> String {
    let texts = |pointer: &str| -> Vec<String> {
        let items = list_at(service, pointer).iter();
        items
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    let external = texts("/spec/externalIPs");
    match str_at(service, "/spec/type") {
        "ExternalName" => str_or(service, "/spec/externalName", NONE).to_owned(),
        "LoadBalancer" => {
            let ingress = list_at(service, "/status/loadBalancer/ingress").iter();
            let addresses = ingress.map(|i| str_or(i, "/ip", str_at(i, "/hostname")).to_owned());
            let all: Vec<String> = addresses.chain(external).collect();
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        _ => or_none(external.join(",")),
    }
}

fn ports(service: &Value) -> String {
    let port = |port: &Value| {
        let number = int_at(port, "/port");
        let protocol = str_or(port, "/protocol", "TCP");
        match int_at(port, "/nodePort") {
            0 => format!("{number}/{protocol}"),
            node_port => format!("{number}:{node_port}/{protocol}"),
        }
    };
    let ports: Vec<String> = list_at(service, "/spec/ports").iter().map(port).collect();
    or_none(ports.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::row;
    use super::*;

    #[track_caller]
    fn case(spec: &Value, status: &Value, expected: &[&str]) {
        let service = json!({"metadata": {"name": "web"}, "spec": spec, "status": status});
        assert_eq!(row(&definition(), &service), expected);
    }

    #[test]
    fn a_service_says_where_it_is_reached() {
        case(
            &json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
                "selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP"}]}),
            &json!({}),
            &[
                "web",
                "ClusterIP",
                "10.0.0.1",
                NONE,
                "80/TCP",
                "<unknown>",
                "app=web",
            ],
        );
        case(
            &json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1",
                "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}),
            &json!({}),
            &[
                "web",
                "LoadBalancer",
                "10.0.0.1",
                "<pending>",
                "80:30080/TCP,53/UDP",
                "<unknown>",
                NONE,
            ],
        );
        case(
            &json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1", "externalIPs": ["9.9.9.9"]}),
            &json!({"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}, {"hostname": "lb"}]}}),
            &[
                "web",
                "LoadBalancer",
                "10.0.0.1",
                "127.0.0.1,lb,9.9.9.9",
                NONE,
                "<unknown>",
                NONE,
            ],
        );
        case(
            &json!({"type": "ExternalName", "externalName": "example.com"}),
            &json!({}),
            &[
                "web",
                "ExternalName",
                NONE,
                "example.com",
                NONE,
                "<unknown>",
                NONE,
            ],
        );
    }
}
