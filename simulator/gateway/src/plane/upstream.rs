//! Connections to endpoints, and one request over one of them.

use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Request, Response, Uri, Version, header, response, uri};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::body::{BodyError, RequestBody, Source};
use super::endpoint::Endpoint;
use super::http1::{Broken, Link, Upload, exchange};

/// An HTTP/2 connection to an endpoint, shared by its requests.
pub(super) type Http2 = http2::SendRequest<RequestBody>;

/// Longest wait for an endpoint to take a connection. On one machine it takes microseconds;
/// the limit is for a host that is gone and drops packets.
const CONNECT_TIME: Duration = Duration::from_secs(1);

/// How often a request on a shared connection looks whether there still is one.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A request that some endpoint will get.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one per request, mostly the large one, and it never moves"
)]
pub(super) enum Sending {
    /// In the form of HTTP/1.1.
    Http1 {
        parts: Parts,
        upload: Upload,
        /// It asks for a change of protocol.
        upgrade: bool,
    },
    /// In the form of HTTP/2; taken while it is on its way.
    Http2(Option<Box<Request<RequestBody>>>),
}

impl Sending {
    /// The request, in the form that the endpoints of a Service want it in.
    pub(super) fn new(parts: Parts, body: RequestBody, http2: bool) -> Self {
        if http2 {
            let request = in_http2_form(Request::from_parts(parts, body));
            return Self::Http2(Some(Box::new(request)));
        }
        Self::Http1 {
            upload: Upload::new(&parts, body),
            upgrade: parts.headers.contains_key(header::UPGRADE),
            parts,
        }
    }
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The endpoint got nothing; the request can go elsewhere.
    NotSent(Box<dyn Error + Send + Sync>),
    /// The endpoint got the request, or a part of it, and did not answer.
    Lost {
        /// Sending it twice does no harm.
        again: bool,
        source: Box<dyn Error + Send + Sync>,
    },
    /// The client's side broke off.
    Client(BodyError),
}

/// Sends a request, over a kept connection where there is one. A kept connection may have been
/// closed by the other side in the meantime: what was not sent, or may be sent twice, is then
/// sent again over a new one.
pub(super) async fn send(
    endpoint: &Arc<Endpoint>,
    sending: &mut Sending,
) -> Result<(response::Parts, Source), Failure> {
    match sending {
        Sending::Http1 {
            parts,
            upload,
            upgrade,
        } => send_http1(endpoint, parts, upload, *upgrade).await,
        Sending::Http2(request) => {
            let sent = request.take().expect("it came back with the last failure");
            let (response, unsent) = send_http2(endpoint, *sent).await;
            *request = unsent.map(Box::new);
            let (parts, body) = response?.into_parts();
            Ok((parts, Source::Http2(body)))
        }
    }
}

async fn send_http1(
    endpoint: &Arc<Endpoint>,
    parts: &Parts,
    upload: &mut Upload,
    upgrade: bool,
) -> Result<(response::Parts, Source), Failure> {
    let again = may_repeat(&parts.method, upload.has_no_body());
    while let Some(link) = endpoint.take_idle() {
        // A request that cannot be made again is worth a question to the kernel.
        if !again && !link.is_quiet_now() {
            continue;
        }
        match exchange(link, upload, &parts.method, upgrade).await {
            Ok((response, download)) => return Ok((response, Source::Http1(download))),
            Err(Broken::Endpoint(_)) if upload.is_unsent() => {}
            Err(Broken::Endpoint(_)) if again => {
                *upload = Upload::new(parts, RequestBody::Empty);
                break;
            }
            Err(broken) => return Err(failure(broken, parts, upload, again)),
        }
    }
    let stream = connect(endpoint)
        .await
        .map_err(|error| Failure::NotSent(error.into()))?;
    match exchange(Link::new(stream), upload, &parts.method, upgrade).await {
        Ok((response, download)) => Ok((response, Source::Http1(download))),
        Err(broken) => Err(failure(broken, parts, upload, again)),
    }
}

fn failure(broken: Broken, parts: &Parts, upload: &mut Upload, again: bool) -> Failure {
    match broken {
        Broken::Client(error) => Failure::Client(error),
        Broken::Endpoint(error) if upload.is_unsent() => Failure::NotSent(error.into()),
        Broken::Endpoint(error) => {
            if again {
                *upload = Upload::new(parts, RequestBody::Empty);
            }
            Failure::Lost {
                again,
                source: error.into(),
            }
        }
        // It would make no more sense the second time.
        Broken::Nonsense(words) => Failure::Lost {
            again: false,
            source: words.into(),
        },
    }
}

/// The response, and the request where it can still be used.
async fn send_http2(
    endpoint: &Arc<Endpoint>,
    request: Request<RequestBody>,
) -> (
    Result<Response<Incoming>, Failure>,
    Option<Request<RequestBody>>,
) {
    let connection = match endpoint.http2() {
        Some(connection) => connection,
        None => match connect_http2(endpoint).await {
            Ok(connection) => connection,
            Err(source) => return (Err(Failure::NotSent(source)), Some(request)),
        },
    };
    try_http2(endpoint, connection, request).await
}

/// The response must not be waited for alone. A connection that closes at the very moment in
/// which a request is handed to it can leave the request in a queue that nobody reads; only
/// giving up the connection empties the queue, and the request comes back. The end of a shared
/// connection is not told, so it has to be looked for.
async fn try_http2(
    endpoint: &Endpoint,
    mut connection: Http2,
    request: Request<RequestBody>,
) -> (
    Result<Response<Incoming>, Failure>,
    Option<Request<RequestBody>>,
) {
    let again = may_repeat(request.method(), request.body().is_empty());
    let copy = again.then(|| copy_of(&request));
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
        Ok(response) => (Ok(response), None),
        Err(error) => unanswered(error, copy),
    }
}

fn unanswered(
    mut error: TrySendError<Request<RequestBody>>,
    copy: Option<Request<RequestBody>>,
) -> (
    Result<Response<Incoming>, Failure>,
    Option<Request<RequestBody>>,
) {
    if let Some(unsent) = error.take_message() {
        let source = error.into_error().into();
        return (Err(Failure::NotSent(source)), Some(unsent));
    }
    let source = error.into_error();
    // A response that makes no sense would make no more sense the second time.
    let closed = !source.is_parse() && !source.is_user() && !source.is_timeout();
    let copy = copy.filter(|_| closed);
    let failure = Failure::Lost {
        again: copy.is_some(),
        source: source.into(),
    };
    (Err(failure), copy)
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
pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let opening = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(endpoint.address)).await;
    let opened = opening.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
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
fn may_repeat(method: &Method, no_body: bool) -> bool {
    method.is_idempotent() && *method != Method::CONNECT && no_body
}

fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy
}
