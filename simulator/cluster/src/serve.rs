//! Serving a router: TLS, bearer tokens, graceful ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::pki::Pki;

/// How long a client may take over the TLS handshake: a silent one must not hold a place for ever.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// The TLS side of a listener.
///
/// # Errors
/// Where the certificate or key cannot be read.
pub fn tls(pki: &Pki) -> anyhow::Result<TlsAcceptor> {
    let certificate = CertificateDer::from_pem_slice(pki.certificate_pem.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(pki.key_pem.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    // Upgrades (exec, port-forward) need HTTP/1.1, and kubectl asks for nothing else.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Lets only requests with one of these bearer tokens through; health checks need none.
pub fn require_token(router: Router, tokens: Vec<String>) -> Router {
    let tokens: Arc<[String]> = tokens.into();
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let given = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = given.and_then(|value| value.strip_prefix("Bearer "));
        let allowed = token.is_some_and(|token| tokens.iter().any(|known| same(known, token)))
            || matches!(
                request.uri().path(),
                "/healthz" | "/livez" | "/readyz" | "/version"
            );
        async move {
            if allowed {
                next.run(request).await
            } else {
                unauthorized()
            }
        }
    }))
}

/// Compares without telling by its duration how much of a guess was right.
fn same(known: &str, given: &str) -> bool {
    known.len() == given.len()
        && known
            .bytes()
            .zip(given.bytes())
            .fold(0, |diff, (a, b)| diff | (a ^ b))
            == 0
}

fn unauthorized() -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Unauthorized", "reason": "Unauthorized", "code": 401,
    });
    (StatusCode::UNAUTHORIZED, axum::Json(status)).into_response()
}

/// Serves `router` over TLS until the stop signal.
pub async fn serve_tls(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    router: Router,
    stop: CancellationToken,
) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.map(|(stream, _)| stream),
            () = stop.cancelled() => return,
        };
        match stream {
            Ok(stream) => {
                let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        served = connection(stream, acceptor, router) => {
                            if let Err(error) = served {
                                tracing::trace!(%error, "connection ended");
                            }
                        }
                        () = stop.cancelled() => {}
                    }
                });
            }
            // Out of file descriptors, most likely: let some connections end first.
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream))
        .await
        .map_err(io::Error::other)??;
    let service = TowerToHyperService::new(router);
    Builder::new(TokioExecutor::new())
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
}
