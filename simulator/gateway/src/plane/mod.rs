//! The data plane: sockets, HTTP and TCP. It knows the [`Table`] and nothing of the API.
//!
//! Connections are independent tasks that share only the table and atomics, so that a runtime
//! per core with its own sockets can replace the shared one later.

mod answer;
mod body;
mod connection;
mod endpoint;
mod forward;
mod headers;
mod http;
mod sockets;
mod tcp;
mod tunnel;
mod upstream;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use endpoint::{Endpoint, EndpointSet};
pub(crate) use sockets::{BindFailure, Sockets};

use crate::config::ServiceBind;
use crate::metrics::Metrics;
use crate::table::Table;

/// What every connection shares.
#[derive(Debug)]
pub(crate) struct Plane {
    /// Swapped as a whole; a request keeps the part that it was routed with.
    pub(crate) table: ArcSwap<Table>,
    pub(crate) metrics: Arc<Metrics>,
    services: ServiceBind,
    drain: Duration,
    connections: TaskTracker,
}

impl Plane {
    /// A data plane with an empty table.
    pub(crate) fn new(metrics: Arc<Metrics>, services: ServiceBind, drain: Duration) -> Arc<Self> {
        Arc::new(Self {
            table: ArcSwap::default(),
            metrics,
            services,
            drain,
            connections: TaskTracker::new(),
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
