//! One request to an endpoint and its response.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Method, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use tokio::net::TcpStream;

use super::Reader;
use super::head::{self, Announced, ResponseHead};
use super::length::{Decoder, Length, Step};
use super::out::Out;
use crate::plane::body::{BodyError, RequestBody};
use crate::plane::interim::Interim;

/// Largest head of a response, in bytes.
const HEAD_BYTES: usize = 64 * 1024;

/// A connection to an endpoint.
#[derive(Debug)]
pub(in crate::plane) struct Link {
    pub(in crate::plane) reader: Reader<TcpStream>,
}

impl Link {
    pub(in crate::plane) fn new(stream: TcpStream) -> Self {
        Self {
            reader: Reader::new(stream),
        }
    }

    /// False where the endpoint has closed it, or says something unasked, as far as the runtime
    /// has been told; this asks no system call where nothing has happened.
    pub(in crate::plane) fn is_quiet(&self) -> bool {
        let tried = self.reader.wire.try_read(&mut [0]);
        tried.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The same, as the kernel knows it at this moment.
    pub(in crate::plane) fn is_quiet_now(&self) -> bool {
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        let mut byte = [0; 1];
        matches!(
            rustix::net::recv(&self.reader.wire, &mut byte[..], flags),
            Err(rustix::io::Errno::AGAIN)
        )
    }
}

/// A request on its way to an endpoint. As long as nothing of it was sent it can go to another.
#[derive(Debug)]
pub(in crate::plane) struct Upload {
    out: Out,
    body: RequestBody,
    chunked: bool,
    /// Everything was taken from the body.
    ended: bool,
    /// Everything was sent, or nobody wants the rest.
    done: bool,
}

/// Why an upload stopped.
enum Stopped {
    Client(BodyError),
    Endpoint(io::Error),
}

impl Upload {
    /// The request that these parts and this body make.
    pub(in crate::plane) fn new(parts: &Parts, body: RequestBody) -> Self {
        let length = match (&body, body.size_hint().exact()) {
            // Whoever sent a length of 0 meant to say so: a POST, mostly.
            (RequestBody::Empty, _) if parts.headers.contains_key(header::CONTENT_LENGTH) => {
                Announced::Exact(0)
            }
            (RequestBody::Empty, _) => Announced::Nothing,
            (_, Some(length)) => Announced::Exact(length),
            (_, None) => Announced::Chunked,
        };
        let mut out = Out::default();
        head::put_request(&mut out.lead, parts, length);
        Self {
            out,
            ended: body.is_empty(),
            body,
            chunked: length == Announced::Chunked,
            done: false,
        }
    }

    /// True while another endpoint can get all of it.
    pub(in crate::plane) fn is_unsent(&self) -> bool {
        self.out.sent == 0
    }

    /// True where there is no body, so that the request can be made again.
    pub(in crate::plane) fn has_no_body(&self) -> bool {
        self.body.is_empty()
    }

    fn poll(&mut self, link: &mut TcpStream, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            // First what the client has, so that head and first bytes go out together.
            let starved = !self.ended && !self.out.has_data() && self.take(cx)?.is_pending();
            ready!(self.out.poll_flush(link, cx)).map_err(Stopped::Endpoint)?;
            if starved {
                return Poll::Pending;
            }
            if self.ended && self.out.is_clear() {
                self.done = true;
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn take(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Stopped> {
        match std::pin::Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Some(Err(error))) => return Err(Stopped::Client(error)),
            Poll::Ready(None) => self.end(None),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    self.out.push(data, self.chunked);
                    if self.body.is_end_stream() {
                        self.end(None);
                    }
                }
                Err(frame) => self.end(frame.into_trailers().ok().as_ref()),
            },
        }
        Ok(Poll::Ready(()))
    }

    fn end(&mut self, trailers: Option<&http::HeaderMap>) {
        self.ended = true;
        if self.chunked {
            self.out.end(trailers);
        }
    }
}

/// Why there is no response.
#[derive(Debug)]
pub(in crate::plane) enum Broken {
    /// The endpoint's side: it closed the connection, or the connection broke.
    Endpoint(io::Error),
    /// The endpoint's answer makes no sense.
    Nonsense(&'static str),
    /// The client's side.
    Client(BodyError),
}

/// Sends a request and waits for the head of its response; words before it are passed on. The body of the response follows in
/// the [`Download`], which also carries on with what is left of the request's body.
pub(in crate::plane) async fn exchange(
    mut link: Link,
    upload: &mut Upload,
    method: &Method,
    upgrade: bool,
    interim: &Interim,
) -> Result<(http::response::Parts, Download), Broken> {
    let ResponseHead { parts, keep } = loop {
        let head = poll_fn(|cx| poll_head(&mut link, upload, cx)).await?;
        let head = head::response(&head).map_err(Broken::Nonsense)?;
        let status = head.parts.status;
        if status == StatusCode::SWITCHING_PROTOCOLS && !upgrade {
            return Err(Broken::Nonsense("it changed the protocol unasked"));
        }
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            break head;
        }
        interim.pass(head.parts).await;
    };
    let bodyless = *method == Method::HEAD
        || parts.status == StatusCode::NO_CONTENT
        || parts.status == StatusCode::NOT_MODIFIED
        || parts.status.is_informational();
    let length = match bodyless {
        true => Length::Exact(0),
        false => Length::of_response(&parts.headers).map_err(Broken::Nonsense)?,
    };
    let mut download = Download {
        link: Some(link),
        decoder: Decoder::new(length),
        upload: None,
        keep: keep && length != Length::UntilClose,
    };
    if !upload.done {
        let rest = Upload {
            out: std::mem::take(&mut upload.out),
            body: std::mem::replace(&mut upload.body, RequestBody::Empty),
            ..*upload
        };
        download.upload = Some(Box::new(rest));
    }
    Ok((parts, download))
}

