//! The control loop: from changes of the API to sockets, table and status.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::Client;
use lab_api::objects::object_reference;
use lab_context::Context;
use lab_events::Recorder;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{GatewayConfig, IngressPorts, ServiceBind};
use crate::metrics::Metrics;
use crate::plan::{Plan, addresses, unserved};
use crate::plane::{BindFailure, Plane, Sockets};
use crate::status::{self, Desired, Facts};
use crate::table::Registry;
use crate::world::{Change, World, key};
use crate::{admin, watches};

/// Pause before an address that could not be bound is tried again: long enough not to matter,
/// short enough that freeing a port feels like it worked.
const BIND_RETRY: Duration = Duration::from_secs(2);

/// Why the load balancer cannot run. Everything that can be put right while it runs is told in
/// status and events instead.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// The admin address cannot be bound.
    #[error("failed to listen on {address} for the load balancer's metrics and status")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Runs the load balancer until `stop`, then lets requests in flight finish.
///
/// An API server that cannot be reached is not an error: the load balancer goes on with what
/// it last knew, and catches up.
///
/// # Errors
///
/// Where the admin address cannot be bound.
pub async fn run(
    client: Client,
    config: GatewayConfig,
    context: Context,
    stop: CancellationToken,
) -> Result<(), GatewayError> {
    let metrics = Arc::new(Metrics::default());
    let plane = Plane::new(Arc::clone(&metrics), context.clone(), &config);
    let GatewayConfig {
        bind,
        advertised,
        services,
        ingress,
        admin,
        drain: _,
        threads: _,
        max_body_bytes: _,
    } = config;
    if let Some(address) = admin {
        admin::start(address, Arc::clone(&plane), &stop)
            .await
            .map_err(|source| GatewayError::Admin { address, source })?;
    }
    let changes = watches::start(&client, &stop);
    let control = Control {
        world: World::default(),
        registry: Registry::new(context.clone(), metrics),
        sockets: Sockets::new(Arc::clone(&plane)),
        plane,
        bind,
        services,
        ingress,
        advertised,
        wishes: status::start_writer(client.clone(), context.clone(), stop.clone()),
        events: Recorder::start(client, context.clone(), "devops-lab-gateway", stop.clone()),
        told: HashSet::new(),
        told_ingresses: HashSet::new(),
        context,
    };
    control.run(changes, &stop).await;
    Ok(())
}

struct Control {
    world: World,
    registry: Registry,
    plane: Arc<Plane>,
    sockets: Sockets,
    bind: IpAddr,
    services: ServiceBind,
    ingress: Option<IngressPorts>,
    advertised: Vec<IpAddr>,
    wishes: watch::Sender<Vec<Desired>>,
    events: Recorder,
    /// Services and addresses whose trouble was already reported.
    told: HashSet<(String, SocketAddr)>,
    /// Ingresses, by uid, and what was reported of them.
    told_ingresses: HashSet<(String, String)>,
    context: Context,
}

