//! Addresses and node ports of a Service: kept over updates, dropped with the type that
//! needs them, and allocated where missing (`k8s.io/kubernetes/pkg/registry/core/service`).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

use super::ServiceAllocator;
use super::services::Exposure;
use crate::validation::FieldError;

/// What an update did not mention stays as it was.
pub(super) fn keep(spec: &mut ServiceSpec, old: &ServiceSpec) {
    let needs_address = |spec: &ServiceSpec| Exposure::of(spec) != Exposure::ExternalName;
    if needs_address(spec) && needs_address(old) {
        if is_unset(spec.cluster_ip.as_deref()) {
            spec.cluster_ip.clone_from(&old.cluster_ip);
        }
        if spec.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
            spec.cluster_ips.clone_from(&old.cluster_ips);
        }
    }
    if Exposure::of(spec).wants_node_ports(spec) {
        for port in spec
            .ports
            .iter_mut()
            .flatten()
            .filter(|port| node_port(port) == 0)
        {
            let mut before = old.ports.iter().flatten();
            let same = before.find(|o| o.port == port.port && o.protocol == port.protocol);
            port.node_port = same.and_then(|port| port.node_port);
        }
    }
}

/// Somebody who changes only the type cannot be asked to remove what the server had put
/// there for the old type.
pub(super) fn drop_what_the_type_forbids(spec: &mut ServiceSpec, old: &ServiceSpec) {
    let (now, before) = (Exposure::of(spec), Exposure::of(old));
    if now == before {
        return;
    }
    if now == Exposure::ExternalName {
        if spec.cluster_ip == old.cluster_ip {
            spec.cluster_ip = None;
            spec.cluster_ips = None;
        }
        spec.ip_families = None;
        spec.ip_family_policy = None;
        spec.internal_traffic_policy = None;
    }
    if !now.wants_node_ports(spec) && before.wants_node_ports(old) {
        for port in spec.ports.iter_mut().flatten() {
            port.node_port = None;
        }
    }
    if now != Exposure::LoadBalancer {
        spec.allocate_load_balancer_node_ports = None;
    }
    let external = matches!(now, Exposure::NodePort | Exposure::LoadBalancer);
    if !external && spec.external_traffic_policy == old.external_traffic_policy {
        spec.external_traffic_policy = None;
        spec.health_check_node_port = None;
    }
}

/// Fills in addresses and node ports that are missing. `old` holds its own already.
pub(super) fn allocate(
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    allocator: &dyn ServiceAllocator,
) -> Result<(), FieldError> {
    let exposure = Exposure::of(spec);
    if exposure == Exposure::ExternalName {
        return Ok(());
    }
    check_families(spec)?;
    allocate_address(spec, old, allocator)?;
    allocate_node_ports(spec, old, allocator)
}

fn check_families(spec: &ServiceSpec) -> Result<(), FieldError> {
    let both = spec.ip_family_policy.as_deref() == Some("RequireDualStack");
    let mut families = spec.ip_families.iter().flatten().enumerate();
    match families.find(|(_, family)| *family == "IPv6") {
        Some((index, family)) if !both => Err(FieldError::invalid(
            format!("spec.ipFamilies[{index}]"),
            family,
            "not configured on this cluster",
        )),
        _ => Ok(()),
    }
}

fn allocate_address(
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    allocator: &dyn ServiceAllocator,
) -> Result<(), FieldError> {
    let listed = spec.cluster_ips.iter().flatten().next().cloned();
    let given = spec
        .cluster_ip
        .clone()
        .filter(|ip| !ip.is_empty())
        .or(listed);
    let held = old.and_then(|old| old.cluster_ip.clone());
    let address = match &given {
        Some(ip) if ip == "None" || given == held || !is_address(ip) => ip.clone(),
        wanted => allocator.cluster_ip(wanted.as_deref()).map_err(|reason| {
            let wanted = wanted.clone().unwrap_or_default();
            FieldError::invalid("spec.clusterIPs", [wanted], reason)
        })?,
    };
    if spec.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
        spec.cluster_ips = Some(vec![address.clone()]);
    }
    spec.cluster_ip = Some(address);
    Ok(())
}

fn allocate_node_ports(
    spec: &mut ServiceSpec,
    old: Option<&ServiceSpec>,
    allocator: &dyn ServiceAllocator,
) -> Result<(), FieldError> {
    if !Exposure::of(spec).wants_node_ports(spec) {
        return Ok(());
    }
    let before = old.and_then(|old| old.ports.as_deref()).unwrap_or_default();
    // TCP and UDP may share a number, so a number counts as held once this Service has it.
    let mut held: BTreeSet<i32> = before.iter().map(node_port).collect();
    let ports = spec.ports.as_deref_mut().unwrap_or_default();
    for (index, port) in ports.iter().enumerate() {
        let wanted = node_port(port);
        if wanted != 0 && held.insert(wanted) {
            claim(wanted, allocator).map_err(|reason| refused(index, wanted, reason))?;
        }
    }
    for (index, port) in ports.iter_mut().enumerate() {
        if node_port(port) == 0 {
            let free = allocator
                .node_port(None)
                .map_err(|reason| refused(index, 0, reason))?;
            port.node_port = Some(i32::from(free));
        }
    }
    Ok(())
}

fn claim(wanted: i32, allocator: &dyn ServiceAllocator) -> Result<u16, String> {
    let number = u16::try_from(wanted).map_err(|_| {
        "provided port is not in the valid range. The range of valid ports is 30000-32767"
            .to_owned()
    })?;
    allocator.node_port(Some(number))
}

fn refused(index: usize, wanted: i32, reason: String) -> FieldError {
    FieldError::invalid(format!("spec.ports[{index}].nodePort"), wanted, reason)
}

fn node_port(port: &ServicePort) -> i32 {
    port.node_port.unwrap_or_default()
}

fn is_unset(text: Option<&str>) -> bool {
    text.is_none_or(str::is_empty)
}

/// Anything else is left for validation to refuse.
fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}
