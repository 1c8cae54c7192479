//! Ports on 127.0.0.1: the preferred one, or the next that is free.

use std::net::{Ipv4Addr, TcpListener};

use serde::{Deserialize, Serialize};

use crate::config::PortPreferences;

/// How many ports are tried from the preferred one on.
const TRIES: u16 = 200;

/// What listens on the ports, in the words of messages.
const API: &str = "Kubernetes API";
const PRODUCTION: &str = "production listener";
const TEST: &str = "test listener";
const HTTPS: &str = "HTTPS listeners";
const REGISTRY: &str = "registry";
const METRICS: &str = "metrics";

/// The ports of a cluster, kept for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ports {
    /// The Kubernetes API.
    pub api: u16,
    /// The load balancer's production listener.
    pub production: u16,
    /// The load balancer's test listener.
    pub test: u16,
    /// HTTPS of the load balancer: for Ingresses with a certificate, and for listeners of
    /// Gateways. Nothing listens there before one of them does.
    #[serde(default = "https")]
    pub https: u16,
    /// The image registry.
    pub registry: u16,
    /// The metrics (Prometheus' HTTP API); none in the record of a cluster that an older program
    /// made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<u16>,
}

/// The port of clusters that were made before there was one.
fn https() -> u16 {
    PortPreferences::default().https
}

impl Ports {
    /// Every port with the part that listens on it.
    #[must_use]
    pub fn all(self) -> Vec<(&'static str, u16)> {
        let Self {
            api,
            production,
            test,
            https,
            registry,
            metrics,
        } = self;
        let metrics = metrics.map(|port| (METRICS, port));
        [
            (API, api),
            (PRODUCTION, production),
            (TEST, test),
            (HTTPS, https),
            (REGISTRY, registry),
        ]
        .into_iter()
        .chain(metrics)
        .collect()
    }
}

/// No port from the preferred one on is free.
#[derive(Debug, thiserror::Error)]
#[error(
    "no free port on 127.0.0.1 from {from} to {to} for the {part}: free one of them, or choose another in a cluster file (spec.ports)"
)]
pub struct NoFreePort {
    part: &'static str,
    from: u16,
    to: u16,
}

/// A preferred port that was taken, and what was taken instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// For what.
    pub part: &'static str,
    /// The preferred port.
    pub from: u16,
    /// The port taken.
    pub to: u16,
}

/// Chooses free ports near the preferred ones; `reserved` are kept by other clusters that may not
/// be running now.
///
/// # Errors
/// Where none is free.
pub fn choose(
    preferred: PortPreferences,
    reserved: &[u16],
) -> Result<(Ports, Vec<Moved>), NoFreePort> {
    let mut taken = reserved.to_vec();
    let mut moved = Vec::new();
    let mut pick = |part, from| {
        let port = next_free(part, from, &taken)?;
        taken.push(port);
        if port != from {
            moved.push(Moved {
                part,
                from,
                to: port,
            });
        }
        Ok(port)
    };
    let ports = Ports {
        api: pick(API, preferred.api)?,
        production: pick(PRODUCTION, preferred.production)?,
        test: pick(TEST, preferred.test)?,
        https: pick(HTTPS, preferred.https)?,
        registry: pick(REGISTRY, preferred.registry)?,
        metrics: Some(pick(METRICS, preferred.metrics)?),
    };
    Ok((ports, moved))
}

/// A free port for the metrics, of a cluster whose record has none.
///
/// # Errors
/// Where none is free.
pub fn choose_metrics(preferred: PortPreferences, reserved: &[u16]) -> Result<u16, NoFreePort> {
    next_free(METRICS, preferred.metrics, reserved)
}

fn next_free(part: &'static str, from: u16, taken: &[u16]) -> Result<u16, NoFreePort> {
    let to = from.saturating_add(TRIES);
    (from..=to)
        .find(|port| !taken.contains(port) && is_free(*port))
        .ok_or(NoFreePort { part, from, to })
}

/// True where nobody listens on the port now, on loopback or on every address.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_and_said() {
        let busy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = busy.local_addr().unwrap().port();
        let preferred = PortPreferences {
            api: port,
            ..PortPreferences::default()
        };
        let (ports, moved) = choose(preferred, &[]).unwrap();
        assert_ne!(ports.api, port);
        assert!(
            moved
                .iter()
                .any(|m| m.part == "Kubernetes API" && m.from == port && m.to == ports.api)
        );
    }

    #[test]
    fn a_stopped_clusters_ports_stay_its_own() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let preferred = PortPreferences {
            api: free,
            ..PortPreferences::default()
        };
        let (ports, _) = choose(preferred, &[free]).unwrap();
        assert_ne!(ports.api, free);
    }
}
