//! The plan of addresses inside one cluster's network: who has which, decided once and for all
//! so that a restarted part is found where it was.

use std::fmt;
use std::net::Ipv4Addr;

use lab_engine::PodNetwork;

/// Nodes that the plan has room for: each has a /24 for its pods below the dynamic range.
pub const MAX_NODES: u8 = 62;

/// The second octets to try, in this order: `10.89.0.0/16` and up. The beginning of `10.` is
/// popular with company networks, and 10.42, 10.43, 10.96 and 10.244 with other clusters.
const SECOND_OCTETS: std::ops::RangeInclusive<u8> = 89..=120;

/// A `10.x.0.0/16`, with everybody's place in it.
///
/// | part | addresses |
/// |---|---|
/// | bridge, control plane, registry, load balancer | `10.x.0.1` to `.4` |
/// | node *i* | `10.x.1.i` |
/// | pods of node *i* | `10.x.(1+i).0/24` |
/// | what Docker hands out itself | `10.x.64.0/18` |
/// | services | `10.x.192.0/18` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterNetwork {
    second: u8,
}

impl ClusterNetwork {
    /// All that may be tried, most wanted first.
    pub(super) fn candidates() -> impl Iterator<Item = Self> {
        SECOND_OCTETS.map(|second| Self { second })
    }

    /// Reads a subnet back as [`Self::subnet`] writes it.
    #[must_use]
    pub fn parse(subnet: &str) -> Option<Self> {
        Self::candidates().find(|network| network.subnet() == subnet)
    }

    /// The whole network, `10.x.0.0/16`.
    #[must_use]
    pub fn subnet(self) -> String {
        format!("{}/16", self.address(0, 0))
    }

    /// What Docker may hand out to containers that ask for no address, `10.x.64.0/18`.
    #[must_use]
    pub fn dynamic_range(self) -> String {
        format!("{}/18", self.address(64, 0))
    }

    /// The bridge itself: how the host looks from inside.
    #[must_use]
    pub fn bridge(self) -> Ipv4Addr {
        self.address(0, 1)
    }

    /// The control plane.
    #[must_use]
    pub fn control_plane(self) -> Ipv4Addr {
        self.address(0, 2)
    }

    /// The image registry.
    #[must_use]
    pub fn registry(self) -> Ipv4Addr {
        self.address(0, 3)
    }

    /// The load balancer.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        self.address(0, 4)
    }

    /// Node `index`, counted from 1 to [`MAX_NODES`].
    #[must_use]
    pub fn node(self, index: u8) -> Option<Ipv4Addr> {
        (1..=MAX_NODES)
            .contains(&index)
            .then(|| self.address(1, index))
    }

    /// The addresses for the pods of node `index`, a /24.
    #[must_use]
    pub fn pods_of_node(self, index: u8) -> Option<PodNetwork> {
        self.node(index)?;
        PodNetwork::new(self.address(1 + index, 0), 24)
    }

    /// First address and prefix length of the services' range, `10.x.192.0/18`.
    #[must_use]
    pub fn services(self) -> (Ipv4Addr, u8) {
        (self.address(192, 0), 18)
    }

    fn address(self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.second, third, fourth)
    }

    /// The first candidate that overlaps with none of these blocks.
    pub(super) fn choose(taken: &[Block]) -> Option<Self> {
        Self::candidates().find(|network| {
            let own = Block::new(network.address(0, 0), 16);
            taken.iter().all(|block| !block.overlaps(own))
        })
    }
}

impl fmt::Display for ClusterNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subnet())
    }
}

/// Some block of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    first: u32,
    mask: u32,
}

impl Block {
    pub(super) fn new(address: Ipv4Addr, prefix_len: u8) -> Self {
        let mask = u32::MAX
            .checked_shl(32 - u32::from(prefix_len.min(32)))
            .unwrap_or(0);
        Self {
            first: u32::from(address) & mask,
            mask,
        }
    }

    /// Reads `10.0.0.0/8`; `None` also for IPv6, which never overlaps.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix_len) = text.split_once('/')?;
        Some(Self::new(address.parse().ok()?, prefix_len.parse().ok()?))
    }

    /// The networks that this machine has routes to, from the text of `/proc/net/route`, but
    /// not the default route.
    pub(super) fn of_routes(table: &str) -> Vec<Self> {
        table
            .lines()
            .skip(1)
            .filter_map(|line| {
                let mut fields = line.split_whitespace();
                // The kernel prints addresses as it stores them, lowest byte first.
                let mut number = |at| {
                    u32::from_str_radix(fields.nth(at)?, 16)
                        .ok()
                        .map(u32::swap_bytes)
                };
                let (first, mask) = (number(1)?, number(5)?);
                (mask != 0).then_some(Self { first, mask })
            })
            .collect()
    }

    fn overlaps(self, other: Self) -> bool {
        let common = self.mask & other.mask;
        self.first & common == other.first & common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_place_of_their_own() {
        let network = ClusterNetwork::choose(&[]).unwrap();
        assert_eq!(network.subnet(), "10.89.0.0/16");
        assert_eq!(network.dynamic_range(), "10.89.64.0/18");
        assert_eq!(network.control_plane().to_string(), "10.89.0.2");
        assert_eq!(network.node(1).unwrap().to_string(), "10.89.1.1");
        assert_eq!(network.pods_of_node(1).unwrap().to_string(), "10.89.2.0/24");
        assert_eq!(
            network.pods_of_node(MAX_NODES).unwrap().to_string(),
            "10.89.63.0/24"
        );
        assert_eq!(network.services(), (Ipv4Addr::new(10, 89, 192, 0), 18));
        assert_eq!((network.node(0), network.node(MAX_NODES + 1)), (None, None));
    }

    #[track_caller]
    fn check_choice(taken: &[&str], expected: Option<&str>) {
        let taken: Vec<Block> = taken
            .iter()
            .map(|text| Block::parse(text).unwrap())
            .collect();
        let chosen = ClusterNetwork::choose(&taken).map(ClusterNetwork::subnet);
        assert_eq!(chosen.as_deref(), expected, "{taken:?}");
    }

    #[test]
    fn a_network_that_overlaps_with_another_is_not_chosen() {
        check_choice(&["172.17.0.0/16", "10.88.0.0/16"], Some("10.89.0.0/16"));
        check_choice(&["10.89.0.0/16"], Some("10.90.0.0/16"));
        check_choice(&["10.89.7.0/24", "10.90.255.255/32"], Some("10.91.0.0/16"));
        check_choice(&["10.64.0.0/10"], None);
        check_choice(&["0.0.0.0/0"], None);
    }

    #[test]
    fn routes_of_the_machine_are_read_from_the_kernels_table() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     tun0\t0000590A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(
            Block::of_routes(table),
            [Block::parse("10.89.0.0/16").unwrap()]
        );
    }

    #[test]
    fn a_subnet_is_read_back_as_it_was_written() {
        for network in ClusterNetwork::candidates() {
            assert_eq!(ClusterNetwork::parse(&network.subnet()), Some(network));
        }
        assert_eq!(ClusterNetwork::parse("172.18.0.0/16"), None);
    }
}
