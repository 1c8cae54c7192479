//! HTTP/1.1 as one user speaks it, over one connection.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, COOKIE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::cookies::Cookies;
use super::user::Transport;
use crate::outcome::{Backend, Cause, Reply};
use crate::plan::Plan;

/// Who answered: the sample apps' runtime says so in these headers.
const POD: &str = "x-devops-lab-pod";
const VERSION: &str = "x-devops-lab-version";
/// The load balancer answered by itself, and why.
const GATEWAY: &str = "x-devops-lab-gateway";
/// Bytes of a failure's body that are quoted.
const QUOTED: usize = 200;
/// Longest version or pod that is kept, in bytes.
const NAME: usize = 128;
/// A connection that was idle for longer may be about to be closed by the other side, so it is
/// not used again: what fails then would tell of the pause and not of the service.
const IDLE: Duration = Duration::from_secs(20);

type Sender = SendRequest<Empty<Bytes>>;

/// One user's side of the conversation.
pub(super) struct HttpUser {
    plan: Arc<Plan>,
    method: Method,
    headers: HeaderMap,
    cookies: Cookies,
    kept: Option<(Sender, Instant)>,
}

impl HttpUser {
    /// A user without a connection; the plan has been checked.
    pub(super) fn new(plan: &Arc<Plan>, number: u32) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("devops-lab-traffic/", env!("CARGO_PKG_VERSION"))),
        );
        let host = plan.host.as_ref().unwrap_or(&plan.target.authority);
        if let Ok(host) = HeaderValue::from_str(host) {
            headers.insert(HOST, host);
        }
        if !plan.keep_alive {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        for (name, value) in &plan.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                headers.append(name, value);
            }
        }
        Self {
            plan: Arc::clone(plan),
            method: Method::from_bytes(plan.method.as_bytes()).unwrap_or(Method::GET),
            headers,
            cookies: Cookies::of_user(number),
            kept: None,
        }
    }

    fn request(&self, number: u64) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        if let Ok(uri) = self.plan.path(number).parse() {
            *request.uri_mut() = uri;
        }
        request.headers_mut().clone_from(&self.headers);
        if let Some(cookies) = self.cookies.header() {
            request.headers_mut().append(COOKIE, cookies.clone());
        }
        request
    }

    /// The connection of before, where it is still good.
    async fn kept(&mut self) -> Option<Sender> {
        let (mut sender, since) = self.kept.take()?;
        if since.elapsed() > IDLE || sender.is_closed() {
            return None;
        }
        sender.ready().await.is_ok().then_some(sender)
    }

    async fn connect(&self) -> Result<Sender, Reply> {
        let address = self.plan.target.address;
        let stream = TcpStream::connect(address).await.map_err(|error| {
            Reply::broken(Cause::Refused, format!("{address}: {}", root_of(&error)))
        })?;
        stream.set_nodelay(true).map_err(|error| closed(&error))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| closed(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a user's connection ended");
            }
        });
        Ok(sender)
    }

    async fn exchange(&mut self, number: u64) -> Result<Reply, Reply> {
        let mut request = self.request(number);
        if let Some(sender) = self.kept().await {
            match send(sender, request).await {
                Ok((sender, response)) => return self.receive(sender, response).await,
                // The other side had closed the connection before: nothing was sent on it.
                Err(Unsent::Whole(whole)) => request = *whole,
                Err(Unsent::Lost(reply)) => return Err(reply),
            }
        }
        let sender = self.connect().await?;
        match send(sender, request).await {
            Ok((sender, response)) => self.receive(sender, response).await,
            Err(Unsent::Whole(_)) => Err(Reply::broken(
                Cause::Closed,
                "the connection was closed before the request was sent",
            )),
            Err(Unsent::Lost(reply)) => Err(reply),
        }
    }

    /// Reads the answer to its end, without which it is none.
    async fn receive(
        &mut self,
        sender: Option<Sender>,
        response: Response<Incoming>,
    ) -> Result<Reply, Reply> {
        let (parts, mut body) = response.into_parts();
        let status = parts.status.as_u16();
        let failed = !(200..400).contains(&status);
        let mut quoted = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let words = format!(
                    "status {status}, but the body ended too soon: {}",
                    root_of(&error)
                );
                Reply::broken(Cause::Closed, words)
            })?;
            if let (true, Some(data)) = (failed && quoted.len() < QUOTED, frame.data_ref()) {
                quoted.extend_from_slice(&data[..data.len().min(QUOTED - quoted.len())]);
            }
        }
        self.cookies.learn(&parts.headers);
        if self.plan.keep_alive {
            self.kept = sender.map(|sender| (sender, Instant::now()));
        }
        Ok(Reply::Answered {
            status,
            words: if failed {
                words_of(&parts.headers, &quoted)
            } else {
                String::new()
            },
            backend: Backend {
                version: named(&parts.headers, VERSION),
                pod: named(&parts.headers, POD),
            },
        })
    }
}

impl Transport for HttpUser {
    async fn ask(&mut self, number: u64) -> Reply {
        match self.exchange(number).await {
            Ok(reply) | Err(reply) => reply,
        }
    }

    fn reset(&mut self) {
        self.kept = None;
    }
}

/// Why there is no response.
enum Unsent {
    /// Nothing of the request was sent, so it can be sent elsewhere.
    Whole(Box<Request<Empty<Bytes>>>),
    /// It was sent, at least in part.
    Lost(Reply),
}

/// Sends a request. The response must not be waited for alone: a connection that closes at the
/// very moment in which a request is handed to it can leave the request where nobody reads it,
/// and only giving up the connection brings it back.
async fn send(
    mut sender: Sender,
    request: Request<Empty<Bytes>>,
) -> Result<(Option<Sender>, Response<Incoming>), Unsent> {
    let mut sending = pin!(sender.try_send_request(request));
    let sent = tokio::select! {
        biased;
        sent = &mut sending => Some(sent),
        () = ended(&mut sender) => None,
    };
    let (sent, sender) = match sent {
        Some(sent) => (sent, Some(sender)),
        None => {
            drop(sender);
            (sending.await, None)
        }
    };
    match sent {
        Ok(response) => Ok((sender, response)),
        Err(mut error) => Err(match error.take_message() {
            Some(whole) => Unsent::Whole(Box::new(whole)),
            None => Unsent::Lost(failure(&error.into_error())),
        }),
    }
}

async fn ended(sender: &mut Sender) {
    if sender.ready().await.is_ok() {
        std::future::pending().await
    }
}

fn failure(error: &hyper::Error) -> Reply {
    if error.is_parse() {
        Reply::broken(Cause::Invalid, root_of(error))
    } else {
        closed(error)
    }
}

fn closed(error: &(dyn Error + 'static)) -> Reply {
    Reply::broken(Cause::Closed, root_of(error))
}

/// The innermost cause, which says most.
fn root_of(mut error: &(dyn Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The load balancer's reason, where it answered by itself, and the beginning of the body.
fn words_of(headers: &HeaderMap, body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    let line = body.lines().next().unwrap_or_default().trim();
    let reason = headers.get(GATEWAY).and_then(|value| value.to_str().ok());
    match reason {
        Some(reason) => format!("{reason}: {line}"),
        None => line.to_owned(),
    }
}

fn named(headers: &HeaderMap, name: &str) -> Option<Arc<str>> {
    let value = headers.get(name)?.to_str().ok()?;
    (!value.is_empty() && value.len() <= NAME).then(|| Arc::from(value))
}
