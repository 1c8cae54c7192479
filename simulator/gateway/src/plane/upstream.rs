//! Connections to endpoints.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, Uri, Version, header, uri};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::body::RequestBody;
use super::endpoint::Endpoint;

/// An HTTP/1.1 connection to an endpoint, for one request at a time.
pub(super) type Http1 = http1::SendRequest<RequestBody>;
/// An HTTP/2 connection to an endpoint, shared by its requests.
pub(super) type Http2 = http2::SendRequest<RequestBody>;

/// Longest wait for an endpoint to take a connection. On one machine it takes microseconds;
/// the limit is for a host that is gone and drops packets.
const CONNECT_TIME: Duration = Duration::from_secs(1);

/// How often a request on a shared connection looks whether there still is one.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a response still holds of the connection it came on.
#[derive(Debug)]
pub(super) enum Lease {
    /// The connection is free again after the response. `at_once` where the request had no
    /// body, so that nothing else can keep the connection busy.
    Http1 { connection: Http1, at_once: bool },
    /// The connection is shared, or at its end.
    Nothing,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The endpoint got nothing; the request can go elsewhere.
    NotSent {
        request: Box<Request<RequestBody>>,
        source: Box<dyn Error + Send + Sync>,
    },
    /// The endpoint got the request, or a part of it, and did not answer. Where sending it
    /// twice does no harm, there is a copy.
    Lost {
        copy: Option<Box<Request<RequestBody>>>,
        source: hyper::Error,
    },
}

/// Sends a request, over a kept connection where there is one. A kept connection may have been
/// closed by the other side in the meantime: what was not sent, or may be sent twice, is then
/// sent again over a new one.
pub(super) async fn send(
    endpoint: &Arc<Endpoint>,
    http2: bool,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), Failure> {
    if http2 {
        send_http2(endpoint, request).await
    } else {
        send_http1(endpoint, request).await
    }
}

async fn send_http1(
    endpoint: &Arc<Endpoint>,
    mut request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), Failure> {
    while let Some(mut connection) = endpoint.take_idle() {
        if connection.ready().await.is_err() {
            continue;
        }
        match try_http1(connection, request).await {
            Err(Failure::NotSent {
                request: unsent, ..
            }) => request = *unsent,
            Err(Failure::Lost {
                copy: Some(copy), ..
            }) => {
                request = *copy;
                break;
            }
            answered => return answered,
        }
    }
    match connect_http1(endpoint).await {
        Ok(connection) => try_http1(connection, request).await,
        Err(source) => Err(not_sent(request, source)),
    }
}

/// Sends a request over one connection.
///
/// The response must not be waited for alone. A connection that closes at the very moment in
/// which a request is handed to it can leave the request in a queue that nobody reads; only
/// giving up the connection empties the queue, and the request comes back.
async fn try_http1(
    mut connection: Http1,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), Failure> {
    let at_once = request.body().is_empty();
    let copy = may_repeat(&request).then(|| copy_of(&request));
    let mut sending = pin!(connection.try_send_request(request));
    let sent = tokio::select! {
        biased;
        sent = &mut sending => Some(sent),
        () = closed(&mut connection) => None,
    };
    let (sent, lease) = match sent {
        Some(sent) => (
            sent,
            Lease::Http1 {
                connection,
                at_once,
            },
        ),
        None => {
            drop(connection);
            (sending.await, Lease::Nothing)
        }
    };
    match sent {
        Ok(response) => Ok((response, lease)),
        Err(error) => Err(unanswered(error, copy)),
    }
}

/// Waits for the end of a connection.
async fn closed(connection: &mut Http1) {
    if connection.ready().await.is_ok() {
        std::future::pending().await
    }
}

fn not_sent(request: Request<RequestBody>, source: Box<dyn Error + Send + Sync>) -> Failure {
    let request = Box::new(request);
    Failure::NotSent { request, source }
}

fn unanswered(
    mut error: TrySendError<Request<RequestBody>>,
    copy: Option<Request<RequestBody>>,
) -> Failure {
    match error.take_message() {
        Some(unsent) => not_sent(unsent, error.into_error().into()),
        None => {
            let source = error.into_error();
            let copy = copy.filter(|_| is_closed(&source)).map(Box::new);
            Failure::Lost { copy, source }
        }
    }
}

async fn send_http2(
    endpoint: &Arc<Endpoint>,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), Failure> {
    let request = in_http2_form(request);
    let connection = match endpoint.http2() {
        Some(connection) => connection,
        None => match connect_http2(endpoint).await {
            Ok(connection) => connection,
            Err(source) => return Err(not_sent(request, source)),
        },
    };
    try_http2(endpoint, connection, request).await
}

/// As [`try_http1`]; but the end of a shared connection is not told, so it has to be looked for.
async fn try_http2(
    endpoint: &Endpoint,
    mut connection: Http2,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), Failure> {
    let copy = may_repeat(&request).then(|| copy_of(&request));
    let mut sending = pin!(connection.try_send_request(request));
    let sent = loop {
        tokio::select! {
            biased;
            sent = &mut sending => break sent,
            () = tokio::time::sleep(LOOK_AGAIN), if !connection.is_closed() => {}
            () = std::future::ready(()), if connection.is_closed() => {
                endpoint.forget_closed_http2();
                drop(connection);
                break sending.await;
            }
        }
    };
    match sent {
        Ok(response) => Ok((response, Lease::Nothing)),
        Err(error) => Err(unanswered(error, copy)),
    }
}

/// HTTP/2 has no Host header: the host is the authority of the URI.
fn in_http2_form(mut request: Request<RequestBody>) -> Request<RequestBody> {
    let host = request.headers_mut().remove(header::HOST);
    let authority = host.and_then(|host| uri::Authority::try_from(host.as_bytes()).ok());
    let mut parts = request.uri().clone().into_parts();
    if authority.is_some() {
        parts.authority = authority;
        parts.scheme = Some(uri::Scheme::HTTP);
    }
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
    request
}

async fn connect_http1(endpoint: &Endpoint) -> Result<Http1, Box<dyn Error + Send + Sync>> {
    let stream = connect(endpoint).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "connection to an endpoint ended");
        }
    });
    Ok(sender)
}

async fn connect_http2(endpoint: &Endpoint) -> Result<Http2, Box<dyn Error + Send + Sync>> {
    let stream = connect(endpoint).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "connection to an endpoint ended");
        }
    });
    endpoint.share_http2(sender.clone());
    Ok(sender)
}

/// Opens a connection. An endpoint that does not take it is ejected.
pub(super) async fn connect(endpoint: &Endpoint) -> std::io::Result<TcpStream> {
    let opening = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(endpoint.address)).await;
    let opened = opening.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    match opened {
        Ok(stream) => {
            endpoint.admit();
            stream.set_nodelay(true).map(|()| stream)
        }
        Err(error) => {
            endpoint.eject();
            Err(error)
        }
    }
}

/// Sending it twice has the effect of sending it once.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2>
fn may_repeat(request: &Request<RequestBody>) -> bool {
    request.method().is_idempotent()
        && request.method() != Method::CONNECT
        && request.body().is_empty()
}

fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy
}

/// The connection ended before any part of a response, as opposed to a response that makes no
/// sense, which would make no more sense the second time.
fn is_closed(error: &hyper::Error) -> bool {
    !error.is_parse() && !error.is_user() && !error.is_timeout()
}
