//! Bodies on their way through: streamed, never collected.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::endpoint::{Endpoint, InFlight};
use super::upstream::Lease;
use crate::metrics::Series;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A client's body on its way to an endpoint.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// Nothing, so that the request can be made again.
    Empty,
    /// As it comes.
    Streaming(Incoming),
}

impl RequestBody {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(_) => false,
        }
    }
}

impl From<Incoming> for RequestBody {
    fn from(body: Incoming) -> Self {
        if body.is_end_stream() {
            Self::Empty
        } else {
            Self::Streaming(body)
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Streaming(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming(body) => body.size_hint(),
        }
    }
}

/// The body of an answer to a client.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// Words of the load balancer itself; taken when sent.
    Text(Option<Bytes>),
    /// As it comes from the endpoint.
    Upstream(Box<UpstreamBody>),
}

/// An endpoint's body. The end of it, or its being dropped, ends the exchange: the endpoint is
/// less busy, the connection is free again, and the answer is counted.
#[derive(Debug)]
pub(super) struct UpstreamBody {
    pub(super) inner: Incoming,
    pub(super) finished: bool,
    pub(super) lease: Option<Lease>,
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
    pub(super) in_flight: InFlight,
    pub(super) _record: Record,
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
        if !self.finished && !self.inner.is_end_stream() {
            return;
        }
        match self.lease.take() {
            Some(Lease::Http1 {
                connection,
                at_once: true,
            }) => {
                self.in_flight.endpoint().put_idle(connection);
            }
            Some(Lease::Http1 {
                connection,
                at_once: false,
            }) => {
                keep_when_ready(Arc::clone(self.in_flight.endpoint()), connection);
            }
            Some(Lease::Nothing) | None => {}
        }
    }
}

/// The endpoint answered, but may still be reading the request; nobody should wait for that
/// who could open another connection.
fn keep_when_ready(endpoint: Arc<Endpoint>, mut connection: super::upstream::Http1) {
    if connection.is_ready() {
        endpoint.put_idle(connection);
        return;
    }
    tokio::spawn(async move {
        if connection.ready().await.is_ok() {
            endpoint.put_idle(connection);
        }
    });
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Upstream(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Upstream(body) => body.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Self::Upstream(body) => body.inner.size_hint(),
        }
    }
}

impl UpstreamBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err("the request's time is over".into())));
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) {
            self.finished = true;
        }
        polled.map_err(Into::into)
    }
}
