//! From Services and their endpoints to a zone: pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Namespace, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use lab_api::faults;
use lab_api::names::SERVICE_NAME;

use crate::zone::{Srv, Zone};
use crate::{CLUSTER_DOMAIN, NAMESPACE, SERVICE};

/// Builds the zone of these objects.
pub(crate) fn zone<'a>(
    serial: u32,
    namespaces: impl Iterator<Item = &'a Namespace>,
    services: impl Iterator<Item = &'a Service> + Clone,
    slices: impl Iterator<Item = &'a EndpointSlice>,
) -> Zone {
    let own = services.clone().find(|service| {
        service.metadata.namespace.as_deref() == Some(NAMESPACE)
            && service.metadata.name.as_deref() == Some(SERVICE)
    });
    let fault = own.and_then(|service| faults::dns(service.metadata.annotations.as_ref()));
    let mut zone = Zone::new(serial, fault);
    for namespace in namespaces {
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        zone.entry(&format!("{name}.svc.{CLUSTER_DOMAIN}"));
        zone.entry(&format!("{name}.pod.{CLUSTER_DOMAIN}"));
    }
    let slices = by_service(slices);
    for service in services {
        add_service(&mut zone, service, &slices);
    }
    zone
}

/// Namespace and name of a Service.
type Key<'a> = (&'a str, &'a str);

fn by_service<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
) -> BTreeMap<Key<'a>, Vec<&'a EndpointSlice>> {
    let mut found: BTreeMap<Key<'a>, Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices {
        let labels = slice.metadata.labels.as_ref();
        if let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME)) {
            let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
            found.entry((namespace, service)).or_default().push(slice);
        }
    }
    found
}

fn add_service(
    zone: &mut Zone,
    service: &Service,
    slices: &BTreeMap<Key<'_>, Vec<&EndpointSlice>>,
) {
    let (Some(name), Some(namespace), Some(spec)) = (
        service.metadata.name.as_deref(),
        service.metadata.namespace.as_deref(),
        service.spec.as_ref(),
    ) else {
        return;
    };
    let base = format!("{name}.{namespace}.svc.{CLUSTER_DOMAIN}");
    if spec.type_.as_deref() == Some("ExternalName") {
        let target = spec.external_name.as_deref().unwrap_or_default();
        let target = target.trim_end_matches('.').to_lowercase();
        if !target.is_empty() {
            zone.entry(&base).alias = Some(target);
        }
        return;
    }
    match spec.cluster_ip.as_deref() {
        Some("None") => {
            let slices = slices.get(&(namespace, name));
            add_headless(zone, &base, slices.map(Vec::as_slice).unwrap_or_default());
        }
        Some(ip) => {
            if let Ok(address) = ip.parse() {
                add_cluster_ip(zone, &base, address, spec);
            }
        }
        None => {}
    }
}

fn add_cluster_ip(zone: &mut Zone, base: &str, address: Ipv4Addr, spec: &ServiceSpec) {
    zone.entry(base).addresses.push(address);
    zone.point(address, base);
    for port in spec.ports.iter().flatten() {
        let name = port.name.as_deref().unwrap_or_default();
        add_port(
            zone,
            base,
            base,
            name,
            port.protocol.as_deref(),
            Some(port.port),
        );
    }
}

