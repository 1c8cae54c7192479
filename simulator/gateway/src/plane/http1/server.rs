//! A client's connection: one request after another.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Method, Response, StatusCode, Version, header};
use http_body::Body;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::Reader;
use super::head::{self, Announced, RequestHead};
use super::length::{Decoder, Length};
use super::out::Out;
use super::reader::discard;
use super::request::{ClientBody, Home};
use crate::plane::answer::{Cause, answer};
use crate::plane::body::{RequestBody, ResponseBody, Tunnel};
use crate::plane::http::{self as requests, Client};
use crate::plane::interim::Interim;
use crate::plane::io::{Io, Shared};
use crate::plane::patience::Patience;
use crate::plane::{Plane, clock, http2, tunnel};

/// What a client of HTTP/2 begins with; the rest of the preface follows.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// How long a connection that closes with something unread is read on, so that its answer is
/// not thrown away with it, and how much.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;

/// A client that connected at the last moment gets this long to say what it wants.
const LAST_WORD: Duration = Duration::from_millis(500);

/// Serves a connection to its end, in the protocol that the client begins with.
pub(in crate::plane) async fn serve(plane: Arc<Plane>, io: Io, client: Arc<Client>) {
    let wire = Shared::new(io);
    let mut connection = Connection {
        reader: Some(Reader::new(wire.clone())),
        wire,
        out: Out::default(),
        patience: Patience::new(plane.limits.wait),
        closing: Box::pin(client.stop.closing.clone().cancelled_owned()),
        served: 0,
        last: false,
        plane,
        client,
    };
    loop {
        match connection.head().await {
            Came::Nothing => return,
            Came::Http2 => return connection.http2().await,
            Came::Refused(cause, words) => {
                connection.refuse(cause, words).await;
                return connection.linger().await;
            }
            Came::Head(head) => match connection.answer(&head).await {
                Next::Request => {}
                Next::Close => return connection.close().await,
                Next::Linger => return connection.linger().await,
                Next::Tunnel(tunnel) => return connection.tunnel(*tunnel).await,
            },
        }
    }
}

struct Connection {
    plane: Arc<Plane>,
    client: Arc<Client>,
    wire: Shared,
    /// Absent while a request's body is read.
    reader: Option<Reader<Shared>>,
    out: Out,
    patience: Patience,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    served: u64,
    /// It has only a moment left for its first request.
    last: bool,
}

/// What a client sent.
enum Came {
    Head(Bytes),
    Http2,
    Nothing,
    Refused(Cause, &'static str),
}

/// What happens to the connection.
enum Next {
    Request,
    Close,
    /// Closes, but something is unread.
    Linger,
    Tunnel(Box<Tunnel>),
}

/// What the request says about its response.
struct Wanted {
    head_only: bool,
    version: Version,
    keep: bool,
    home: Option<Arc<Home>>,
}

impl Connection {
    async fn head(&mut self) -> Came {
        self.patience.over();
        let mut scanned = 0;
        let limit = self.plane.limits.head;
        let came = poll_fn(|cx| self.poll_head(&mut scanned, limit, cx)).await;
        self.patience.over();
        came
    }

