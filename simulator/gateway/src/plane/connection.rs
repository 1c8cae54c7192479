//! Accepting connections, and finding out what each is for.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::http::{Client, serve};
use super::{Plane, Stop, headers, tcp};

/// Time for a request's headers to arrive, which is also the time that a connection may stay
/// idle between requests. As nginx has it by default.
const HEADER_TIME: Duration = Duration::from_secs(60);

/// Largest head of a request, in bytes: the 32 KiB of nginx's large buffers. A larger one is
/// answered 431.
const HEADER_BYTES: usize = 32 * 1024;

/// HTTP/2 streams that one client may have open, as nginx has it by default.
const STREAMS: u32 = 128;

/// Time for a TLS handshake: a silent client must not hold a place for ever.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Pause after a failed accept. Out of file descriptors, for one, takes a moment to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until `stop` closes; then gives the open ones their time.
pub(super) async fn accept(plane: Arc<Plane>, listener: TcpListener, stop: Stop) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = dispatch(Arc::clone(&plane), stream, peer, stop.clone());
                plane.connections.spawn(connection);
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
        tokio::select! {
            () = tcp::serve(&plane, &target, stream, &stop) => {}
            () = stop.closed.cancelled() => {}
        }
    } else if !plane.services.owns(local.ip()) {
        let tls = plane.table.load().tls(local.port()).cloned();
        let client = Client {
            address: headers::client_value(peer.ip().to_canonical()),
            port: local.port(),
            secure: tls.is_some(),
            stop,
        };
        match tls {
            None => serve_http(plane, stream, client).await,
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
        Ok(Ok(stream)) => serve_http(plane, stream, client).await,
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

async fn serve_http<S>(plane: Arc<Plane>, stream: S, client: Client)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stop = client.stop.clone();
    let client = Arc::new(client);
    let service = service_fn(move |request| {
        let (plane, client) = (Arc::clone(&plane), Arc::clone(&client));
        async move { Ok::<_, Infallible>(serve(&plane, &client, request).await) }
    });
    let builder = builder();
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = stop.closed.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "client connection ended");
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(HEADER_BYTES).expect("the limit is small"))
        .max_concurrent_streams(STREAMS);
    builder
}
