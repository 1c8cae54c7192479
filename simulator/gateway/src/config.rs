//! Where the load balancer listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Addresses and limits of one load balancer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayConfig {
    /// Address that the listeners of Gateways bind: 127.0.0.1 on the host, 0.0.0.0 in a
    /// container.
    pub bind: IpAddr,
    /// Addresses told in a Gateway's `status.addresses`.
    pub advertised: Vec<IpAddr>,
    /// How the addresses of Services are bound.
    pub services: ServiceBind,
    /// Ports on which Ingresses are served; they are left alone when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressPorts>,
    /// Where `/metrics`, `/table` and `/healthz` are served; nowhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<SocketAddr>,
    /// Longest time that requests in flight have to finish when a listener closes. Never
    /// scaled by the cluster's speed: clients live in real time.
    #[serde(default = "default_drain", with = "seconds")]
    pub drain: Duration,
    /// Threads that carry the traffic, eight at most; they start with the first connection.
    /// With 0 the traffic runs on the runtime of whoever calls [`run`](crate::run).
    #[serde(default = "default_threads")]
    pub threads: usize,
    /// Largest body of a request, in bytes; a larger one is answered 413. Calls of gRPC, whose
    /// streams may last for hours, are not limited.
    #[serde(default = "default_max_body_bytes")]
    pub max_body_bytes: u64,
}

/// Ports for Ingresses. Elsewhere these are 80 and 443, which need privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressPorts {
    /// For HTTP; a Gateway may have a listener there, too.
    pub http: u16,
    /// For HTTPS, opened when an Ingress has a certificate.
    pub https: u16,
}

/// How the addresses of Services are bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "camelCase", deny_unknown_fields)]
pub enum ServiceBind {
    /// Not at all.
    Off,
    /// Each `clusterIP:port` is a socket of its own. For addresses of the loopback network,
    /// which need no interface.
    PerAddress,
    /// One socket on `0.0.0.0` per port; the clusterIP is told by the address that the client
    /// connected to. For a container to which the whole service network is routed.
    Wildcard {
        /// First address of the service network.
        network: Ipv4Addr,
        /// Length of its prefix, in bits.
        prefix: u8,
    },
}

impl GatewayConfig {
    /// A load balancer on this machine: listeners on 127.0.0.1, Services on their own
    /// loopback addresses, no admin endpoint.
    #[must_use]
    pub fn on_loopback() -> Self {
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            advertised: vec![Ipv4Addr::LOCALHOST.into()],
            services: ServiceBind::PerAddress,
            ingress: None,
            admin: None,
            drain: default_drain(),
            threads: default_threads(),
            max_body_bytes: default_max_body_bytes(),
        }
    }
}

impl ServiceBind {
    /// True for an address that can only belong to a Service, so that a connection to it must
    /// never be answered by a Gateway's listener on the same port.
    pub(crate) fn owns(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Wildcard { network, prefix }, IpAddr::V4(address)) => {
                let shift = 32 - u32::from(prefix.min(32));
                let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
                address.to_bits() & mask == network.to_bits() & mask
            }
            (Self::Wildcard { .. }, IpAddr::V6(_)) | (Self::Off | Self::PerAddress, _) => false,
        }
    }
}

/// Thirty seconds: the grace that Kubernetes gives a pod by default, so a load balancer that
/// waits as long never cuts a request that its backend would still have answered.
fn default_drain() -> Duration {
    Duration::from_secs(30)
}

/// One per core.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// 64 MiB: more than any form or JSON of a lesson, and little enough to send by mistake.
fn default_max_body_bytes() -> u64 {
    64 * 1024 * 1024
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(time.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_network_owns_its_addresses_only() {
        let bind = ServiceBind::Wildcard {
            network: Ipv4Addr::new(10, 89, 192, 0),
            prefix: 18,
        };
        assert!(bind.owns(IpAddr::from([10, 89, 192, 1])));
        assert!(bind.owns(IpAddr::from([10, 89, 255, 254])));
        assert!(!bind.owns(IpAddr::from([10, 89, 0, 4])));
        assert!(!ServiceBind::PerAddress.owns(IpAddr::from([127, 3, 128, 1])));
    }

    #[test]
    fn a_configuration_survives_json() {
        let config = GatewayConfig {
            services: ServiceBind::Wildcard {
                network: Ipv4Addr::new(10, 89, 192, 0),
                prefix: 18,
            },
            admin: Some(([127, 0, 0, 1], 9000).into()),
            ..GatewayConfig::on_loopback()
        };
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<GatewayConfig>(&text).unwrap(),
            config
        );
    }
}