fn poll_head(
    link: &mut Link,
    upload: &mut Upload,
    cx: &mut Context<'_>,
) -> Poll<Result<Bytes, Broken>> {
    let mut broken = None;
    if !upload.done {
        match upload.poll(&mut link.reader.wire, cx) {
            Poll::Ready(Ok(())) | Poll::Pending => {}
            Poll::Ready(Err(Stopped::Client(error))) => {
                return Poll::Ready(Err(Broken::Client(error)));
            }
            // It may have answered before it stopped listening.
            Poll::Ready(Err(Stopped::Endpoint(error))) => broken = Some(error),
        }
    }
    loop {
        let buffer = &mut link.reader.buffer;
        match head::end(buffer, 0) {
            Ok(Some(end)) => {
                if broken.is_some() {
                    upload.done = true;
                }
                return Poll::Ready(Ok(buffer.split_to(end).freeze()));
            }
            Ok(None) if buffer.len() > HEAD_BYTES => {
                return Poll::Ready(Err(Broken::Nonsense("its head is too large")));
            }
            Ok(None) => {}
            Err(_) => return Poll::Ready(Err(Broken::Nonsense("its head is malformed"))),
        }
        let broke = match link.reader.poll_fill(cx) {
            Poll::Ready(Ok(0)) => io::ErrorKind::UnexpectedEof.into(),
            Poll::Ready(Ok(_)) => continue,
            Poll::Ready(Err(error)) => error,
            Poll::Pending => match broken {
                Some(error) => error,
                None => return Poll::Pending,
            },
        };
        return Poll::Ready(Err(match link.reader.buffer.is_empty() {
            true => Broken::Endpoint(broke),
            false => Broken::Nonsense("it ended within the head of its response"),
        }));
    }
}

/// The body of a response, and what is left of the request's.
#[derive(Debug)]
pub(in crate::plane) struct Download {
    link: Option<Link>,
    decoder: Decoder,
    upload: Option<Box<Upload>>,
    keep: bool,
}

impl Download {
    /// Carries on with the request's body; an endpoint that no longer wants it is no error.
    pub(in crate::plane) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        let (Some(upload), Some(link)) = (&mut self.upload, &mut self.link) else {
            return Ok(());
        };
        match upload.poll(&mut link.reader.wire, cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.upload = None,
            Poll::Ready(Err(Stopped::Endpoint(_))) => {
                self.upload = None;
                self.keep = false;
            }
            Poll::Ready(Err(Stopped::Client(error))) => {
                self.link = None;
                return Err(error);
            }
        }
        Ok(())
    }

    pub(in crate::plane) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.upload.is_some() {
            self.poll_upload(cx)?;
        }
        loop {
            let Some(link) = &mut self.link else {
                return Poll::Ready(None);
            };
            match self.decoder.step(&mut link.reader.buffer) {
                Ok(Step::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Step::Trailers(map)) => return Poll::Ready(Some(Ok(Frame::trailers(map)))),
                Ok(Step::End) => return Poll::Ready(None),
                Err(words) => {
                    self.link = None;
                    return Poll::Ready(Some(Err(BodyError::Malformed(words))));
                }
                Ok(Step::More) => {}
            }
            let ended = match ready!(link.reader.poll_fill(cx)) {
                Ok(0) => self.decoder.ends_here(),
                Ok(_) => continue,
                Err(_) => false,
            };
            self.link = None;
            if !ended {
                return Poll::Ready(Some(Err(BodyError::Cut)));
            }
        }
    }

    pub(in crate::plane) fn is_end_stream(&self) -> bool {
        self.decoder.is_done()
    }

    pub(in crate::plane) fn size_hint(&self) -> SizeHint {
        self.decoder
            .left()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// The connection, if the next request may use it.
    pub(in crate::plane) fn free_link(&mut self) -> Option<Link> {
        let free = self.keep
            && self.upload.is_none()
            && self.decoder.is_done()
            && self.link.as_ref()?.reader.buffer.is_empty();
        let mut link = self.link.take().filter(|_| free)?;
        link.reader.buffer = BytesMut::new();
        Some(link)
    }

    /// The connection, for another protocol.
    pub(in crate::plane) fn into_link(self) -> Option<Link> {
        self.link
    }
}
