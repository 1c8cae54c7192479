//! Copies of requests for those who shall see the traffic and not answer it.
//!
//! A copy must never slow down the request it is made from: where its receiver cannot keep up,
//! the copy is given up.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::Plane;
use super::body::{BodyError, Record, RequestBody, ResponseBody, UpstreamBody};
use super::forward::{Reply, forward};
use super::interim::Interim;
use super::replay::copy_of;
use crate::table::{Backend, Mirror};

/// Frames of a body that a copy may be behind its original: about a megabyte.
const BEHIND: usize = 64;

/// Copies in flight at a time. Beyond that, whoever gets them is too slow to be told more.
pub(super) const COPIES: usize = 1024;

/// Longest time for a copy to be answered in full; nobody waits for it.
const COPY_TIME: Duration = Duration::from_secs(30);

/// A body that is copied while it passes.
#[derive(Debug)]
pub(super) struct Copied {
    inner: RequestBody,
    copies: Vec<mpsc::Sender<Piece>>,
}

/// The copy of a body.
#[derive(Debug)]
pub(super) struct Duplicate {
    frames: mpsc::Receiver<Piece>,
    size: SizeHint,
}

/// A part of a copy; or nothing, where the original ended early or the copy fell behind it.
type Piece = Option<Frame<Bytes>>;

impl Copied {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                // One place is kept free to tell a copy that it is incomplete.
                self.copies.retain(|copy| {
                    let keeps_up = copy.capacity() > 1;
                    let next = if keeps_up { Some(copy_of(frame)) } else { None };
                    copy.try_send(next).is_ok() && keeps_up
                });
            }
            Poll::Ready(Some(Err(_))) => {
                for copy in self.copies.drain(..) {
                    let _ = copy.try_send(None);
                }
            }
            Poll::Ready(None) => self.copies.clear(),
        }
        // Hyper does not ask again once the body says that it has ended.
        if self.inner.is_end_stream() {
            self.copies.clear();
        }
        polled
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A request that is given up before its body has passed leaves incomplete copies.
impl Drop for Copied {
    fn drop(&mut self) {
        for copy in self.copies.drain(..) {
            let _ = copy.try_send(None);
        }
    }
}

impl Duplicate {
    /// A whole body.
    #[cfg(test)]
    pub(super) fn of(parts: &[&'static str]) -> Self {
        let (sender, frames) = mpsc::channel(parts.len().max(1));
        for part in parts {
            let frame = Frame::data(Bytes::from_static(part.as_bytes()));
            sender.try_send(Some(frame)).expect("there is room");
        }
        let size = SizeHint::new();
        Self { frames, size }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let piece = self.frames.poll_recv(cx);
        piece.map(|piece| piece.map(|frame| frame.ok_or(BodyError::Cut)))
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.size
    }
}

/// Sends copies of a request to those mirrors that take it, and returns the request's body.
pub(super) fn copy(
    plane: &Plane,
    mirrors: &[Mirror],
    parts: &Parts,
    body: RequestBody,
) -> RequestBody {
    let takers: Vec<_> = mirrors.iter().filter(|mirror| mirror.takes()).collect();
    if takers.is_empty() {
        return body;
    }
    let mut bodies = Vec::with_capacity(takers.len());
    let body = if body.is_empty() {
        body
    } else {
        let mut copies = Vec::with_capacity(takers.len());
        for _ in &takers {
            let (sender, frames) = mpsc::channel(BEHIND);
            copies.push(sender);
            let size = body.size_hint();
            bodies.push(RequestBody::Duplicate(Duplicate { frames, size }));
        }
        let inner = body;
        RequestBody::Copied(Box::new(Copied { inner, copies }))
    };
    bodies.resize_with(takers.len(), || RequestBody::Empty);
    for (mirror, body) in takers.into_iter().zip(bodies) {
        let mut head = Request::new(()).into_parts().0;
        head.method = parts.method.clone();
        head.uri = parts.uri.clone();
        head.version = parts.version;
        head.headers.clone_from(&parts.headers);
        send(plane, &mirror.backend, head, body);
    }
    body
}

fn send(plane: &Plane, backend: &Arc<Backend>, head: Parts, body: RequestBody) {
    let place = Arc::clone(&plane.copies).try_acquire_owned();
    let (Ok(place), Some(plane)) = (place, plane.this.upgrade()) else {
        return;
    };
    let backend = Arc::clone(backend);
    tokio::spawn(async move {
        let _place = place;
        let sending = exchange(&plane, &backend, head, body);
        if tokio::time::timeout(COPY_TIME, sending).await.is_err() {
            tracing::debug!(backend = backend.name, "copy of a request took too long");
        }
    });
}

/// Sends a copy and reads the answer to its end, so that the connection can be used again.
async fn exchange(plane: &Plane, backend: &Backend, mut parts: Parts, body: RequestBody) {
    let Ok(target) = &backend.target else { return };
    let started = Instant::now();
    backend.filters.request.apply(&mut parts.headers);
    match forward(plane, target, parts, body, None, &Interim::None).await {
        Ok(Reply {
            head,
            body,
            in_flight,
        }) => {
            let mut body = ResponseBody::Upstream(UpstreamBody {
                inner: body,
                deadline: None,
                in_flight,
                record: Record {
                    series: Arc::clone(&backend.series),
                    status: head.status,
                    started,
                },
            });
            while let Some(Ok(_)) = body.frame().await {}
        }
        Err((_, words)) => tracing::debug!(backend = backend.name, words, "copy not answered"),
    }
}

/// Room for copies.
pub(super) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(COPIES))
}
