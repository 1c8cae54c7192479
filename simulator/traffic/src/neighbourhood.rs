//! Which addresses traffic may be sent to.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// The addresses of this machine and of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbourhood {
    /// Networks of the cluster: first address and length of the prefix in bits.
    pub networks: Vec<(Ipv4Addr, u8)>,
}

/// An address that traffic is not sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{host} is neither this machine nor in the cluster ({networks}): traffic is sent to 127.0.0.1, localhost and the cluster's own addresses only"
)]
pub struct Refused {
    host: String,
    networks: String,
}

impl Neighbourhood {
    /// This machine alone.
    #[must_use]
    pub fn loopback() -> Self {
        Self::default()
    }

    /// The address that `host` stands for. Names other than `localhost` are not looked up: who
    /// answers for a name may change after it was allowed.
    ///
    /// # Errors
    /// Where it is no address of this machine or of the cluster.
    pub fn admit(&self, host: &str) -> Result<IpAddr, Refused> {
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(Ipv4Addr::LOCALHOST.into());
        }
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        match literal.parse::<IpAddr>() {
            Ok(address) if self.contains(address) => Ok(address),
            Ok(_) | Err(_) => Err(self.refuse(host)),
        }
    }

    /// True for an address of this machine or of the cluster.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback()
            || match address {
                IpAddr::V4(address) => self.networks.iter().any(|(network, prefix)| {
                    let shift = 32 - u32::from(*prefix).min(32);
                    let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
                    address.to_bits() & mask == network.to_bits() & mask
                }),
                IpAddr::V6(_) => false,
            }
    }

    fn refuse(&self, host: &str) -> Refused {
        let networks: Vec<_> = self
            .networks
            .iter()
            .map(|(network, prefix)| format!("{network}/{prefix}"))
            .collect();
        Refused {
            host: host.to_owned(),
            networks: if networks.is_empty() {
                "which has no network of its own".to_owned()
            } else {
                networks.join(", ")
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(host: &str, admitted: bool) {
        let neighbourhood = Neighbourhood {
            networks: vec![(Ipv4Addr::new(10, 89, 0, 0), 16)],
        };
        assert_eq!(neighbourhood.admit(host).is_ok(), admitted, "{host}");
    }

    #[test]
    fn traffic_stays_on_this_machine_and_in_the_cluster() {
        case("127.0.0.1", true);
        case("127.10.128.7", true);
        case("LocalHost", true);
        case("[::1]", true);
        case("10.89.192.4", true);
        case("10.90.0.1", false);
        case("192.168.1.20", false);
        case("[::ffff:8.8.8.8]", false);
        case("example.com", false);
        case("localhost.example.com", false);
        case("", false);
    }

    #[test]
    fn a_refusal_names_the_address_and_what_is_allowed() {
        let message = Neighbourhood::loopback()
            .admit("example.com")
            .unwrap_err()
            .to_string();
        assert!(message.contains("example.com"), "{message}");
        assert!(message.contains("127.0.0.1"), "{message}");
    }
}
