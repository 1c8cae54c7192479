//! What a Service's author left out (`SetDefaults_Service` upstream).

use k8s_openapi::api::core::v1::{ClientIPConfig, ServiceSpec, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::pod_spec_defaults::text;
use super::services::{Exposure, is_headless};

/// Seconds that a client stays with one pod: three hours.
const AFFINITY_SECONDS: i32 = 10_800;

/// Defaults of a Service.
pub(super) fn apply(spec: &mut ServiceSpec) {
    text(&mut spec.session_affinity, "None");
    text(&mut spec.type_, "ClusterIP");
    spec.selector = spec.selector.take().filter(|selector| !selector.is_empty());
    affinity(spec);
    ports(spec);
    policies(spec);
    families(spec);
}

fn affinity(spec: &mut ServiceSpec) {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        spec.session_affinity_config = None;
        return;
    }
    let config: &mut SessionAffinityConfig = spec.session_affinity_config.get_or_insert_default();
    let client: &mut ClientIPConfig = config.client_ip.get_or_insert_default();
    client.timeout_seconds.get_or_insert(AFFINITY_SECONDS);
}

/// A port's target is the same number, unless said otherwise.
fn ports(spec: &mut ServiceSpec) {
    for port in spec.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
        let same = IntOrString::Int(port.port);
        let unset = |target: &IntOrString| match target {
            IntOrString::Int(number) => *number == 0,
            IntOrString::String(name) => name.is_empty(),
        };
        if port.target_port.as_ref().is_none_or(unset) {
            port.target_port = Some(same);
        }
    }
}

fn policies(spec: &mut ServiceSpec) {
    let exposure = Exposure::of(spec);
    let has_external_ips = spec
        .external_ips
        .as_ref()
        .is_some_and(|ips| !ips.is_empty());
    let external = match exposure {
        Exposure::NodePort | Exposure::LoadBalancer => true,
        Exposure::ClusterIp => has_external_ips,
        Exposure::ExternalName => false,
    };
    if external {
        text(&mut spec.external_traffic_policy, "Cluster");
    }
    if exposure != Exposure::ExternalName {
        text(&mut spec.internal_traffic_policy, "Cluster");
    }
    if exposure == Exposure::LoadBalancer {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
}

/// This cluster speaks IPv4. Only a headless Service without a selector, whose endpoints are
/// its author's business, is said to have both families.
fn families(spec: &mut ServiceSpec) {
    if Exposure::of(spec) == Exposure::ExternalName {
        return;
    }
    let both = is_headless(spec) && spec.selector.is_none() && spec.ip_families.is_none();
    let policy = if both {
        "RequireDualStack"
    } else {
        "SingleStack"
    };
    let families = if both {
        &["IPv4", "IPv6"][..]
    } else {
        &["IPv4"]
    };
    text(&mut spec.ip_family_policy, policy);
    let families = || families.iter().map(|family| (*family).to_owned()).collect();
    spec.ip_families.get_or_insert_with(families);
}
