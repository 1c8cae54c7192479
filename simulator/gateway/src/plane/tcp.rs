//! Services as plain TCP: whatever the application speaks.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::{Stop, tunnel, upstream};
use crate::table::Target;

/// Joins a client's connection with an endpoint that takes it. Where none does, the connection
/// is reset, as kube-proxy refuses it: a client that saw it end politely would wait for nothing.
pub(super) async fn serve(target: &Arc<Target>, client: TcpStream, stop: &Stop) {
    let mut tried: Vec<SocketAddr> = Vec::new();
    while let Some(endpoint) = target.endpoints.pick(&tried) {
        let _in_flight = endpoint.begin();
        match upstream::connect(&endpoint).await {
            Ok(backend) => {
                tunnel::carry(client, backend, stop).await;
                return;
            }
            Err(error) => {
                tracing::debug!(service = %target.name, endpoint = %endpoint.address, %error, "not taken");
                tried.push(endpoint.address);
            }
        }
    }
    if let Err(error) = client.set_zero_linger() {
        tracing::trace!(%error, "connection not reset");
    }
}