    fn poll_head(&mut self, scanned: &mut usize, limit: usize, cx: &mut Context<'_>) -> Poll<Came> {
        let Some(reader) = &mut self.reader else {
            return Poll::Ready(Came::Nothing);
        };
        loop {
            if *scanned == 0 {
                // RFC 9112 §2.2: an empty line before a request is no harm.
                while reader.buffer.starts_with(b"\r\n") {
                    reader.buffer.advance(2);
                }
            }
            match head::end(&reader.buffer, *scanned) {
                Ok(Some(_)) if self.served == 0 && reader.buffer.starts_with(PREFACE) => {
                    return Poll::Ready(Came::Http2);
                }
                Ok(Some(end)) if end <= limit => {
                    return Poll::Ready(Came::Head(reader.buffer.split_to(end).freeze()));
                }
                Ok(None) if reader.buffer.len() <= limit => *scanned = reader.buffer.len(),
                Ok(_) => return Poll::Ready(too_large(&reader.buffer[..limit])),
                Err(_) => {
                    let words = "a line does not end with a carriage return and a line feed";
                    return Poll::Ready(Came::Refused(Cause::BadRequest, words));
                }
            }
            match reader.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Came::Nothing),
                Poll::Ready(Ok(_)) if *scanned == 0 => self.patience.over(),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    let idle = reader.buffer.is_empty();
                    if idle && !self.last && self.closing.as_mut().poll(cx).is_ready() {
                        if self.served > 0 {
                            return Poll::Ready(Came::Nothing);
                        }
                        self.last = true;
                        self.patience = Patience::new(LAST_WORD);
                    }
                    ready!(self.patience.poll(cx));
                    return Poll::Ready(match idle {
                        true => Came::Nothing,
                        false => Came::Refused(Cause::Slow, "the head did not come in time"),
                    });
                }
            }
        }
    }

    async fn answer(&mut self, bytes: &Bytes) -> Next {
        let started = Instant::now();
        let RequestHead {
            parts,
            length,
            keep,
            expects,
        } = match head::request(bytes) {
            Ok(head) => head,
            Err((cause, words)) => {
                self.refuse(cause, words).await;
                return Next::Linger;
            }
        };
        self.served += 1;
        let (body, home) = self.body(length, expects);
        let wanted = Wanted {
            head_only: parts.method == Method::HEAD,
            version: parts.version,
            keep,
            home,
        };
        let interim = match parts.version {
            Version::HTTP_10 => Interim::None,
            _ => Interim::Http1(self.wire.clone()),
        };
        let serving = requests::serve(&self.plane, &self.client, started, parts, body, &interim);
        let response = tokio::select! {
            biased;
            response = serving => response,
            () = left(self.reader.as_mut(), self.plane.limits.wait) => return Next::Close,
        };
        self.respond(response, &wanted).await
    }

    fn body(&mut self, length: Length, expects: bool) -> (RequestBody, Option<Arc<Home>>) {
        if length == Length::Exact(0) {
            return (RequestBody::Empty, None);
        }
        let reader = self.reader.take().expect("the last request gave it back");
        let limits = &self.plane.limits;
        let decoder = Decoder::new(length);
        let (body, home) = ClientBody::new(reader, decoder, expects, limits.body, limits.wait);
        (RequestBody::Http1(Box::new(body)), Some(home))
    }

    /// Writes a response and finds out what becomes of the connection.
    async fn respond(&mut self, response: Response<ResponseBody>, wanted: &Wanted) -> Next {
        if let Some(home) = &wanted.home {
            home.respond();
        }
        let (parts, mut body) = response.into_parts();
        let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS;
        let bodyless = wanted.head_only
            || parts.status == StatusCode::NO_CONTENT
            || parts.status == StatusCode::NOT_MODIFIED
            || switches;
        let announced = match (bodyless, body.size_hint().exact()) {
            (true, _) if parts.status == StatusCode::NO_CONTENT || switches => Announced::Nothing,
            // The load balancer's own words to a HEAD are as long as to a GET.
            (true, _) => match &body {
                ResponseBody::Text(Some(text)) => Announced::Exact(text.len() as u64),
                ResponseBody::Text(None) | ResponseBody::Upstream(_) | ResponseBody::Tunnel(_) => {
                    Announced::AsTold
                }
            },
            (false, Some(length)) => Announced::Exact(length),
            (false, None) if wanted.version == Version::HTTP_10 => Announced::Nothing,
            (false, None) => Announced::Chunked,
        };
        let until_close = !bodyless && announced == Announced::Nothing;
        let unread = wanted
            .home
            .as_ref()
            .is_some_and(|home| home.is_unfinished());
        let closing = unread || until_close || self.client.stop.closing.is_cancelled();
        let keep = wanted.keep && !closing;
        self.put_head(&parts, announced, keep, switches, wanted.version);
        let ended = bodyless || body.is_end_stream();
        if !self
            .write(&mut body, ended, announced == Announced::Chunked)
            .await
        {
            return Next::Close;
        }
        if let ResponseBody::Tunnel(tunnel) = body {
            self.come_home(wanted);
            return Next::Tunnel(tunnel);
        }
        drop(body);
        let finished = self.come_home(wanted);
        let nothing_more = |reader: &Reader<Shared>| reader.buffer.is_empty();
        match finished {
            true if keep => Next::Request,
            true if self.reader.as_ref().is_none_or(nothing_more) => Next::Close,
            _ => Next::Linger,
        }
    }

    fn put_head(
        &mut self,
        parts: &http::response::Parts,
        announced: Announced,
        keep: bool,
        switches: bool,
        version: Version,
    ) {
        let out = &mut self.out.lead;
        head::put_response(out, parts, announced);
        if !parts.headers.contains_key(header::DATE) {
            clock::put_date(&self.plane, out);
        }
        if !keep && !switches {
            out.extend_from_slice(b"connection: close\r\n");
        } else if version == Version::HTTP_10 && !switches {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Writes head and body; false where the client is gone or the body broke off.
    async fn write(&mut self, body: &mut ResponseBody, mut ended: bool, chunked: bool) -> bool {
        if ended && chunked {
            self.out.end(None);
        }
        let done = poll_fn(|cx| self.poll_write(body, &mut ended, chunked, cx)).await;
        self.patience.over();
        done
    }

    fn poll_write(
        &mut self,
        body: &mut ResponseBody,
        ended: &mut bool,
        chunked: bool,
        cx: &mut Context<'_>,
    ) -> Poll<bool> {
        loop {
            let mut starved = false;
            if !*ended && !self.out.has_data() {
                // Head and first bytes go out together where both are there.
                match self.take(body, ended, chunked, cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(false),
                    Poll::Pending => starved = true,
                }
            }
            match self.out.poll_flush(&mut self.wire, cx) {
                Poll::Ready(Ok(())) => self.patience.over(),
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => {
                    if body.poll_upload(cx).is_err() {
                        return Poll::Ready(false);
                    }
                    // A client that takes nothing for too long is given up.
                    return self.patience.poll(cx).map(|()| false);
                }
            }
            if starved {
                return Poll::Pending;
            }
            if *ended {
                return Poll::Ready(true);
            }
        }
    }

    /// Takes the next part of a body; false where it broke off.
    fn take(
        &mut self,
        body: &mut ResponseBody,
        ended: &mut bool,
        chunked: bool,
        cx: &mut Context<'_>,
    ) -> Poll<bool> {
        let trailers = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Err(error)) => {
                tracing::debug!(%error, "response cut");
                return Poll::Ready(false);
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.out.push(data, chunked);
                    if !body.is_end_stream() {
                        return Poll::Ready(true);
                    }
                    None
                }
                Err(frame) => frame.into_trailers().ok(),
            },
            None => None,
        };
        *ended = true;
        if chunked {
            self.out.end(trailers.as_ref());
        }
        Poll::Ready(true)
    }

    /// Gets the reading half back; false where a request's body was not read to its end.
    fn come_home(&mut self, wanted: &Wanted) -> bool {
        let Some(home) = &wanted.home else {
            return true;
        };
        match home.take() {
            Some(returned) => {
                self.reader = Some(returned.reader);
                returned.finished
            }
            None => false,
        }
    }

    /// Answers something that is no request that could be passed on.
    async fn refuse(&mut self, cause: Cause, words: &str) {
        let response = answer(cause, words);
        let series = &self.plane.metrics.unrouted;
        series.record(response.status(), Duration::ZERO);
        let wanted = Wanted {
            head_only: false,
            version: Version::HTTP_11,
            keep: false,
            home: None,
        };
        self.respond(response, &wanted).await;
    }

    async fn close(&mut self) {
        if let Err(error) = self.wire.shutdown().await {
            tracing::trace!(%error, "client connection not ended in order");
        }
    }

    /// Ends the connection so that the client gets to read the answer.
    async fn linger(&mut self) {
        let reading = async {
            if self.wire.shutdown().await.is_ok()
                && let Some(reader) = &mut self.reader
            {
                discard(reader, LINGER_BYTES).await;
            }
        };
        // It is a courtesy; a client that makes nothing of it is cut.
        let _ = tokio::time::timeout(LINGER, reading).await;
    }

    async fn http2(&mut self) {
        if let Some(reader) = self.reader.take() {
            let (plane, client) = (Arc::clone(&self.plane), Arc::clone(&self.client));
            Box::pin(http2::serve(plane, reader, client)).await;
        }
    }

    async fn tunnel(&mut self, tunnel: Tunnel) {
        if let Some(client) = self.reader.take() {
            tunnel::carry(client, tunnel.link.reader, &self.client.stop).await;
        }
    }
}

/// Waits until the client is gone. One that has only said everything looks like one that has
/// closed its connection, so it is given the time that it would have had to say more.
async fn left(reader: Option<&mut Reader<Shared>>, wait: Duration) {
    let Some(reader) = reader else {
        // Whoever reads the body notices.
        return std::future::pending().await;
    };
    let read = poll_fn(|cx| match reader.buffer.is_empty() {
        true => reader.poll_fill(cx),
        false => Poll::Pending,
    });
    match read.await {
        Ok(0) => tokio::time::sleep(wait).await,
        Ok(_) => std::future::pending().await,
        Err(_) => {}
    }
}

fn too_large(begin: &[u8]) -> Came {
    match begin.contains(&b'\n') {
        true => Came::Refused(Cause::HeadTooLarge, "the headers are too large"),
        false => Came::Refused(Cause::TargetTooLong, "the request line is too long"),
    }
}