impl Control {
    async fn run(mut self, mut changes: mpsc::Receiver<Change>, stop: &CancellationToken) {
        let mut retry: Option<Instant> = None;
        loop {
            let wait = async {
                match retry {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                change = changes.recv() => match change {
                    Some(change) => self.take(change, &mut changes),
                    None => break,
                },
                () = wait => {}
            }
            retry = None;
            if self.world.is_complete() && !self.reconcile() {
                retry = Some(Instant::now() + self.context.scale(BIND_RETRY));
            }
        }
        self.sockets.close().await;
    }

    /// Takes in everything that has arrived, so that a burst of changes is one new table.
    fn take(&mut self, first: Change, changes: &mut mpsc::Receiver<Change>) {
        self.world.apply(first);
        while let Ok(change) = changes.try_recv() {
            self.world.apply(change);
        }
    }

    /// Makes the data plane and the status what the world asks for; false where an address
    /// could not be bound. The table goes first: a socket must not open before its routes.
    fn reconcile(&mut self) -> bool {
        let plan = Plan::with(&self.world, self.ingress);
        let table = self.registry.build(&plan, &self.world);
        self.plane.table.store(Arc::new(table));
        let listeners = self.listener_sockets(&plan);
        let services = self.service_sockets();
        let mut wanted: BTreeSet<SocketAddr> = listeners.values().copied().collect();
        wanted.extend(services.keys());
        let mut failures = self.sockets.sync(&wanted);
        let detours = detours(&services, &failures);
        if !detours.is_empty() {
            wanted.extend(detours.values().flatten());
            failures = self.sockets.sync(&wanted);
        }
        self.report(&services, &detours, &failures);
        self.report_ingresses(&plan);
        self.publish(&plan, &listeners, &failures);
        // A port below 1024 will not become free by waiting, so it asks for no retry.
        failures
            .values()
            .all(|failure| failure.kind == io::ErrorKind::PermissionDenied)
    }

    /// The socket of each port of the Gateways.
    fn listener_sockets(&self, plan: &Plan) -> BTreeMap<u16, SocketAddr> {
        let listeners = plan.gateways.iter().flat_map(|gateway| &gateway.listeners);
        listeners
            .filter(|listener| listener.is_open())
            .map(|listener| (listener.port, SocketAddr::new(self.bind, listener.port)))
            .collect()
    }

    /// The socket of each Service port, and whom to tell when it cannot be had.
    fn service_sockets(&self) -> BTreeMap<SocketAddr, ServiceSocket> {
        let per_address = match self.services {
            ServiceBind::Off => return BTreeMap::new(),
            ServiceBind::PerAddress => true,
            ServiceBind::Wildcard { .. } => false,
        };
        let everywhere = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        let sockets = addresses(&self.world).map(|(at, service)| {
            let ip = if per_address {
                at.address.ip()
            } else {
                everywhere
            };
            let detours = at.detours().filter(|_| per_address).collect();
            let service = Arc::clone(service);
            (
                SocketAddr::new(ip, at.address.port()),
                ServiceSocket { service, detours },
            )
        });
        sockets.collect()
    }

    /// Tells each Service once about an address of its that could not be bound.
    fn report(
        &mut self,
        services: &BTreeMap<SocketAddr, ServiceSocket>,
        detours: &BTreeMap<SocketAddr, Vec<SocketAddr>>,
        failures: &BTreeMap<SocketAddr, BindFailure>,
    ) {
        let mut still = HashSet::new();
        for (address, failure) in failures {
            let Some(socket) = services.get(address) else {
                continue;
            };
            // Of the cluster's own Services nobody can change the port, so nobody is told.
            if is_of_the_cluster(&socket.service) {
                continue;
            }
            let uid = socket.service.metadata.uid.clone().unwrap_or_default();
            if !self.told.contains(&(uid.clone(), *address)) {
                let (reason, message) =
                    trouble(*address, failure, detours.get(address).map(Vec::as_slice));
                self.events
                    .warning(&object_reference(&*socket.service), reason, message);
            }
            still.insert((uid, *address));
        }
        if self.services != ServiceBind::Off {
            self.report_unserved(&mut still);
        }
        self.told = still;
    }

    /// Tells each Ingress once what of it cannot be served.
    fn report_ingresses(&mut self, plan: &Plan) {
        let mut still = HashSet::new();
        for ingress in &plan.ingresses {
            let object = &*ingress.ingress;
            let uid = object.metadata.uid.clone().unwrap_or_default();
            for trouble in &ingress.troubles {
                let told = (uid.clone(), trouble.message.clone());
                if !self.told_ingresses.contains(&told) && !still.contains(&told) {
                    let about = object_reference(object);
                    self.events
                        .warning(&about, trouble.reason, trouble.message.clone());
                }
                still.insert(told);
            }
        }
        self.told_ingresses = still;
    }

    /// Tells each Service once about a port of its that is not TCP.
    fn report_unserved(&self, still: &mut HashSet<(String, SocketAddr)>) {
        for (address, service, protocol) in unserved(&self.world) {
            let uid = service.metadata.uid.clone().unwrap_or_default();
            if !self.told.contains(&(uid.clone(), address)) {
                let message = format!(
                    "port {}/{protocol} is not served here: only TCP is",
                    address.port()
                );
                let reference = object_reference(&**service);
                self.events
                    .warning(&reference, "ProtocolNotServed", message);
            }
            still.insert((uid, address));
        }
    }

    fn publish(
        &self,
        plan: &Plan,
        listeners: &BTreeMap<u16, SocketAddr>,
        failures: &BTreeMap<SocketAddr, BindFailure>,
    ) {
        let unbound = listeners
            .iter()
            .filter_map(|(port, address)| Some((*port, failures.get(address)?.message.clone())))
            .collect();
        let facts = Facts {
            addresses: &self.advertised,
            unbound: &unbound,
            now: self.context.now(),
        };
        self.wishes.send_replace(status::desired(plan, &facts));
    }
}

/// The Services that every cluster starts with.
fn is_of_the_cluster(service: &Service) -> bool {
    let key = key(service);
    key == "default/kubernetes" || key == "kube-system/kube-dns"
}

/// A socket that a Service asks for.
struct ServiceSocket {
    service: Arc<Service>,
    /// What to serve instead, where its own port needs privileges.
    detours: Vec<SocketAddr>,
}

/// For each address that an ordinary user may not bind, those that stand in for it.
fn detours(
    services: &BTreeMap<SocketAddr, ServiceSocket>,
    failures: &BTreeMap<SocketAddr, BindFailure>,
) -> BTreeMap<SocketAddr, Vec<SocketAddr>> {
    let refused = failures
        .iter()
        .filter(|(_, failure)| failure.kind == io::ErrorKind::PermissionDenied);
    refused
        .filter_map(|(address, _)| {
            let detours = &services.get(address)?.detours;
            (!detours.is_empty()).then(|| (*address, detours.clone()))
        })
        .collect()
}

/// Reason and message of the event about an address that could not be bound.
fn trouble(
    address: SocketAddr,
    failure: &BindFailure,
    detours: Option<&[SocketAddr]>,
) -> (&'static str, String) {
    if failure.kind != io::ErrorKind::PermissionDenied {
        return ("PortUnavailable", failure.message.clone());
    }
    let port = address.port();
    let instead = match detours.unwrap_or_default() {
        [] => "use a port of 1024 or more, or type NodePort".to_owned(),
        detours => {
            let detours: Vec<_> = detours.iter().map(ToString::to_string).collect();
            format!(
                "the Service is reached at {} instead",
                detours.join(" and ")
            )
        }
    };
    let message = format!(
        "this user may not open port {port} (ports below 1024 need privileges): {instead}. To \
         allow it: sudo sysctl net.ipv4.ip_unprivileged_port_start={port}"
    );
    ("PortNotPermitted", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> BindFailure {
        BindFailure {
            kind: io::ErrorKind::PermissionDenied,
            message: String::new(),
        }
    }

    #[test]
    fn a_privileged_port_is_served_on_the_node_port_of_the_same_address() {
        let address: SocketAddr = "127.3.128.1:80".parse().unwrap();
        let socket = |detours: &[&str]| ServiceSocket {
            service: Arc::default(),
            detours: detours.iter().map(|at| at.parse().unwrap()).collect(),
        };
        let failures = BTreeMap::from([(address, refused())]);

        let both = ["127.3.128.1:30080", "127.3.128.1:10080"];
        let with = detours(&BTreeMap::from([(address, socket(&both))]), &failures);
        assert_eq!(with[&address][0], "127.3.128.1:30080".parse().unwrap());
        let instead = with.get(&address).map(Vec::as_slice);
        let (reason, message) = trouble(address, &refused(), instead);
        assert_eq!(reason, "PortNotPermitted");
        assert!(
            message.contains("reached at 127.3.128.1:30080 and 127.3.128.1:10080 instead"),
            "{message}"
        );

        let without = detours(&BTreeMap::from([(address, socket(&[]))]), &failures);
        assert!(without.is_empty());
        assert!(
            trouble(address, &refused(), None)
                .1
                .contains("type NodePort")
        );
    }
}
