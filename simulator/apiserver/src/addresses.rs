//! Cluster addresses and node ports of Services.
//!
//! The set of what is in use is read from the store once and then kept. A [`Reservation`]
//! gives back what its request did not store in the end (dry run, refused object).
//! <https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/>

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

use lab_store::Store;
use serde_json::Value;

use crate::object;
use crate::resources::{ResourceDef, ServiceAllocator};

/// Node ports; the range of kube-apiserver's default.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// The address right after the network's is the API server's own, by convention.
const FIRST_HOST: u32 = 2;

/// What Services use.
pub(crate) struct ServiceAddresses {
    store: Store,
    network: Ipv4Addr,
    prefix: u8,
    used: Mutex<Option<Used>>,
}

#[derive(Default)]
struct Used {
    addresses: HashSet<Ipv4Addr>,
    ports: HashSet<u16>,
    /// Where the search for a free address goes on, so that a deleted Service's address is not
    /// reused at once by another.
    next_host: u32,
    next_port: u16,
}

impl ServiceAddresses {
    /// Addresses of `network`/`prefix`, in use as `store` says.
    pub(crate) fn new(store: Store, (network, prefix): (Ipv4Addr, u8)) -> Self {
        Self {
            store,
            network,
            prefix,
            used: Mutex::new(None),
        }
    }

    /// Starts a request that may need addresses.
    pub(crate) fn reserve(&self) -> Reservation<'_> {
        Reservation {
            addresses: self,
            taken: Mutex::default(),
        }
    }

    /// Gives back what an object used and its successor, if any, does not.
    pub(crate) fn release(&self, definition: &ResourceDef, old: &Value, new: Option<&Value>) {
        if !definition.is("", "services") {
            return;
        }
        let kept = new.map(Taken::of).unwrap_or_default();
        let gone = Taken::of(old);
        self.with(|used| {
            for address in gone.addresses.difference(&kept.addresses) {
                used.addresses.remove(address);
            }
            for port in gone.ports.difference(&kept.ports) {
                used.ports.remove(port);
            }
        });
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Used) -> T) -> T {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        use_it(used.get_or_insert_with(|| self.scan()))
    }

    fn scan(&self) -> Used {
        let mut used = Used::default();
        for entry in self.store.list("services", "", None, None).entries {
            let taken = Taken::of(&object::decode(&entry.value));
            used.addresses.extend(taken.addresses);
            used.ports.extend(taken.ports);
        }
        used
    }

    fn host(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) & self.mask() | number)
    }

    fn mask(&self) -> u32 {
        u32::MAX
            .checked_shl(32 - u32::from(self.prefix.min(32)))
            .unwrap_or(0)
    }

    /// Hosts below the broadcast address.
    fn hosts(&self) -> u32 {
        !self.mask()
    }

    fn free_address(&self, used: &mut Used) -> Result<Ipv4Addr, String> {
        let count = self.hosts().saturating_sub(FIRST_HOST);
        for step in 0..count {
            let number = FIRST_HOST + (used.next_host + step) % count;
            let address = self.host(number);
            if used.addresses.insert(address) {
                used.next_host = (number - FIRST_HOST + 1) % count;
                return Ok(address);
            }
        }
        let range = format!("{}/{}", self.network, self.prefix);
        Err(format!(
            "all cluster addresses of {range} are in use; delete a Service"
        ))
    }

    fn wanted_address(&self, used: &mut Used, wanted: &str) -> Result<Ipv4Addr, String> {
        let address: Ipv4Addr = wanted
            .parse()
            .map_err(|_| "must be a valid IPv4 address".to_owned())?;
        let range = format!("{}/{}", self.network, self.prefix);
        if u32::from(address) & self.mask() != u32::from(self.network) & self.mask() {
            return Err(format!(
                "failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}"
            ));
        }
        if used.addresses.insert(address) {
            Ok(address)
        } else {
            Err(format!(
                "failed to allocate IP {address}: provided IP is already allocated"
            ))
        }
    }
}

fn free_port(used: &mut Used) -> Result<u16, String> {
    let (first, count) = (
        *NODE_PORTS.start(),
        NODE_PORTS.end() - NODE_PORTS.start() + 1,
    );
    for step in 0..count {
        let offset = (used.next_port + step) % count;
        if used.ports.insert(first + offset) {
            used.next_port = (offset + 1) % count;
            return Ok(first + offset);
        }
    }
    Err("all node ports are in use; delete a Service of type NodePort or LoadBalancer".to_owned())
}

