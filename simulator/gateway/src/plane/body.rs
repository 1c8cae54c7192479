//! Bodies on their way through: streamed, never collected.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::{Instant, Sleep};

use super::endpoint::InFlight;
use super::http1::{ClientBody, Download, Link};
use super::mirror::{Copied, Duplicate};
use super::replay::Passage;
use crate::metrics::Series;

/// Why a body does not go on.
#[derive(Debug, Error)]
pub(super) enum BodyError {
    /// A request's is larger than allowed.
    #[error("the body is larger than allowed")]
    TooLarge,
    /// A client sends nothing for too long.
    #[error("the body does not come")]
    TooSlow,
    /// It cannot be read.
    #[error("{0}")]
    Malformed(&'static str),
    /// Whoever sent it went away.
    #[error("the body was cut")]
    Cut,
    /// The rule's time is over.
    #[error("the request's time is over")]
    Late,
    /// HTTP/2 has its own reasons.
    #[error("the stream ended")]
    Http2(#[source] hyper::Error),
}

/// A client's body on its way to an endpoint.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// Nothing, so that the request can be made again.
    Empty,
    /// Of a connection with one request at a time.
    Http1(Box<ClientBody>),
    /// Of a stream, with the number of bytes that may still come.
    Http2(Incoming, u64),
    /// Either, and copied on the way.
    Copied(Box<Copied>),
    /// A copy.
    Duplicate(Duplicate),
    /// Any of them, and kept on the way.
    Passage(Passage),
}

impl RequestBody {
    /// The body of a stream, with its largest size.
    pub(super) fn of_stream(body: Incoming, limit: u64) -> Self {
        if body.is_end_stream() {
            Self::Empty
        } else {
            Self::Http2(body, limit)
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(_)
            | Self::Http2(..)
            | Self::Copied(_)
            | Self::Duplicate(_)
            | Self::Passage(_) => false,
        }
    }

    /// Lifts the limit: calls of gRPC may last for hours and are limited per message.
    pub(super) fn unbounded(&mut self) {
        match self {
            // Copies are made of bodies whose limit is set.
            Self::Empty | Self::Copied(_) | Self::Duplicate(_) | Self::Passage(_) => {}
            Self::Http1(body) => body.unbounded(),
            Self::Http2(_, room) => *room = u64::MAX,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Http1(body) => body.poll_frame(cx),
            Self::Http2(body, room) => {
                let polled = Pin::new(body).poll_frame(cx).map_err(BodyError::Http2);
                if let Poll::Ready(Some(Ok(frame))) = &polled {
                    let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                    match room.checked_sub(size) {
                        Some(left) => *room = left,
                        None => return Poll::Ready(Some(Err(BodyError::TooLarge))),
                    }
                }
                polled
            }
            Self::Copied(body) => body.poll_frame(cx),
            Self::Duplicate(body) => body.poll_frame(cx),
            Self::Passage(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body, _) => body.is_end_stream(),
            Self::Copied(body) => body.is_end_stream(),
            Self::Duplicate(_) => false,
            Self::Passage(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body, _) => body.size_hint(),
            Self::Copied(body) => body.size_hint(),
            Self::Duplicate(body) => body.size_hint(),
            Self::Passage(body) => body.size_hint(),
        }
    }
}

/// The body of an answer to a client.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// Words of the load balancer itself; taken when sent.
    Text(Option<Bytes>),
    /// As it comes from the endpoint.
    Upstream(UpstreamBody),
    /// None: the connection goes on in another protocol.
    Tunnel(Box<Tunnel>),
}

/// A connection to an endpoint that has changed its protocol.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) link: Link,
    /// Keeps the endpoint busy for as long as the tunnel lasts.
    pub(super) _in_flight: InFlight,
}

/// An endpoint's body. The end of it, or its being dropped, ends the exchange: the endpoint is
/// less busy, the connection is free again, and the answer is counted.
#[derive(Debug)]
pub(super) struct UpstreamBody {
    pub(super) inner: Source,
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
    pub(super) in_flight: InFlight,
    pub(super) record: Record,
}

/// Where the bytes come from.
#[derive(Debug)]
pub(super) enum Source {
    Http1(Download),
    Http2(Incoming),
}

/// Counts an answer when it is over.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) series: Arc<Series>,
    pub(super) status: StatusCode,
    pub(super) started: Instant,
}

impl Drop for Record {
    fn drop(&mut self) {
        self.series.record(self.status, self.started.elapsed());
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        self.in_flight.endpoint().count(self.record.status);
        if let Source::Http1(download) = &mut self.inner
            && let Some(link) = download.free_link()
        {
            self.in_flight.endpoint().put_idle(link);
        }
    }
}

impl ResponseBody {
    /// Carries on with the request's body while the client does not take the response's.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        match self {
            Self::Upstream(UpstreamBody {
                inner: Source::Http1(download),
                ..
            }) => download.poll_upload(cx),
            Self::Upstream(_) | Self::Text(_) | Self::Tunnel(_) => Ok(()),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Upstream(body) => body.poll(cx),
            Self::Tunnel(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Upstream(body) => match &body.inner {
                Source::Http1(download) => download.is_end_stream(),
                Source::Http2(body) => body.is_end_stream(),
            },
            Self::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Self::Upstream(body) => match &body.inner {
                Source::Http1(download) => download.size_hint(),
                Source::Http2(body) => body.size_hint(),
            },
            Self::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}

impl UpstreamBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err(BodyError::Late)));
        }
        match &mut self.inner {
            Source::Http1(download) => download.poll_frame(cx),
            Source::Http2(body) => Pin::new(body).poll_frame(cx).map_err(BodyError::Http2),
        }
    }
}
