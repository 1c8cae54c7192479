//! The addresses that one engine may give to its pods, and which of them are taken.
//!
//! Pure: which address comes next is decided here, nothing is set up on the machine. Loopback
//! addresses (process engine) need no set-up, and simulated pods have none.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// The block of IPv4 addresses for the pods of one engine, such as `127.9.10.0/24`.
///
/// The first address of the block names the network, the second is the node itself and the
/// last is left out as a broadcast address, so a /24 holds 253 pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodNetwork {
    first: Ipv4Addr,
    prefix_len: u8,
}

/// Why a text is not a [`PodNetwork`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a block of IPv4 addresses for pods: expected something like 127.9.10.0/24, /30 at most"
)]
pub struct InvalidPodNetwork {
    text: String,
}

impl PodNetwork {
    /// The block of `prefix_len` leading bits that holds `address`; `None` where it would not
    /// have room for a node and one pod (longer than /30).
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix_len: u8) -> Option<Self> {
        if prefix_len == 0 || prefix_len > 30 {
            return None;
        }
        let mask = u32::MAX << (32 - u32::from(prefix_len));
        Some(Self {
            first: Ipv4Addr::from(u32::from(address) & mask),
            prefix_len,
        })
    }

    /// The address of the node itself: the second of the block.
    #[must_use]
    pub fn node_address(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first) + 1)
    }

    /// First and last address for pods, as numbers.
    pub(crate) fn pod_range(self) -> (u32, u32) {
        let first = u32::from(self.first);
        let size = 1_u64 << (32 - u32::from(self.prefix_len));
        let last =
            u32::try_from(u64::from(first) + size - 2).expect("an IPv4 block ends within IPv4");
        (first + 2, last)
    }
}

impl FromStr for PodNetwork {
    type Err = InvalidPodNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix_len) = text.split_once('/')?;
            Self::new(address.parse().ok()?, prefix_len.parse().ok()?)
        };
        parse().ok_or_else(|| InvalidPodNetwork {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for PodNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_len)
    }
}

/// Which addresses of a [`PodNetwork`] are taken, and by which sandbox (an `Owner` names one).
#[derive(Debug)]
pub(crate) struct AddressPool<Owner> {
    network: PodNetwork,
    taken: HashMap<u32, Owner>,
    /// No address below this one is free, so that handing out many stays cheap.
    lowest_free: u32,
}

impl<Owner: Clone + PartialEq> AddressPool<Owner> {
    pub(crate) fn new(network: PodNetwork) -> Self {
        Self {
            network,
            taken: HashMap::new(),
            lowest_free: network.pod_range().0,
        }
    }

    /// Gives `sandbox` the address it asks for where that is a free one of this network, and
    /// the first free one otherwise; `None` where all are taken.
    pub(crate) fn take(&mut self, sandbox: &Owner, wanted: Option<IpAddr>) -> Option<Ipv4Addr> {
        let address = wanted
            .and_then(|ip| self.free(ip))
            .or_else(|| self.first_free())?;
        self.taken.insert(address, sandbox.clone());
        Some(Ipv4Addr::from(address))
    }

