//! Services as plain TCP: whatever the application speaks.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::forward::Search;
use super::{Plane, Stop, tunnel, upstream};
use crate::table::Target;

/// Joins a client's connection with an endpoint that takes it. Where none does, the connection
/// is reset, as kube-proxy refuses it: a client that saw it end politely would wait for nothing.
pub(super) async fn serve(plane: &Plane, target: &Arc<Target>, client: TcpStream, stop: &Stop) {
    let Ok(peer) = client.peer_addr() else {
        return;
    };
    let mut search = Search::for_client(plane, target, peer.ip().to_canonical());
    while let Some(endpoint) = search.next() {
        let _in_flight = endpoint.begin();
        match upstream::connect(&endpoint).await {
            Ok(backend) => {
                tunnel::carry(client, backend, stop).await;
                return;
            }
            Err(error) => {
                let (service, address) = (&target.name, endpoint.address);
                tracing::debug!(%service, endpoint = %address, %error, "connection not taken");
            }
        }
    }
    if let Err(error) = client.set_zero_linger() {
        tracing::trace!(%error, "connection not reset");
    }
}
