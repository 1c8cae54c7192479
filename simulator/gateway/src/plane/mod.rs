//! The data plane: sockets, HTTP and TCP. It knows the [`Table`] and nothing of the API.
//!
//! ```text
//!  sockets ─▶ connection ─▶ workers: one thread per core, each with its own runtime
//!                 ├─ tcp                                          a Service's address
//!                 └─ http1 │ http2 ─▶ http ─▶ forward ─▶ upstream  a listener
//!                                     route    endpoints   one request, one connection
//! ```
//!
//! Connections are independent tasks that share only the table and atomics. A task carries a
//! request from its first byte to the last of its response on one thread; idle connections to
//! endpoints belong to the thread that opened them.

mod answer;
mod body;
mod clock;
mod connection;
mod endpoint;
mod forward;
mod headers;
mod http;
mod http1;
mod http2;
mod interim;
mod io;
mod mirror;
mod patience;
mod replay;
mod sockets;
mod tcp;
mod tunnel;
mod upstream;
mod workers;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use lab_context::Context;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use endpoint::{Endpoint, EndpointSet};
pub(crate) use sockets::{BindFailure, Sockets};

use crate::config::{GatewayConfig, ServiceBind};
use crate::metrics::Metrics;
use crate::table::Table;

/// Time for a request's head or for the next part of a body to come, for a response to be
/// taken, and for a connection to stay idle between requests. As nginx has it, nearly.
const WAIT: Duration = Duration::from_secs(60);

/// Largest head of a request, in bytes: the 32 KiB of nginx's large buffers. A larger one is
/// answered 431.
const HEAD_BYTES: usize = 32 * 1024;

/// What every connection shares.
#[derive(Debug)]
pub(crate) struct Plane {
    /// Swapped as a whole; a request keeps the part that it was routed with.
    pub(crate) table: ArcSwap<Table>,
    pub(crate) metrics: Arc<Metrics>,
    context: Context,
    limits: Limits,
    services: ServiceBind,
    drain: Duration,
    workers: workers::Workers,
    connections: TaskTracker,
    /// Copies of requests that may still be begun.
    copies: Arc<Semaphore>,
    /// For what outlives the request that it is made for.
    this: Weak<Self>,
}

/// What a client may ask of us at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a request's head.
    pub(crate) head: usize,
    /// Bytes of a request's body; gRPC excepted.
    pub(crate) body: u64,
    /// Longest wait for a client.
    pub(crate) wait: Duration,
}

impl Plane {
    /// A data plane with an empty table.
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        context: Context,
        config: &GatewayConfig,
    ) -> Arc<Self> {
        let limits = Limits {
            head: HEAD_BYTES,
            body: config.max_body_bytes,
            wait: WAIT,
        };
        Self::with_limits(metrics, context, config, limits)
    }

    /// Prometheus text.
    pub(crate) fn metrics_text(&self) -> String {
        let table = self.table.load();
        self.metrics.render(&table, self.connections.len())
    }

    fn with_limits(
        metrics: Arc<Metrics>,
        context: Context,
        config: &GatewayConfig,
        limits: Limits,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            table: ArcSwap::default(),
            metrics,
            context,
            limits,
            services: config.services,
            drain: config.drain,
            workers: workers::Workers::new(config.threads),
            connections: TaskTracker::new(),
            copies: mirror::places(),
            this: Weak::clone(this),
        })
    }
}

/// How a socket and its connections end: first no new request, then nothing at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    /// No new connection, and no further request on a connection.
    closing: CancellationToken,
    /// What is still open ends now.
    closed: CancellationToken,
}

impl Stop {
    /// One that ends with this one, and that others do not look at.
    fn child(&self) -> Self {
        Self {
            closing: self.closing.child_token(),
            closed: self.closed.child_token(),
        }
    }
}