    /// Passes the address on from a dead sandbox to its successor, where the former has it.
    pub(crate) fn pass_on(&mut self, ip: IpAddr, from: &Owner, to: &Owner) -> bool {
        let IpAddr::V4(ip) = ip else { return false };
        match self.taken.get_mut(&u32::from(ip)) {
            Some(owner) if owner == from => {
                owner.clone_from(to);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes back the address, unless another sandbox holds it by now.
    pub(crate) fn release(&mut self, sandbox: &Owner, ip: IpAddr) {
        let IpAddr::V4(ip) = ip else { return };
        let address = u32::from(ip);
        if self.taken.get(&address) == Some(sandbox) {
            self.taken.remove(&address);
            self.lowest_free = self.lowest_free.min(address);
        }
    }

    fn free(&self, ip: IpAddr) -> Option<u32> {
        let IpAddr::V4(ip) = ip else { return None };
        let (first, last) = self.network.pod_range();
        let address = u32::from(ip);
        ((first..=last).contains(&address) && !self.taken.contains_key(&address)).then_some(address)
    }

    fn first_free(&mut self) -> Option<u32> {
        let (_, last) = self.network.pod_range();
        let address = (self.lowest_free..=last).find(|address| !self.taken.contains_key(address));
        self.lowest_free = address.unwrap_or(last);
        address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(network: &str) -> AddressPool<String> {
        AddressPool::new(network.parse().expect("a valid network"))
    }

    fn id(name: &str) -> String {
        name.to_owned()
    }

    #[track_caller]
    fn check_take(
        pool: &mut AddressPool<String>,
        name: &str,
        wanted: Option<&str>,
        expected: Option<&str>,
    ) {
        let wanted = wanted.map(|ip| ip.parse().expect("an address"));
        let taken = pool.take(&id(name), wanted).map(|ip| ip.to_string());
        assert_eq!(taken.as_deref(), expected, "address of {name}");
    }

    #[test]
    fn pods_get_the_first_free_address_after_the_nodes() {
        let mut pool = pool("127.9.10.0/24");
        check_take(&mut pool, "a", None, Some("127.9.10.2"));
        check_take(&mut pool, "b", None, Some("127.9.10.3"));
        pool.release(&id("a"), "127.9.10.2".parse().unwrap());
        check_take(&mut pool, "c", None, Some("127.9.10.2"));
    }

    #[test]
    fn a_wanted_address_is_given_only_where_it_is_free_and_ours() {
        let mut pool = pool("127.9.10.0/24");
        check_take(&mut pool, "a", Some("127.9.10.77"), Some("127.9.10.77"));
        check_take(&mut pool, "taken", Some("127.9.10.77"), Some("127.9.10.2"));
        check_take(
            &mut pool,
            "the node's",
            Some("127.9.10.1"),
            Some("127.9.10.3"),
        );
        check_take(&mut pool, "elsewhere", Some("10.0.0.9"), Some("127.9.10.4"));
        check_take(&mut pool, "IPv6", Some("::1"), Some("127.9.10.5"));
    }

    #[test]
    fn a_full_network_gives_nothing_until_an_address_comes_back() {
        let mut pool = pool("127.9.10.0/30");
        check_take(&mut pool, "a", None, Some("127.9.10.2"));
        check_take(&mut pool, "b", None, None);
        pool.release(&id("a"), "127.9.10.2".parse().unwrap());
        check_take(&mut pool, "b", None, Some("127.9.10.2"));
    }

    #[test]
    fn the_remains_of_a_pod_do_not_take_the_address_of_its_successor_along() {
        let mut pool = pool("127.9.10.0/24");
        let ip = "127.9.10.2".parse().unwrap();
        check_take(&mut pool, "old", None, Some("127.9.10.2"));
        assert!(pool.pass_on(ip, &id("old"), &id("new")));
        assert!(!pool.pass_on(ip, &id("old"), &id("newer")));
        pool.release(&id("old"), ip);
        check_take(&mut pool, "other", Some("127.9.10.2"), Some("127.9.10.3"));
    }

    #[track_caller]
    fn check_parse(text: &str, expected: Option<&str>) {
        let parsed = text
            .parse::<PodNetwork>()
            .ok()
            .map(|network| network.to_string());
        assert_eq!(parsed.as_deref(), expected, "{text}");
    }

    #[test]
    fn networks_are_read_as_people_write_them() {
        check_parse("127.9.10.0/24", Some("127.9.10.0/24"));
        check_parse("127.9.10.7/24", Some("127.9.10.0/24"));
        check_parse("10.128.0.0/9", Some("10.128.0.0/9"));
        check_parse("10.0.0.0/31", None);
        check_parse("10.0.0.0/0", None);
        check_parse("10.0.0.0", None);
        check_parse("pods", None);
    }
}
