//! How a pod resolves names: pure.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>

use std::net::IpAddr;

use k8s_openapi::api::core::v1::PodSpec;

/// Domain of the cluster.
const DOMAIN: &str = "cluster.local";
/// With fewer dots than this, a name is tried under the search domains first.
const NDOTS: &str = "ndots:5";

/// Content of a pod's `resolv.conf`; empty where the pod keeps what its node has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolution {
    pub(crate) servers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
    pub(crate) options: Vec<String>,
}

/// What `dnsPolicy` and `dnsConfig` make of the cluster's DNS server.
pub(crate) fn resolution(
    spec: Option<&PodSpec>,
    namespace: &str,
    cluster: Option<IpAddr>,
) -> Resolution {
    let policy = spec.and_then(|spec| spec.dns_policy.as_deref());
    let mut resolution = match (policy, cluster) {
        (Some("Default" | "None"), _) | (_, None) => Resolution::default(),
        // The node's network is the pod's in `ClusterFirstWithHostNet` only, which is not served.
        (_, Some(server)) => Resolution {
            servers: vec![server],
            search: vec![
                format!("{namespace}.svc.{DOMAIN}"),
                format!("svc.{DOMAIN}"),
                DOMAIN.to_owned(),
            ],
            options: vec![NDOTS.to_owned()],
        },
    };
    if let Some(own) = spec.and_then(|spec| spec.dns_config.as_ref()) {
        for server in own.nameservers.iter().flatten() {
            if let Ok(server) = server.parse() {
                add(&mut resolution.servers, server);
            }
        }
        for domain in own.searches.iter().flatten() {
            add(&mut resolution.search, domain.clone());
        }
        for option in own.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            let same = |known: &String| known.split(':').next() == Some(name.as_str());
            resolution.options.retain(|known| !same(known));
            resolution.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    resolution
}

fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// `servers; search; options`.
    #[track_caller]
    fn case(spec: Value, expected: &str) {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let found = resolution(Some(&spec), "shop", Some("10.96.0.10".parse().unwrap()));
        let servers: Vec<_> = found.servers.iter().map(ToString::to_string).collect();
        let text = format!(
            "{}; {}; {}",
            servers.join(" "),
            found.search.join(" "),
            found.options.join(" ")
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_pod_resolves_as_its_policy_says() {
        let usual = "10.96.0.10; shop.svc.cluster.local svc.cluster.local cluster.local; ndots:5";
        case(json!({}), usual);
        case(json!({"dnsPolicy": "ClusterFirst"}), usual);
        case(json!({"dnsPolicy": "Default"}), "; ; ");
        case(
            json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["127.0.0.9"], "searches": ["lab"]}}),
            "127.0.0.9; lab; ",
        );
        case(
            json!({"dnsConfig": {"nameservers": ["10.96.0.10", "10.0.0.1"], "searches": ["lab"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}}),
            "10.96.0.10 10.0.0.1; shop.svc.cluster.local svc.cluster.local cluster.local lab; ndots:2 edns0",
        );
    }

    #[test]
    fn without_a_server_in_the_cluster_a_pod_keeps_what_its_node_has() {
        assert_eq!(resolution(None, "shop", None), Resolution::default());
    }
}
