//! What every cluster starts with: namespaces, the way in for traffic, and the Services that lead
//! to the API and to DNS.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort as LegacyPort, EndpointSubset, Endpoints, Namespace, Service,
    ServicePort, ServiceSpec,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::api::networking::v1::{IngressClass, IngressClassSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::PostParams;
use kube::{Api, Client, Resource};
use lab_api::gateway::{
    AllowedRoutes, Gateway, GatewayClass, GatewayClassSpec, GatewaySpec, Listener, RouteNamespaces,
};
use lab_api::monitoring;
use lab_api::names::{
    DEFAULT_GATEWAY, DEFAULT_GATEWAY_NAMESPACE, DEFAULT_INGRESS_CLASS, GATEWAY_CONTROLLER,
    INGRESS_CONTROLLER, NODE_LEASE_NAMESPACE, PRODUCTION_LISTENER, SERVICE_NAME, TEST_LISTENER,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::runner::{During, Error};

const NAMESPACES: [&str; 4] = [
    "default",
    "kube-system",
    "kube-public",
    NODE_LEASE_NAMESPACE,
];

/// Name of the Service, Endpoints and EndpointSlice that lead to the API itself.
const KUBERNETES: &str = "kubernetes";
const HTTPS: &str = "https";
/// Name of the Service and EndpointSlice that lead to DNS, and its namespace.
const KUBE_DNS: &str = "kube-dns";
const KUBE_SYSTEM: &str = "kube-system";
/// Port of DNS everywhere.
const DOMAIN: u16 = 53;

/// What a cluster starts with.
#[derive(Clone, Copy, Debug)]
pub struct BootstrapConfig {
    /// Port of the default Gateway's production listener.
    pub production_port: u16,
    /// Port of its test listener.
    pub test_port: u16,
    /// Where pods reach the API; without it there is no Service `kubernetes`.
    pub api: Option<ApiAddress>,
    /// Where the metrics are; without it there is no Service `prometheus`.
    pub metrics: Option<SocketAddr>,
    /// Where pods reach DNS; without it there is no Service `kube-dns`.
    pub dns: Option<DnsAddress>,
}

/// Where pods reach DNS.
#[derive(Clone, Copy, Debug)]
pub struct DnsAddress {
    /// Address of the Service `kube-dns`: the tenth one of the service range.
    pub cluster_ip: Ipv4Addr,
    /// Address that DNS listens on.
    pub address: Ipv4Addr,
    /// Port that DNS listens on, UDP and TCP.
    pub port: u16,
}

/// Where pods reach the API.
#[derive(Clone, Copy, Debug)]
pub struct ApiAddress {
    /// Address of the Service `kubernetes`: the first one of the service range.
    pub cluster_ip: Ipv4Addr,
    /// Address that the API listens on.
    pub address: Ipv4Addr,
    /// Port that the API listens on.
    pub port: u16,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self {
            production_port: 8080,
            test_port: 8081,
            api: None,
            metrics: None,
            dns: None,
        }
    }
}

/// Why a cluster did not get what it starts with.
#[derive(Debug, thiserror::Error)]
#[error("cluster not set up: the API did not accept {what}")]
pub struct BootstrapError {
    what: String,
    #[source]
    source: Error,
}

/// Creates what is missing; what is there, perhaps changed by somebody, stays as it is.
///
/// # Errors
///
/// Where the API refuses an object, or does not answer.
pub async fn bootstrap(client: &Client, config: &BootstrapConfig) -> Result<(), BootstrapError> {
    let client = || client.clone();
    for name in NAMESPACES {
        ensure(&Api::all(client()), &namespace(name)).await?;
    }
    ensure(&Api::all(client()), &gateway_class()).await?;
    ensure(&Api::all(client()), &ingress_class()).await?;
    let gateway = default_gateway(config.production_port, config.test_port);
    ensure(
        &Api::namespaced(client(), DEFAULT_GATEWAY_NAMESPACE),
        &gateway,
    )
    .await?;
    if let Some(address) = &config.api {
        ensure(&Api::namespaced(client(), "default"), &api_service(address)).await?;
        ensure(
            &Api::namespaced(client(), "default"),
            &api_endpoints(address),
        )
        .await?;
        ensure(&Api::namespaced(client(), "default"), &api_slice(address)).await?;
    }
    if let Some(address) = config.metrics {
        ensure(&Api::all(client()), &namespace(monitoring::NAMESPACE)).await?;
        let services = Api::namespaced(client(), monitoring::NAMESPACE);
        ensure(&services, &metrics_service(address)).await?;
        let slices = Api::namespaced(client(), monitoring::NAMESPACE);
        ensure(&slices, &metrics_slice(address)).await?;
    }
    if let Some(address) = &config.dns {
        ensure(
            &Api::namespaced(client(), KUBE_SYSTEM),
            &dns_service(address),
        )
        .await?;
        ensure(
            &Api::namespaced(client(), KUBE_SYSTEM),
            &dns_endpoints(address),
        )
        .await?;
        ensure(&Api::namespaced(client(), KUBE_SYSTEM), &dns_slice(address)).await?;
    }
    Ok(())
}

async fn ensure<K>(api: &Api<K>, object: &K) -> Result<(), BootstrapError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let name = object.meta().name.as_deref().unwrap_or_default();
    let what = format!("{} {name:?}", K::kind(&()));
    let answer = api
        .create(&PostParams::default(), object)
        .await
        .during(|| format!("create {what}"));
    match answer {
        Err(error) if !error.already_exists() => {
            // A Service that is there has the address that this one asks for, which is found out
            // before its name is.
            if api.get_opt(name).await.is_ok_and(|found| found.is_some()) {
                return Ok(());
            }
            Err(BootstrapError {
                what,
                source: error,
            })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

fn namespace(name: &str) -> Namespace {
    Namespace {
        metadata: named(name),
        ..Namespace::default()
    }
}

fn gateway_class() -> GatewayClass {
    GatewayClass {
        metadata: named(DEFAULT_GATEWAY),
        spec: GatewayClassSpec {
            controller_name: GATEWAY_CONTROLLER.to_owned(),
            description: Some("the load balancer of this cluster".to_owned()),
            parameters_ref: None,
        },
        api_version: GatewayClass::api_version(&()).into_owned(),
        kind: GatewayClass::kind(&()).into_owned(),
        status: None,
    }
}

fn ingress_class() -> IngressClass {
    let mut metadata = named(DEFAULT_GATEWAY);
    metadata.annotations = Some([(DEFAULT_INGRESS_CLASS.to_owned(), "true".to_owned())].into());
    IngressClass {
        metadata,
        spec: Some(IngressClassSpec {
            controller: Some(INGRESS_CONTROLLER.to_owned()),
            parameters: None,
        }),
    }
}

/// The Gateway that a cluster starts with, whose listeners are at these ports.
#[must_use]
pub fn default_gateway(production_port: u16, test_port: u16) -> Gateway {
    let listener = |name: &str, port: u16| Listener {
        name: name.to_owned(),
        port: i32::from(port),
        protocol: "HTTP".to_owned(),
        allowed_routes: Some(AllowedRoutes {
            namespaces: Some(RouteNamespaces {
                from: Some("All".to_owned()),
                ..RouteNamespaces::default()
            }),
            kinds: None,
        }),
        ..Listener::default()
    };
    Gateway {
        metadata: ObjectMeta {
            namespace: Some(DEFAULT_GATEWAY_NAMESPACE.to_owned()),
            ..named(DEFAULT_GATEWAY)
        },
        spec: GatewaySpec {
            gateway_class_name: DEFAULT_GATEWAY.to_owned(),
            listeners: vec![
                listener(PRODUCTION_LISTENER, production_port),
                listener(TEST_LISTENER, test_port),
            ],
            ..GatewaySpec::default()
        },
        api_version: Gateway::api_version(&()).into_owned(),
        kind: Gateway::kind(&()).into_owned(),
        status: None,
    }
}

fn api_service(api: &ApiAddress) -> Service {
    let mut metadata = named(KUBERNETES);
    metadata.labels = Some(api_labels());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            cluster_ip: Some(api.cluster_ip.to_string()),
            ports: Some(vec![ServicePort {
                name: Some(HTTPS.to_owned()),
                port: 443,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::Int(i32::from(api.port))),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn api_labels() -> BTreeMap<String, String> {
    [
        ("component".to_owned(), "apiserver".to_owned()),
        ("provider".to_owned(), KUBERNETES.to_owned()),
    ]
    .into()
}

fn api_endpoints(api: &ApiAddress) -> Endpoints {
    endpoints(KUBERNETES, api.address, &[(HTTPS, api.port, "TCP")])
}

fn api_slice(api: &ApiAddress) -> EndpointSlice {
    slice(KUBERNETES, api.address, &[(HTTPS, api.port, "TCP")])
}

/// Ports of DNS by name and protocol, as kubeadm's `kube-dns` has them.
const DNS_PORTS: [(&str, &str); 2] = [("dns", "UDP"), ("dns-tcp", "TCP")];

fn dns_service(dns: &DnsAddress) -> Service {
    let port = |(name, protocol): (&str, &str)| ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(DOMAIN),
        protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::Int(i32::from(dns.port))),
        ..ServicePort::default()
    };
    let labels = [
        ("k8s-app", KUBE_DNS),
        ("kubernetes.io/cluster-service", "true"),
        ("kubernetes.io/name", "CoreDNS"),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Service {
        metadata: ObjectMeta {
            labels: Some(labels.into()),
            ..named(KUBE_DNS)
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some(dns.cluster_ip.to_string()),
            ports: Some(DNS_PORTS.map(port).into()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn dns_endpoints(dns: &DnsAddress) -> Endpoints {
    let ports = DNS_PORTS.map(|(name, protocol)| (name, dns.port, protocol));
    endpoints(KUBE_DNS, dns.address, &ports)
}

fn dns_slice(dns: &DnsAddress) -> EndpointSlice {
    let ports = DNS_PORTS.map(|(name, protocol)| (name, dns.port, protocol));
    slice(KUBE_DNS, dns.address, &ports)
}

fn endpoints(service: &str, address: Ipv4Addr, ports: &[(&str, u16, &str)]) -> Endpoints {
    let port = |&(name, port, protocol): &(&str, u16, &str)| LegacyPort {
        name: Some(name.to_owned()),
        port: i32::from(port),
        protocol: Some(protocol.to_owned()),
        app_protocol: None,
    };
    Endpoints {
        metadata: named(service),
        subsets: Some(vec![EndpointSubset {
            addresses: Some(vec![EndpointAddress {
                ip: address.to_string(),
                ..EndpointAddress::default()
            }]),
            not_ready_addresses: None,
            ports: Some(ports.iter().map(port).collect()),
        }]),
    }
}

fn slice(service: &str, address: Ipv4Addr, ports: &[(&str, u16, &str)]) -> EndpointSlice {
    let port = |&(name, port, protocol): &(&str, u16, &str)| EndpointPort {
        name: Some(name.to_owned()),
        port: Some(i32::from(port)),
        protocol: Some(protocol.to_owned()),
        app_protocol: None,
    };
    let mut metadata = named(service);
    metadata.labels = Some([(SERVICE_NAME.to_owned(), service.to_owned())].into());
    EndpointSlice {
        metadata,
        address_type: "IPv4".to_owned(),
        endpoints: Some(vec![Endpoint {
            addresses: vec![address.to_string()],
            conditions: Some(EndpointConditions {
                ready: Some(true),
                ..EndpointConditions::default()
            }),
            ..Endpoint::default()
        }]),
        ports: Some(ports.iter().map(port).collect()),
    }
}

/// Name of the port of the Service `prometheus`.
const WEB: &str = "web";

/// `http://prometheus.monitoring:9090`, where analyses and students look for metrics.
fn metrics_service(address: SocketAddr) -> Service {
    Service {
        metadata: named(monitoring::SERVICE),
        spec: Some(ServiceSpec {
            ports: Some(vec![ServicePort {
                name: Some(WEB.to_owned()),
                port: i32::from(monitoring::PORT),
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::Int(i32::from(address.port()))),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn metrics_slice(address: SocketAddr) -> EndpointSlice {
    let mut metadata = named(monitoring::SERVICE);
    metadata.labels = Some([(SERVICE_NAME.to_owned(), monitoring::SERVICE.to_owned())].into());
    EndpointSlice {
        metadata,
        address_type: "IPv4".to_owned(),
        endpoints: Some(vec![Endpoint {
            addresses: vec![address.ip().to_string()],
            conditions: Some(EndpointConditions {
                ready: Some(true),
                ..EndpointConditions::default()
            }),
            ..Endpoint::default()
        }]),
        ports: Some(vec![EndpointPort {
            name: Some(WEB.to_owned()),
            port: Some(i32::from(address.port())),
            protocol: Some("TCP".to_owned()),
            app_protocol: None,
        }]),
    }
}
