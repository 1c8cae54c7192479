//! Accepting connections, and finding out what each is for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::http::Client;
use super::io::Io;
use super::{Plane, Stop, headers, http1, tcp};

/// Time for a TLS handshake: a silent client must not hold a place for ever.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Pause after a failed accept. Out of file descriptors, for one, takes a moment to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until `stop` closes; then gives the open ones their time.
pub(super) async fn accept(plane: Arc<Plane>, listener: TcpListener, stop: Stop) {
    // Each thread has a token of its own to look at, so that none waits for another's.
    let stops: Arc<[Stop]> = (0..plane.workers.count()).map(|_| stop.child()).collect();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (shared, stops) = (Arc::clone(&plane), Arc::clone(&stops));
                plane
                    .workers
                    .serve(&plane.connections, stream, move |worker, stream| {
                        let stop = stops[worker].clone();
                        let cut = stop.closed.clone();
                        async move {
                            let serving = dispatch(shared, stream, peer, stop);
                            cut.run_until_cancelled(serving).await;
                        }
                    });
            }
            Err(error) => {
                tracing::debug!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    tokio::time::sleep(plane.drain).await;
    stop.closed.cancel();
}

/// A connection to a Service's address is plain TCP; any other is HTTP to a listener.
async fn dispatch(plane: Arc<Plane>, stream: TcpStream, peer: SocketAddr, stop: Stop) {
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    if let Err(error) = stream.set_nodelay(true) {
        tracing::trace!(%error, "TCP_NODELAY not set");
    }
    let service = plane.table.load().service(local).cloned();
    if let Some(target) = service {
        tcp::serve(&plane, &target, stream, &stop).await;
    } else if !plane.services.owns(local.ip()) {
        let tls = plane.table.load().tls(local.port()).cloned();
        let client = Client {
            address: headers::client_value(peer.ip().to_canonical()),
            port: local.port(),
            secure: tls.is_some(),
            stop,
        };
        match tls {
            None => http1::serve(plane, Io::Tcp(stream), Arc::new(client)).await,
            Some(tls) => serve_https(plane, stream, client, Arc::clone(tls.config())).await,
        }
    }
}

async fn serve_https(
    plane: Arc<Plane>,
    stream: TcpStream,
    client: Client,
    config: Arc<ServerConfig>,
) {
    let shaking = tokio::time::timeout(HANDSHAKE_TIME, TlsAcceptor::from(config).accept(stream));
    let shaken = tokio::select! {
        biased;
        () = client.stop.closing.cancelled() => return,
        shaken = shaking => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => {
            http1::serve(plane, Io::Layered(Box::new(stream)), Arc::new(client)).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}
