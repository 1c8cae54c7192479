//! What a request is matched against: an immutable snapshot, swapped as a whole.

mod build;
mod faults;
mod filters;
mod hostname;
mod matcher;
mod spread;
mod time;
mod tls;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;

pub(crate) use build::Registry;
pub(crate) use faults::Faults;
pub(crate) use filters::{FilterError, Filters, Origin};
pub(crate) use hostname::{Hostname, host_of};
pub(crate) use matcher::Matcher;
pub(crate) use spread::Spread;
pub(crate) use time::parse as duration;
pub(crate) use tls::TlsPort;

use crate::metrics::Series;
use crate::plan::{Refusal, Share, Timeouts};
use crate::plane::{Endpoint, EndpointSet};

/// Everything that the data plane looks up.
#[derive(Debug, Default)]
pub(crate) struct Table {
    ports: HashMap<u16, Vec<Listener>>,
    /// The ports that speak TLS.
    tls: HashMap<u16, TlsPort>,
    services: HashMap<SocketAddr, Arc<Target>>,
    /// Every target in use, by name and by whether it speaks HTTP/2.
    targets: HashMap<(String, bool), Arc<Target>>,
}

/// The routes of one listener. Requests go to the most specific listener of their port, and
/// never fall through to another one.
#[derive(Debug)]
struct Listener {
    /// `namespace/name/listener`, for people.
    name: String,
    hostname: Hostname,
    /// The most specific host first, so that its rules go before those of wider hosts.
    hosts: Vec<(Hostname, Vec<Entry>)>,
}

/// One match of one rule.
#[derive(Debug)]
struct Entry {
    matcher: Arc<Matcher>,
    rule: Arc<Rule>,
}

/// One rule of a route.
#[derive(Debug)]
pub(crate) struct Rule {
    /// `namespace/name` of an HTTPRoute; routes of other kinds have their kind before it.
    pub(crate) route: String,
    /// Position in the route.
    pub(crate) index: usize,
    pub(crate) filters: Filters,
    pub(crate) timeouts: Timeouts,
    pub(crate) backends: Backends,
    /// Who gets copies of the requests.
    pub(crate) mirrors: Vec<Mirror>,
    /// What is to go wrong on purpose.
    pub(crate) faults: Option<Arc<Faults>>,
    /// Counts what this rule answers by itself.
    pub(crate) series: Arc<Series>,
}

/// The weighted backends of a rule.
#[derive(Debug)]
pub(crate) struct Backends {
    choices: Vec<Choice>,
    total: u64,
    spread: Arc<Spread>,
}

#[derive(Debug)]
struct Choice {
    /// Sum of the weights up to and with this one.
    up_to: u64,
    backend: Arc<Backend>,
}

/// A backend that gets copies of a share of the requests.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) backend: Arc<Backend>,
    share: Share,
    spread: Arc<Spread>,
}

impl Mirror {
    /// Whether the next request is copied.
    pub(crate) fn takes(&self) -> bool {
        self.share.is_all() || self.spread.below(self.share.of) < self.share.parts
    }
}

/// One backend of a rule.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) filters: Filters,
    pub(crate) target: Result<Arc<Target>, Refusal>,
    pub(crate) series: Arc<Series>,
}

/// A port of a Service and the endpoints behind it.
#[derive(Debug)]
pub(crate) struct Target {
    /// `namespace/name:port`.
    pub(crate) name: String,
    /// True where endpoints speak HTTP/2 without TLS.
    pub(crate) http2: bool,
    /// True where connections of one client to the Service go to one endpoint.
    pub(crate) sticky: bool,
    pub(crate) endpoints: EndpointSet,
}

/// The rule that a request belongs to.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(crate) rule: Arc<Rule>,
    /// Length of the path prefix that matched, in bytes.
    pub(crate) prefix: usize,
}

impl Table {
    /// The rule for a request that came to `port` with this host, in lower case.
    pub(crate) fn route(&self, port: u16, host: &str, request: &Parts) -> Option<Hit> {
        let listener = self
            .ports
            .get(&port)?
            .iter()
            .find(|at| at.hostname.matches(host))?;
        let hosts = listener
            .hosts
            .iter()
            .filter(|(hostname, _)| hostname.matches(host));
        hosts.flat_map(|(_, entries)| entries).find_map(|entry| {
            let matched = entry.matcher.matches(request)?;
            Some(Hit {
                rule: Arc::clone(&entry.rule),
                prefix: matched.prefix,
            })
        })
    }

    /// How a connection to this port begins, where it is one for HTTPS.
    pub(crate) fn tls(&self, port: u16) -> Option<&TlsPort> {
        self.tls.get(&port)
    }

    /// The Service that has this address.
    pub(crate) fn service(&self, address: SocketAddr) -> Option<&Arc<Target>> {
        self.services.get(&address)
    }

    /// The same Service port, as it is now.
    pub(crate) fn renewed(&self, target: &Target) -> Option<&Arc<Target>> {
        self.targets.get(&(target.name.clone(), target.http2))
    }

    /// Every endpoint in use; one of several Services comes several times.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.targets
            .values()
            .flat_map(|target| target.endpoints.members())
    }

    /// The table as JSON, for `status` and for people who wonder.
    pub(crate) fn describe(&self) -> serde_json::Value {
        let mut ports: Vec<_> = self.ports.iter().collect();
        ports.sort_by_key(|(port, _)| **port);
        let listeners: Vec<_> = ports
            .into_iter()
            .flat_map(|(port, listeners)| listeners.iter().map(|at| at.describe(*port)))
            .collect();
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_by_key(|(address, _)| **address);
        let services: Vec<_> = services
            .into_iter()
            .map(|(address, target)| {
                serde_json::json!({
                    "address": address.to_string(),
                    "service": target.name,
                    "endpoints": target.endpoints.describe(),
                })
            })
            .collect();
        serde_json::json!({ "listeners": listeners, "services": services })
    }
}

impl Listener {
    fn describe(&self, port: u16) -> serde_json::Value {
        let entries = self.hosts.iter().flat_map(|(host, entries)| {
            entries.iter().map(move |entry| {
                serde_json::json!({
                    "host": host.to_string(),
                    "route": entry.rule.route,
                    "rule": entry.rule.index,
                    "backends": entry.rule.backends.describe(),
                })
            })
        });
        serde_json::json!({
            "listener": self.name,
            "port": port,
            "host": self.hostname.to_string(),
            "matches": entries.collect::<Vec<_>>(),
        })
    }
}

impl Backends {
    /// The next backend; none where nothing has any weight.
    pub(crate) fn next(&self) -> Option<&Arc<Backend>> {
        match self.choices.as_slice() {
            [] => None,
            [only] => Some(&only.backend),
            choices => {
                let place = self.spread.below(self.total);
                choices
                    .iter()
                    .find(|choice| place < choice.up_to)
                    .map(|choice| &choice.backend)
            }
        }
    }

    fn describe(&self) -> Vec<serde_json::Value> {
        let mut before = 0;
        let mut lines = Vec::with_capacity(self.choices.len());
        for choice in &self.choices {
            let endpoints = match &choice.backend.target {
                Ok(target) => target.endpoints.describe(),
                Err(refusal) => serde_json::json!({ "refused": refusal.message }),
            };
            lines.push(serde_json::json!({
                "backend": choice.backend.name,
                "weight": choice.up_to - before,
                "endpoints": endpoints,
            }));
            before = choice.up_to;
        }
        lines
    }
}