fn wanted_port(used: &mut Used, wanted: u16) -> Result<u16, String> {
    if !NODE_PORTS.contains(&wanted) {
        let (first, last) = (NODE_PORTS.start(), NODE_PORTS.end());
        return Err(format!(
            "provided port is not in the valid range. The range of valid ports is {first}-{last}"
        ));
    }
    if used.ports.insert(wanted) {
        Ok(wanted)
    } else {
        Err("provided port is already allocated".to_owned())
    }
}

#[derive(Default)]
struct Taken {
    addresses: HashSet<Ipv4Addr>,
    ports: HashSet<u16>,
}

impl Taken {
    /// What a Service uses.
    fn of(service: &Value) -> Self {
        let ports = object::at(service, &["spec", "ports"]).and_then(Value::as_array);
        let node_port = |port: &Value| u16::try_from(port.get("nodePort")?.as_u64()?).ok();
        let mut ports: HashSet<u16> = ports.into_iter().flatten().filter_map(node_port).collect();
        let health = object::at(service, &["spec", "healthCheckNodePort"]).and_then(Value::as_u64);
        ports.extend(health.and_then(|port| u16::try_from(port).ok()));
        let addresses = object::texts(service, &["spec", "clusterIPs"])
            .into_iter()
            .chain([object::text(service, &["spec", "clusterIP"])])
            .filter_map(|text| text.parse().ok())
            .collect();
        Self { addresses, ports }
    }
}

/// What one request has taken. Dropping it gives everything back, unless it was kept.
pub(crate) struct Reservation<'a> {
    addresses: &'a ServiceAddresses,
    taken: Mutex<Taken>,
}

impl Reservation<'_> {
    /// The object was stored: what it uses stays taken.
    pub(crate) fn keep(self) {
        *self.taken() = Taken::default();
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServiceAllocator for Reservation<'_> {
    fn cluster_ip(&self, wanted: Option<&str>) -> Result<String, String> {
        let address = self.addresses.with(|used| match wanted {
            Some(wanted) => self.addresses.wanted_address(used, wanted),
            None => self.addresses.free_address(used),
        })?;
        self.taken().addresses.insert(address);
        Ok(address.to_string())
    }

    fn node_port(&self, wanted: Option<u16>) -> Result<u16, String> {
        let port = self.addresses.with(|used| match wanted {
            Some(wanted) => wanted_port(used, wanted),
            None => free_port(used),
        })?;
        self.taken().ports.insert(port);
        Ok(port)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let taken = std::mem::take(&mut *self.taken());
        if taken.addresses.is_empty() && taken.ports.is_empty() {
            return;
        }
        self.addresses.with(|used| {
            used.addresses
                .retain(|address| !taken.addresses.contains(address));
            used.ports.retain(|port| !taken.ports.contains(port));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> ServiceAddresses {
        ServiceAddresses::new(Store::in_memory(), (Ipv4Addr::new(10, 96, 0, 0), 29))
    }

    #[test]
    fn addresses_are_unique_and_end() {
        let addresses = small();
        let reservation = addresses.reserve();
        let all: HashSet<String> = (0..5)
            .map(|_| reservation.cluster_ip(None).unwrap())
            .collect();
        assert_eq!(all.len(), 5);
        assert!(
            !all.contains("10.96.0.0") && !all.contains("10.96.0.1") && !all.contains("10.96.0.7")
        );
        let error = reservation.cluster_ip(None).unwrap_err();
        assert!(error.contains("10.96.0.0/29"), "{error}");
    }

    #[test]
    fn what_a_request_did_not_store_is_free_again() {
        let addresses = small();
        let first = addresses.reserve();
        assert!(first.cluster_ip(Some("10.96.0.3")).is_ok());
        assert!(addresses.reserve().cluster_ip(Some("10.96.0.3")).is_err());
        drop(first);
        let second = addresses.reserve();
        assert!(second.cluster_ip(Some("10.96.0.3")).is_ok());
        second.keep();
        assert!(addresses.reserve().cluster_ip(Some("10.96.0.3")).is_err());
    }

    #[test]
    fn wanted_values_must_be_in_range() {
        let addresses = small();
        let reservation = addresses.reserve();
        assert!(reservation.cluster_ip(Some("10.97.0.3")).is_err());
        assert!(reservation.cluster_ip(Some("web")).is_err());
        assert!(reservation.node_port(Some(80)).is_err());
        assert_eq!(reservation.node_port(Some(30_080)), Ok(30_080));
        assert!(reservation.node_port(Some(30_080)).is_err());
        assert_eq!(reservation.node_port(None), Ok(30_000));
    }
}
