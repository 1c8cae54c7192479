//! Addresses of a cluster, all derived from its index in the address space.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Port on which the load balancer tells of itself (`/metrics`, `/table`): one that no Service of
/// a class is likely to have.
pub const GATEWAY_ADMIN_PORT: u16 = 19_091;

/// Where a cluster's addresses come from.
///
/// ```text
/// loopback  127.K.i.1 node i     127.K.i.2–254 its pods   127.K.128.0/17 Services   127.K.0.10 DNS
/// bridge    a.b.0.x   parts      a.b.1.i node i   a.b.(1+i).0/24 its pods   a.b.192.0/18 Services
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Network {
    /// Loopback addresses `127.K.0.0/16` (process and simulated engine).
    Loopback {
        /// The second byte, K.
        octet: u8,
    },
    /// A Docker bridge network `a.b.0.0/16`.
    Bridge {
        /// The first byte.
        a: u8,
        /// The second byte.
        b: u8,
    },
}

impl Network {
    fn base(self) -> (u8, u8) {
        match self {
            Self::Loopback { octet } => (127, octet),
            Self::Bridge { a, b } => (a, b),
        }
    }

    /// All addresses of the cluster.
    #[must_use]
    pub fn whole(self) -> (Ipv4Addr, u8) {
        let (a, b) = self.base();
        (Ipv4Addr::new(a, b, 0, 0), 16)
    }

    /// Address of node `index`, counted from 1.
    #[must_use]
    pub fn node_ip(self, index: u16) -> IpAddr {
        let (a, b) = self.base();
        let [high, low] = index.to_be_bytes();
        match self {
            Self::Loopback { .. } => Ipv4Addr::new(a, b, low, 1).into(),
            Self::Bridge { .. } => Ipv4Addr::new(a, b, 1 + high, low).into(),
        }
    }

    /// Range of the pods of node `index`, counted from 1.
    #[must_use]
    pub fn pod_cidr(self, index: u16) -> (Ipv4Addr, u8) {
        let (a, b) = self.base();
        let [_, low] = index.to_be_bytes();
        match self {
            Self::Loopback { .. } => (Ipv4Addr::new(a, b, low, 0), 24),
            Self::Bridge { .. } => (Ipv4Addr::new(a, b, low.saturating_add(1), 0), 24),
        }
    }

    /// Where the load balancer tells of itself, on an engine where it shares this machine.
    #[must_use]
    pub fn gateway_admin(self) -> SocketAddr {
        let (a, b) = self.base();
        (Ipv4Addr::new(a, b, 0, 4), GATEWAY_ADMIN_PORT).into()
    }

    /// Address of the Service `kubernetes`: the first of the range.
    #[must_use]
    pub fn api_service(self) -> Ipv4Addr {
        self.service_address(1)
    }

    /// Address of the Service `kube-dns`: the tenth of the range, as kubeadm has it.
    #[must_use]
    pub fn dns_service(self) -> Ipv4Addr {
        self.service_address(10)
    }

    fn service_address(self, host: u32) -> Ipv4Addr {
        let (network, _) = self.service_cidr();
        Ipv4Addr::from(u32::from(network) + host)
    }

    /// Address at which pods reach the API itself.
    #[must_use]
    pub fn api_endpoint(self) -> Ipv4Addr {
        match self {
            Self::Loopback { .. } => Ipv4Addr::LOCALHOST,
            Self::Bridge { a, b } => Ipv4Addr::new(a, b, 0, 2),
        }
    }

    /// Address at which the DNS server itself listens: on the bridge, the load balancer's.
    #[must_use]
    pub fn dns_endpoint(self) -> Ipv4Addr {
        match self {
            Self::Loopback { octet } => Ipv4Addr::new(127, octet, 0, 10),
            Self::Bridge { a, b } => Ipv4Addr::new(a, b, 0, 4),
        }
    }

    /// Range of Service addresses.
    #[must_use]
    pub fn service_cidr(self) -> (Ipv4Addr, u8) {
        let (a, b) = self.base();
        match self {
            Self::Loopback { .. } => (Ipv4Addr::new(a, b, 128, 0), 17),
            Self::Bridge { .. } => (Ipv4Addr::new(a, b, 192, 0), 18),
        }
    }
}

/// `10.89.2.0/24` from its parts.
#[must_use]
pub fn cidr_text((address, bits): (Ipv4Addr, u8)) -> String {
    format!("{address}/{bits}")
}

/// Name of node `index`.
#[must_use]
pub fn node_name(index: u16) -> String {
    format!("node-{index}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_pods_and_services_never_overlap() {
        for network in [
            Network::Loopback { octet: 9 },
            Network::Bridge { a: 10, b: 89 },
        ] {
            let (service, bits) = network.service_cidr();
            let mask = u32::MAX << (32 - u32::from(bits));
            for index in 1..=62 {
                let (pods, _) = network.pod_cidr(index);
                assert_ne!(
                    u32::from(pods) & mask,
                    u32::from(service),
                    "{network:?} node {index}"
                );
                assert_ne!(network.pod_cidr(index), network.pod_cidr(index + 1));
                assert_ne!(network.node_ip(index), network.node_ip(index + 1));
            }
        }
    }

    #[test]
    fn addresses_read_as_documented() {
        let loopback = Network::Loopback { octet: 9 };
        assert_eq!(loopback.node_ip(2).to_string(), "127.9.2.1");
        assert_eq!(cidr_text(loopback.pod_cidr(2)), "127.9.2.0/24");
        let bridge = Network::Bridge { a: 10, b: 89 };
        assert_eq!(bridge.node_ip(2).to_string(), "10.89.1.2");
        assert_eq!(cidr_text(bridge.pod_cidr(1)), "10.89.2.0/24");
        assert_eq!(cidr_text(bridge.service_cidr()), "10.89.192.0/18");
        assert_eq!(bridge.api_service().to_string(), "10.89.192.1");
        assert_eq!(bridge.dns_service().to_string(), "10.89.192.10");
        assert_eq!(loopback.dns_service().to_string(), "127.9.128.10");
    }
}
