//! Clients that speak HTTP/2. hyper and h2 read the frames; they bound floods of resets, of
//! settings and of continuations, and refuse what RFC 9113 calls malformed.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;

use super::Plane;
use super::body::RequestBody;
use super::http::{Client, serve as answer};
use super::http1::Reader;
use super::interim::Interim;
use super::io::Shared;

/// Streams that one client may have open, as nginx has it by default.
const STREAMS: u32 = 128;

/// Streams that a client may open and reset before we look at them; beyond it the connection
/// ends (CVE-2023-44487).
const RESETS: usize = 20;

/// A client that does not answer a ping in this time is gone.
const PING_TIME: Duration = Duration::from_secs(20);

/// Serves a connection to its end.
pub(super) async fn serve(plane: Arc<Plane>, reader: Reader<Shared>, client: Arc<Client>) {
    let begun = Arc::new(AtomicU64::new(0));
    let stop = client.stop.clone();
    let wait = plane.limits.wait;
    let builder = builder(&plane);
    let count = Arc::clone(&begun);
    let service = service_fn(move |request: Request<Incoming>| {
        count.fetch_add(1, Ordering::Relaxed);
        let (plane, client) = (Arc::clone(&plane), Arc::clone(&client));
        async move {
            let started = Instant::now();
            let (parts, body) = request.into_parts();
            let body = RequestBody::of_stream(body, plane.limits.body);
            Ok::<_, Infallible>(answer(&plane, &client, started, parts, body, &Interim::None).await)
        }
    });
    let connection = builder.serve_connection(TokioIo::new(reader), service);
    tokio::pin!(connection);
    let ended = loop {
        let before = begun.load(Ordering::Relaxed);
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = stop.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                break connection.await;
            }
            () = tokio::time::sleep(wait) => {}
        }
        // Streams that are open go on; without any the connection ends.
        if begun.load(Ordering::Relaxed) == before {
            connection.as_mut().graceful_shutdown();
            break connection.await;
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "client connection ended");
    }
}

fn builder(plane: &Plane) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(plane.limits.head).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .keep_alive_interval(plane.limits.wait)
        .keep_alive_timeout(PING_TIME);
    builder
}