/// A headless Service: the addresses of its ready endpoints, each also by a name of its own.
fn add_headless(zone: &mut Zone, base: &str, slices: &[&EndpointSlice]) {
    // The name exists without an endpoint too: a client then sees no address, not no name.
    zone.entry(base);
    let mut seen = BTreeSet::new();
    for slice in slices {
        let ready = slice
            .endpoints
            .iter()
            .flatten()
            .filter(|endpoint| is_ready(endpoint));
        for endpoint in ready {
            let address = endpoint.addresses.first();
            let Some(address) = address.and_then(|text| text.parse::<Ipv4Addr>().ok()) else {
                continue;
            };
            let label = match endpoint.hostname.as_deref() {
                Some(hostname) if !hostname.is_empty() => hostname.to_owned(),
                _ => address.to_string().replace('.', "-"),
            };
            let own = format!("{label}.{base}");
            // An endpoint may be in two slices for a moment, while it moves between them.
            if seen.insert((own.clone(), address)) {
                zone.entry(&own).addresses.push(address);
                zone.point(address, &own);
                let addresses = &mut zone.entry(base).addresses;
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            for port in slice.ports.iter().flatten() {
                let name = port.name.as_deref().unwrap_or_default();
                add_port(zone, base, &own, name, port.protocol.as_deref(), port.port);
            }
        }
    }
}

fn is_ready(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.and_then(|conditions| conditions.ready) != Some(false)
}

/// `_http._tcp.BASE`, for ports that have a name.
fn add_port(
    zone: &mut Zone,
    base: &str,
    target: &str,
    name: &str,
    protocol: Option<&str>,
    port: Option<i32>,
) {
    let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else {
        return;
    };
    if name.is_empty() {
        return;
    }
    let protocol = protocol.unwrap_or("TCP").to_lowercase();
    let ports = &mut zone.entry(&format!("_{name}._{protocol}.{base}")).ports;
    let srv = Srv {
        port,
        target: target.to_owned(),
    };
    if !ports.contains(&srv) {
        ports.push(srv);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Found;
    use crate::zone::Records;
    use serde_json::{Value, json};

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    /// A cluster with a bit of everything.
    pub(crate) fn sample(dns_fault: Option<&str>) -> Zone {
        let namespaces: Vec<Namespace> = ["default", "shop", "kube-system"]
            .map(|name| read(json!({"metadata": {"name": name}})))
            .into();
        let mut services: Vec<Service> = vec![
            read(
                json!({"metadata": {"name": "hello", "namespace": "default"},
                "spec": {"clusterIP": "10.96.0.7", "ports": [
                    {"name": "http", "port": 80}, {"name": "probe", "port": 53, "protocol": "UDP"}]}}),
            ),
            read(json!({"metadata": {"name": "db", "namespace": "shop"},
                "spec": {"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}})),
            read(json!({"metadata": {"name": "empty", "namespace": "shop"},
                "spec": {"clusterIP": "None"}})),
            read(json!({"metadata": {"name": "away", "namespace": "shop"},
                "spec": {"type": "ExternalName", "externalName": "Example.COM."}})),
            read(json!({"metadata": {"name": "alias", "namespace": "shop"},
                "spec": {"type": "ExternalName", "externalName": "hello.default.svc.cluster.local"}})),
            read(json!({"metadata": {"name": "me", "namespace": "shop"},
                "spec": {"type": "ExternalName", "externalName": "me.shop.svc.cluster.local"}})),
        ];
        let mut dns = json!({"metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {"clusterIP": "10.96.0.10"}});
        if let Some(fault) = dns_fault {
            dns["metadata"]["annotations"] = json!({lab_api::faults::DNS: fault});
        }
        services.push(read(dns));
        let slice = |name: &str, endpoints: Value| -> EndpointSlice {
            read(
                json!({"metadata": {"name": name, "namespace": "shop", "labels": {SERVICE_NAME: "db"}},
                "addressType": "IPv4", "ports": [{"name": "sql", "port": 15432}], "endpoints": endpoints}),
            )
        };
        let slices = [
            slice(
                "db-1",
                json!([
                    {"addresses": ["10.244.1.2"], "hostname": "db-0", "conditions": {"ready": true}},
                    {"addresses": ["10.244.1.3"]},
                    {"addresses": ["10.244.1.4"], "conditions": {"ready": false}}]),
            ),
            slice("db-2", json!([{"addresses": ["10.244.1.3"]}])),
        ];
        zone(7, namespaces.iter(), services.iter(), slices.iter())
    }

    fn records(zone: &Zone, name: &str) -> Records {
        match zone.find(name) {
            Found::Records(records) => records,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn addresses(zone: &Zone, name: &str) -> Vec<String> {
        let found = records(zone, name).addresses;
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_service_is_found_by_its_name_and_its_address() {
        let zone = sample(None);
        let name = "hello.default.svc.cluster.local";
        assert_eq!(addresses(&zone, name), ["10.96.0.7"]);
        assert_eq!(
            records(&zone, "7.0.96.10.in-addr.arpa").pointers,
            [name.to_owned()]
        );
        let http = records(&zone, "_http._tcp.hello.default.svc.cluster.local").ports;
        assert_eq!((http[0].port, http[0].target.as_str()), (80, name));
        assert_eq!(
            records(&zone, "_probe._udp.hello.default.svc.cluster.local").ports[0].port,
            53
        );
    }

    #[test]
    fn a_headless_service_is_its_ready_endpoints_each_once() {
        let zone = sample(None);
        assert_eq!(
            addresses(&zone, "db.shop.svc.cluster.local"),
            ["10.244.1.2", "10.244.1.3"]
        );
        assert_eq!(
            addresses(&zone, "db-0.db.shop.svc.cluster.local"),
            ["10.244.1.2"]
        );
        assert_eq!(
            addresses(&zone, "10-244-1-3.db.shop.svc.cluster.local"),
            ["10.244.1.3"]
        );
        let ports = records(&zone, "_sql._tcp.db.shop.svc.cluster.local").ports;
        let ports: Vec<_> = ports
            .iter()
            .map(|srv| (srv.port, srv.target.as_str()))
            .collect();
        assert_eq!(
            ports,
            [
                (15432, "db-0.db.shop.svc.cluster.local"),
                (15432, "10-244-1-3.db.shop.svc.cluster.local")
            ]
        );
        assert_eq!(
            records(&zone, "empty.shop.svc.cluster.local"),
            Records::default()
        );
    }

    #[track_caller]
    fn missing(zone: &Zone, name: &str, expected: &Found) {
        assert_eq!(&zone.find(name), expected, "{name}");
    }

    #[test]
    fn what_is_not_there_is_told_apart_from_what_has_no_record() {
        let zone = sample(None);
        for present in [
            "cluster.local",
            "svc.cluster.local",
            "shop.svc.cluster.local",
            "_tcp.hello.default.svc.cluster.local",
        ] {
            missing(&zone, present, &Found::Records(Records::default()));
        }
        for absent in [
            "nothing.default.svc.cluster.local",
            "hello.elsewhere.svc.cluster.local",
            "elsewhere.svc.cluster.local",
            "9.9.9.9.in-addr.arpa",
        ] {
            missing(&zone, absent, &Found::Nothing);
        }
        for outside in ["hello", "hello.default", "example.com", "notcluster.local"] {
            missing(&zone, outside, &Found::Outside);
        }
    }

    #[test]
    fn a_pod_is_found_by_the_name_made_of_its_address() {
        let zone = sample(None);
        assert_eq!(
            addresses(&zone, "10-244-1-9.shop.pod.cluster.local"),
            ["10.244.1.9"]
        );
        missing(
            &zone,
            "10-244-1-9.elsewhere.pod.cluster.local",
            &Found::Nothing,
        );
        missing(&zone, "web.shop.pod.cluster.local", &Found::Nothing);
    }
}
