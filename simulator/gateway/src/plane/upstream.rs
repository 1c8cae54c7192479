//! Connections to endpoints, and one request over one of them.

use std::error::Error;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
use super::interim::Interim;
use super::replay::Kept;

/// An HTTP/2 connection to an endpoint, shared by its requests.
#[derive(Clone, Debug)]
pub(super) struct Http2 {
    sender: http2::SendRequest<RequestBody>,
    /// The endpoint has said that it takes no further request on it.
    leaving: Arc<AtomicBool>,
}

impl Http2 {
    /// True where it takes no further request.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.leaving.load(Ordering::Relaxed)
    }
}

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
    /// In the form of HTTP/2.
    Http2 { parts: Box<Parts>, body: Kept },
}

impl Sending {
    /// The request, in the form that the endpoints of a Service want it in.
    pub(super) fn new(parts: Parts, body: RequestBody, http2: bool) -> Self {
        if http2 {
            return Self::Http2 {
                parts: Box::new(in_http2_form(parts)),
                body: Kept::new(body),
            };
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
    /// The endpoint says that it did nothing with the request, so that it can go elsewhere.
    Refused(Box<dyn Error + Send + Sync>),
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
    interim: &Interim,
) -> Result<(response::Parts, Source), Failure> {
    match sending {
        Sending::Http1 {
            parts,
            upload,
            upgrade,
        } => send_http1(endpoint, parts, upload, *upgrade, interim).await,
        Sending::Http2 { parts, body } => {
            let response = send_http2(endpoint, parts, body).await?;
            body.let_go();
            let (parts, body) = response.into_parts();
            Ok((parts, Source::Http2(body)))
        }
    }
}

async fn send_http1(
    endpoint: &Arc<Endpoint>,
    parts: &Parts,
    upload: &mut Upload,
    upgrade: bool,
    interim: &Interim,
) -> Result<(response::Parts, Source), Failure> {
    let again = may_repeat(&parts.method, upload.has_no_body());
    while let Some(link) = endpoint.take_idle() {
        // A request that cannot be made again is worth a question to the kernel.
        if !again && !link.is_quiet_now() {
            continue;
        }
        match exchange(link, upload, &parts.method, upgrade, interim).await {
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
    match exchange(Link::new(stream), upload, &parts.method, upgrade, interim).await {
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

/// A shared connection may be about to end. What the endpoint then leaves undone goes to it
/// again, over a new connection.
async fn send_http2(
    endpoint: &Arc<Endpoint>,
    parts: &Parts,
    body: &Kept,
) -> Result<Response<Incoming>, Failure> {
    if let Some(shared) = endpoint.http2() {
        let tried = try_http2(endpoint, shared.clone(), parts, body).await;
        match tried {
            Err(Failure::NotSent(_) | Failure::Refused(_)) if shared.is_closed() => {}
            answered => return answered,
        }
    }
    let new = connect_http2(endpoint).await.map_err(Failure::NotSent)?;
    try_http2(endpoint, new, parts, body).await
}

/// The response must not be waited for alone. A connection that closes at the very moment in
/// which a request is handed to it can leave the request in a queue that nobody reads; only
/// giving up the connection empties the queue, and the request comes back. The end of a shared
/// connection is not told, so it has to be looked for.
async fn try_http2(
    endpoint: &Endpoint,
    connection: Http2,
    parts: &Parts,
    body: &Kept,
) -> Result<Response<Incoming>, Failure> {
    let again = may_repeat(&parts.method, body.is_empty());
    let Some(passage) = body.again() else {
        let source = "a part of the request's body is gone".into();
        return Err(Failure::Lost { again, source });
    };
    let request = Request::from_parts(parts.clone(), passage);
    let Http2 {
        mut sender,
        leaving,
    } = connection;
    let mut sending = pin!(sender.try_send_request(request));
    let sent = loop {
        tokio::select! {
            biased;
            sent = &mut sending => break sent,
            () = tokio::time::sleep(LOOK_AGAIN), if !sender.is_closed() => {}
            () = std::future::ready(()), if sender.is_closed() => {
                endpoint.forget_closed_http2();
                drop(sender);
                break sending.await;
            }
        }
    };
    sent.map_err(|error| {
        let failure = unanswered(error, again);
        if let Failure::Refused(source) = &failure
            && is_end_of_connection(&**source)
        {
            leaving.store(true, Ordering::Relaxed);
        }
        failure
    })
}

fn unanswered(mut error: TrySendError<Request<RequestBody>>, again: bool) -> Failure {
    let unsent = error.take_message().is_some();
    let source = error.into_error();
    if unsent {
        return Failure::NotSent(source.into());
    }
    if is_refusal(&source) {
        return Failure::Refused(source.into());
    }
    // A response that makes no sense would make no more sense the second time.
    let closed = !source.is_parse() && !source.is_user() && !source.is_timeout();
    Failure::Lost {
        again: again && closed,
        source: source.into(),
    }
}

/// True where the endpoint has promised that it did nothing with the request: it refused the
/// stream, or it closes the connection and the stream is beyond the last one that it looks at.
/// (Streams up to that one end in other ways.)
fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let refused =
        |error: &h2::Error| error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    cause(error).is_some_and(|cause| cause.is_remote() && (refused(cause) || cause.is_go_away()))
}

fn is_end_of_connection(error: &(dyn Error + 'static)) -> bool {
    cause(error).is_some_and(h2::Error::is_go_away)
}

/// What HTTP/2 itself says.
fn cause<'a>(mut error: &'a (dyn Error + 'static)) -> Option<&'a h2::Error> {
    loop {
        match error.downcast_ref() {
            Some(found) => return Some(found),
            None => error = error.source()?,
        }
    }
}

/// HTTP/2 has no Host header: the host is the authority of the URI.
fn in_http2_form(mut parts: Parts) -> Parts {
    let host = parts.headers.remove(header::HOST);
    let authority = host.and_then(|host| uri::Authority::try_from(host.as_bytes()).ok());
    let mut target = parts.uri.clone().into_parts();
    if authority.is_some() {
        target.authority = authority;
        target.scheme = Some(uri::Scheme::HTTP);
    }
    if let Ok(uri) = Uri::from_parts(target) {
        parts.uri = uri;
    }
    parts.version = Version::HTTP_2;
    parts
}

async fn connect_http2(endpoint: &Endpoint) -> Result<Http2, Box<dyn Error + Send + Sync>> {
    let stream = connect(endpoint).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "connection to an endpoint ended");
        }
    });
    let shared = Http2 {
        sender,
        leaving: Arc::default(),
    };
    endpoint.share_http2(shared.clone());
    Ok(shared)
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
