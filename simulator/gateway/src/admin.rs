//! Metrics and the table, for scrapers and for `status`.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::plane::Plane;

/// Serves `/metrics`, `/table` and `/healthz` until `stop`.
pub(crate) async fn start(
    address: SocketAddr,
    plane: Arc<Plane>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = accept(listener, plane) => {}
        }
    });
    Ok(())
}

async fn accept(listener: TcpListener, plane: Arc<Plane>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let plane = Arc::clone(&plane);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(&plane, &request);
                async { Ok::<_, Infallible>(response) }
            });
            let mut builder = http1::Builder::new();
            let connection = builder
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::trace!(%error, "admin connection ended");
            }
        });
    }
}

fn answer(plane: &Plane, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, type_, text) = match request.uri().path() {
        "/healthz" => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        "/metrics" => (
            StatusCode::OK,
            "text/plain; version=0.0.4",
            plane.metrics_text(),
        ),
        "/table" => (
            StatusCode::OK,
            "application/json",
            plane.table.load().describe().to_string(),
        ),
        _ => {
            let text = "404 there is /metrics, /table and /healthz\n".to_owned();
            (StatusCode::NOT_FOUND, "text/plain", text)
        }
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(type_));
    response
}
