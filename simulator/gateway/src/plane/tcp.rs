//! Services as plain TCP: whatever the application speaks.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::forward::newer;
use super::{Plane, Stop, tunnel, upstream};
use crate::table::Target;

/// Joins a client's connection with an endpoint that takes it. Where none does, the connection
/// is reset, as kube-proxy refuses it: a client that saw it end politely would wait for nothing.
pub(super) async fn serve(plane: &Plane, mut target: Arc<Target>, client: TcpStream, stop: &Stop) {
    let mut tried: Vec<SocketAddr> = Vec::new();
    loop {
        let Some(endpoint) = target.endpoints.pick(&tried) else {
            match newer(plane, &target) {
                Some(newest) => target = newest,
                None => break,
            }
            continue;
        };
        let _in_flight = endpoint.begin();
        match upstream::connect(&endpoint).await {
            Ok(backend) => {
                tunnel::carry(client, backend, stop).await;
                return;
            }
            Err(error) => {
                let (service, address) = (&target.name, endpoint.address);
                tracing::debug!(%service, endpoint = %address, %error, "connection not taken");
                tried.push(address);
            }
        }
    }
    if let Err(error) = client.set_zero_linger() {
        tracing::trace!(%error, "connection not reset");
    }
}
