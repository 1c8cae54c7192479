//! Names and what they stand for. Pure; names are in lower case and without the last dot.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use lab_api::faults::DnsFault;

use crate::CLUSTER_DOMAIN;

/// A named port of a Service, at one of its targets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Srv {
    /// The port.
    pub port: u16,
    /// The name of who listens there.
    pub target: String,
}

/// Everything under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Ports.
    pub ports: Vec<Srv>,
    /// Another name for it.
    pub alias: Option<String>,
    /// Names of an address (under `in-addr.arpa`).
    pub pointers: Vec<String>,
}

/// What a look-up came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The name is there, though perhaps without a record of the kind asked for.
    Records(Records),
    /// No such name in a domain that this zone knows everything about.
    Nothing,
    /// A name of the world outside, of which this zone knows nothing.
    Outside,
}

/// All names of the cluster at one moment.
#[derive(Debug, Default)]
pub struct Zone {
    names: HashMap<String, Records>,
    fault: Option<DnsFault>,
    serial: u32,
}

impl Zone {
    /// An empty zone with this serial number in its SOA.
    #[must_use]
    pub(crate) fn new(serial: u32, fault: Option<DnsFault>) -> Self {
        let mut zone = Self {
            names: HashMap::new(),
            fault,
            serial,
        };
        zone.entry(CLUSTER_DOMAIN);
        zone.entry(&format!("svc.{CLUSTER_DOMAIN}"));
        zone.entry(&format!("pod.{CLUSTER_DOMAIN}"));
        zone.entry("localhost").addresses.push(Ipv4Addr::LOCALHOST);
        zone
    }

    /// Changes whenever the zone does.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// How it is broken on purpose.
    #[must_use]
    pub fn fault(&self) -> Option<&DnsFault> {
        self.fault.as_ref()
    }

    /// The records of a name, made if need be, along with the names above it: a name with
    /// something below exists, though it may have no record.
    pub(crate) fn entry(&mut self, name: &str) -> &mut Records {
        let mut above = name;
        while let Some((_, parent)) = above.split_once('.')
            && in_domain(parent)
            && !self.names.contains_key(parent)
        {
            self.names.insert(parent.to_owned(), Records::default());
            above = parent;
        }
        self.names.entry(name.to_owned()).or_default()
    }

    /// Lets an address lead back to a name.
    pub(crate) fn point(&mut self, address: Ipv4Addr, name: &str) {
        let pointers = &mut self.entry(&reverse(address)).pointers;
        if !pointers.iter().any(|known| known == name) {
            pointers.push(name.to_owned());
        }
    }

    /// What there is under a name (lower case, without the last dot).
    #[must_use]
    pub fn find(&self, name: &str) -> Found {
        if let Some(records) = self.names.get(name) {
            return Found::Records(records.clone());
        }
        if let Some(address) = self.pod_address(name) {
            return Found::Records(Records {
                addresses: vec![address],
                ..Records::default()
            });
        }
        if in_domain(name) || name.ends_with(".in-addr.arpa") || name.ends_with(".localhost") {
            Found::Nothing
        } else {
            Found::Outside
        }
    }

    /// `10-89-2-7.NAMESPACE.pod.cluster.local` is 10.89.2.7, in any namespace that there is.
    fn pod_address(&self, name: &str) -> Option<Ipv4Addr> {
        let (label, above) = name.split_once('.')?;
        let namespace = above.strip_suffix(CLUSTER_DOMAIN)?.strip_suffix(".pod.")?;
        if namespace.contains('.') || !self.names.contains_key(above) {
            return None;
        }
        label.replace('-', ".").parse().ok()
    }
}

fn in_domain(name: &str) -> bool {
    name.strip_suffix(CLUSTER_DOMAIN)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// `7.2.89.10.in-addr.arpa` for 10.89.2.7.
pub(crate) fn reverse(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
}
