//! Which address the next pod gets.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::PodNetwork;

/// Remembers the last address given, so that the next pod gets one that was long unused: a
/// client that still talks to a deleted pod must not reach its successor by accident.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    last: Option<u32>,
}

impl Cursor {
    /// The wanted address where it is a free one of this network, else the next free one;
    /// `None` where all are taken.
    pub(super) fn choose(
        &mut self,
        network: PodNetwork,
        taken: &HashSet<IpAddr>,
        wanted: Option<IpAddr>,
    ) -> Option<Ipv4Addr> {
        let (first, last) = network.pod_range();
        let free = |address: &u32| !taken.contains(&IpAddr::V4(Ipv4Addr::from(*address)));
        if let Some(IpAddr::V4(wanted)) = wanted {
            let address = u32::from(wanted);
            if (first..=last).contains(&address) && free(&address) {
                return Some(wanted);
            }
        }
        let next = self.last.map(|address| address + 1);
        let start = next
            .filter(|next| (first..=last).contains(next))
            .unwrap_or(first);
        let address = (start..=last).chain(first..start).find(free)?;
        self.last = Some(address);
        Some(Ipv4Addr::from(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cursor: &mut Cursor, taken: &[&str], wanted: Option<&str>, expected: Option<&str>) {
        let taken = taken.iter().map(|ip| ip.parse().unwrap()).collect();
        let chosen = cursor.choose(
            "10.89.2.0/29".parse().unwrap(),
            &taken,
            wanted.map(|ip| ip.parse().unwrap()),
        );
        assert_eq!(chosen.map(|ip| ip.to_string()).as_deref(), expected);
    }

    #[test]
    fn addresses_go_round_before_one_is_used_again() {
        let mut cursor = Cursor::default();
        for expected in [
            "10.89.2.2",
            "10.89.2.3",
            "10.89.2.4",
            "10.89.2.5",
            "10.89.2.6",
            "10.89.2.2",
        ] {
            check(&mut cursor, &[], None, Some(expected));
        }
    }

    #[test]
    fn a_wanted_address_is_kept_where_it_is_free_and_ours() {
        let mut cursor = Cursor::default();
        check(&mut cursor, &[], Some("10.89.2.5"), Some("10.89.2.5"));
        check(
            &mut cursor,
            &["10.89.2.5"],
            Some("10.89.2.5"),
            Some("10.89.2.2"),
        );
        check(&mut cursor, &[], Some("10.89.9.9"), Some("10.89.2.3"));
    }

    #[test]
    fn a_full_network_gives_nothing() {
        let all = [
            "10.89.2.2",
            "10.89.2.3",
            "10.89.2.4",
            "10.89.2.5",
            "10.89.2.6",
        ];
        check(&mut Cursor::default(), &all, None, None);
        check(&mut Cursor::default(), &all[..4], None, Some("10.89.2.6"));
    }
}
