//! Node ports: every Service of type NodePort or LoadBalancer is reached at a port of every node.
//!
//! A node takes connections at its own address and hands them on to the Service's address, where
//! the load balancer chooses an endpoint; so a node that dies takes its node ports along, and
//! one that is only cut off from the control plane does not. `externalTrafficPolicy: Local` makes
//! no difference: endpoints of every node answer.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/service/#type-nodeport>

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use lab_api::services::stand_in_port;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::agent::Shared;

/// Connections through one node's ports at a time; another waits to be accepted.
const CONNECTIONS: usize = 1024;
/// Pause after an error of a socket, and before a port that is in use is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the Service's address may take to answer.
const CONNECT: Duration = Duration::from_secs(5);

/// Node port, and where its connections go.
type Wanted = BTreeMap<u16, SocketAddr>;

/// Follows the Services until the stop signal.
pub(crate) async fn run(shared: Arc<Shared>, ip: IpAddr) {
    let services: Api<Service> = Api::all(shared.client.clone());
    let mut events = watcher(services, watcher::Config::default())
        .default_backoff()
        .boxed();
    let mut ports = Ports {
        ip,
        room: Arc::new(Semaphore::new(CONNECTIONS)),
        stop: shared.stop.clone(),
        open: BTreeMap::new(),
    };
    let mut known: BTreeMap<String, Wanted> = BTreeMap::new();
    let mut listed: BTreeMap<String, Wanted> = BTreeMap::new();
    loop {
        let event = tokio::select! {
            event = events.try_next() => event,
            () = shared.stop.cancelled() => return,
        };
        match event {
            Ok(Some(watcher::Event::Init)) => listed.clear(),
            Ok(Some(watcher::Event::InitApply(service))) => {
                listed.insert(key(&service), wanted(&service));
            }
            Ok(Some(watcher::Event::InitDone)) => {
                known = std::mem::take(&mut listed);
                ports.sync(&known);
            }
            Ok(Some(watcher::Event::Apply(service))) => {
                known.insert(key(&service), wanted(&service));
                ports.sync(&known);
            }
            Ok(Some(watcher::Event::Delete(service))) => {
                known.remove(&key(&service));
                ports.sync(&known);
            }
            Ok(None) => return,
            Err(error) => tracing::debug!(%error, "watch of Services interrupted"),
        }
    }
}

fn key(service: &Service) -> String {
    format!(
        "{}/{}",
        service.namespace().unwrap_or_default(),
        service.name_any()
    )
}

/// The TCP node ports of a Service.
fn wanted(service: &Service) -> Wanted {
    let Some(spec) = &service.spec else {
        return Wanted::new();
    };
    let ip = spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok());
    let Some(ip) = ip else {
        return Wanted::new();
    };
    let ports = spec.ports.iter().flatten();
    let tcp = ports.filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    tcp.filter_map(|port| {
        let node_port = u16::try_from(port.node_port?).ok().filter(|&p| p != 0)?;
        let to = SocketAddr::new(ip, u16::try_from(port.port).ok()?);
        Some((node_port, to))
    })
    .collect()
}

/// The open node ports of one node.
struct Ports {
    ip: IpAddr,
    room: Arc<Semaphore>,
    stop: CancellationToken,
    open: BTreeMap<u16, (SocketAddr, DropGuard)>,
}

impl Ports {
    /// Opens and closes what has changed; connections of a port that closes go on.
    fn sync(&mut self, known: &BTreeMap<String, Wanted>) {
        let wanted: Wanted = known.values().flatten().map(|(p, to)| (*p, *to)).collect();
        self.open
            .retain(|port, (to, _)| wanted.get(port) == Some(to));
        for (&port, &to) in &wanted {
            if self.open.contains_key(&port) {
                continue;
            }
            let closing = self.stop.child_token();
            let at = SocketAddr::new(self.ip, port);
            tokio::spawn(accept(at, to, Arc::clone(&self.room), closing.clone()));
            self.open.insert(port, (to, closing.drop_guard()));
        }
    }
}

async fn accept(at: SocketAddr, to: SocketAddr, room: Arc<Semaphore>, closing: CancellationToken) {
    let serve = async {
        let listener = loop {
            match TcpListener::bind(at).await {
                Ok(listener) => break listener,
                Err(error) => {
                    tracing::warn!(%at, %error, "node port not opened; will be tried again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((client, _)) => drop(tokio::spawn(async move {
                    let _permit = permit;
                    carry(client, to).await;
                })),
                Err(error) => {
                    tracing::debug!(%at, %error, "connection not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = serve => {}
        () = closing.cancelled() => {}
    }
}

/// Joins a client with the Service. Where that does not answer, the client's connection is reset.
async fn carry(mut client: TcpStream, to: SocketAddr) {
    let Some(mut service) = connect(to).await else {
        if let Err(error) = client.set_zero_linger() {
            tracing::trace!(%error, "connection not reset");
        }
        return;
    };
    let _ = (client.set_nodelay(true), service.set_nodelay(true));
    if let Err(error) = copy_bidirectional(&mut client, &mut service).await {
        tracing::trace!(%to, %error, "connection ended");
    }
}

async fn connect(to: SocketAddr) -> Option<TcpStream> {
    let stand_in = stand_in_port(to.port()).map(|port| SocketAddr::new(to.ip(), port));
    for address in std::iter::once(to).chain(stand_in) {
        if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            return Some(stream);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn case(spec: &Value, expected: &str) {
        let service: Service = serde_json::from_value(json!({"spec": spec})).unwrap();
        let found: Vec<_> = wanted(&service)
            .into_iter()
            .map(|(port, to)| format!("{port}>{to}"))
            .collect();
        assert_eq!(found.join(" "), expected);
    }

    #[test]
    fn tcp_ports_with_a_node_port_are_opened() {
        let ports = json!([{"port": 80, "nodePort": 30080}, {"port": 53, "nodePort": 30053, "protocol": "UDP"},
            {"port": 81}]);
        case(
            &json!({"type": "NodePort", "clusterIP": "10.96.0.7", "ports": ports}),
            "30080>10.96.0.7:80",
        );
        case(&json!({"clusterIP": "None", "ports": [{"port": 80}]}), "");
        case(&json!({"type": "ExternalName"}), "");
    }
}
