//! The sockets that the configuration asks for. They come and go one by one: a change leaves
//! the others, and their connections, alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio_util::task::AbortOnDropHandle;

use super::{Plane, Stop, connection};

/// Connections that wait to be accepted, per socket; the kernel's own limit is usually 4096.
const BACKLOG: u32 = 1024;

/// Room beyond the drain time for connections to notice that it is over.
const SLACK: Duration = Duration::from_secs(1);

/// Why an address could not be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BindFailure {
    pub(crate) kind: io::ErrorKind,
    /// Cause and next step.
    pub(crate) message: String,
}

/// How often idle connections to endpoints are looked over.
const SWEEP: Duration = Duration::from_secs(10);

/// The open sockets of a data plane.
#[derive(Debug)]
pub(crate) struct Sockets {
    plane: Arc<Plane>,
    open: HashMap<SocketAddr, Stop>,
    _sweeper: AbortOnDropHandle<()>,
}

impl Sockets {
    /// No sockets yet.
    pub(crate) fn new(plane: Arc<Plane>) -> Self {
        Self {
            _sweeper: AbortOnDropHandle::new(tokio::spawn(sweep(Arc::clone(&plane)))),
            plane,
            open: HashMap::new(),
        }
    }

    /// Opens what is missing, closes what is no longer wanted, and tells which addresses could
    /// not be bound. To try those again, call it again.
    pub(crate) fn sync(
        &mut self,
        wanted: &BTreeSet<SocketAddr>,
    ) -> BTreeMap<SocketAddr, BindFailure> {
        self.open.retain(|address, stop| {
            let keep = wanted.contains(address);
            if !keep {
                stop.closing.cancel();
            }
            keep
        });
        let mut failures = BTreeMap::new();
        for &address in wanted {
            if self.open.contains_key(&address) {
                continue;
            }
            match bind(address) {
                Ok(listener) => self.add(address, listener),
                Err(error) => {
                    failures.insert(address, explain(address, &error));
                }
            }
        }
        failures
    }

    /// Takes a socket that is already bound.
    pub(crate) fn add(&mut self, address: SocketAddr, listener: TcpListener) {
        let stop = Stop::default();
        tokio::spawn(connection::accept(
            Arc::clone(&self.plane),
            listener,
            stop.clone(),
        ));
        self.open.insert(address, stop);
    }

    /// Closes everything; requests in flight have the drain time to finish.
    pub(crate) async fn close(self) {
        for stop in self.open.values() {
            stop.closing.cancel();
        }
        let connections = &self.plane.connections;
        connections.close();
        if tokio::time::timeout(self.plane.drain + SLACK, connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                open = connections.len(),
                "connections cut at the end of the drain time"
            );
        }
    }
}

async fn sweep(plane: Arc<Plane>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        for endpoint in plane.table.load_full().endpoints() {
            endpoint.sweep();
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // A restart must not wait for connections of the last run to be forgotten by the kernel.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn explain(address: SocketAddr, error: &io::Error) -> BindFailure {
    let kind = error.kind();
    let message = match kind {
        io::ErrorKind::AddrInUse => format!(
            "{address} is taken by another program; stop it (ss -ltnp shows it) or choose another port"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "{address} cannot be bound without privileges, as its port is below 1024; choose a higher port"
        ),
        io::ErrorKind::AddrNotAvailable => format!("{address} is no address of this machine"),
        _ => format!("{address} cannot be bound: {error}"),
    };
    BindFailure { kind, message }
}
