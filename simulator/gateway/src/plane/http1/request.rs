//! The body of a client's request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::Reader;
use super::length::{Decoder, Step};
use crate::plane::body::BodyError;
use crate::plane::io::Shared;
use crate::plane::patience::Patience;

/// The word that a client waits for which sent `Expect: 100-continue`.
const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Reads the body while it holds the reading half of the connection. Dropped, it gives that
/// half back.
pub(in crate::plane) struct ClientBody {
    reader: Option<Reader<Shared>>,
    decoder: Decoder,
    home: Arc<Home>,
    expects: bool,
    /// Bytes that may still come.
    room: u64,
    patience: Patience,
}

/// Where the reading half comes back to.
#[derive(Default)]
pub(super) struct Home {
    returned: Mutex<Option<Returned>>,
    /// The response has begun, so no word may come before it any more.
    responding: AtomicBool,
}

/// What came back.
pub(super) struct Returned {
    pub(super) reader: Reader<Shared>,
    /// The whole body was read, so that the next request follows.
    pub(super) finished: bool,
}

impl Home {
    pub(super) fn take(&self) -> Option<Returned> {
        self.lock().take()
    }

    /// True where a body came back before its end.
    pub(super) fn is_unfinished(&self) -> bool {
        self.lock()
            .as_ref()
            .is_some_and(|returned| !returned.finished)
    }

    pub(super) fn respond(&self) {
        self.responding.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Returned>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientBody {
    pub(super) fn new(
        reader: Reader<Shared>,
        decoder: Decoder,
        expects: bool,
        limit: u64,
        wait: Duration,
    ) -> (Self, Arc<Home>) {
        let home = Arc::<Home>::default();
        let body = Self {
            reader: Some(reader),
            decoder,
            home: Arc::clone(&home),
            expects,
            room: limit,
            patience: Patience::new(wait),
        };
        (body, home)
    }

    pub(in crate::plane) fn is_end_stream(&self) -> bool {
        self.decoder.is_done()
    }

    pub(in crate::plane) fn size_hint(&self) -> SizeHint {
        self.decoder
            .left()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// Bodies of calls that last for hours have no size to speak of.
    pub(in crate::plane) fn unbounded(&mut self) {
        self.room = u64::MAX;
    }

    pub(in crate::plane) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(reader) = &mut self.reader else {
            return Poll::Ready(None);
        };
        loop {
            match self.decoder.step(&mut reader.buffer) {
                Err(words) => return Poll::Ready(Some(Err(BodyError::Malformed(words)))),
                Ok(Step::End) => return Poll::Ready(None),
                Ok(Step::Trailers(trailers)) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Step::Data(data)) => {
                    self.expects = false;
                    let Some(room) = self.room.checked_sub(data.len() as u64) else {
                        return Poll::Ready(Some(Err(BodyError::TooLarge)));
                    };
                    self.room = room;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Step::More) => {}
            }
            if std::mem::take(&mut self.expects) && !self.home.responding.load(Ordering::Relaxed) {
                reader.wire.interject(GO_ON, cx);
            }
            match reader.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    return Poll::Ready(Some(Err(BodyError::Cut)));
                }
                Poll::Ready(Ok(_)) => self.patience.over(),
                Poll::Pending => {
                    ready!(self.patience.poll(cx));
                    return Poll::Ready(Some(Err(BodyError::TooSlow)));
                }
            }
        }
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let Some(mut reader) = self.reader.take() {
            // A body that is here already, and that nobody wants, need not end the connection.
            while let Ok(Step::Data(_) | Step::Trailers(_)) = self.decoder.step(&mut reader.buffer)
            {
            }
            let finished = self.decoder.is_done();
            *self.home.lock() = Some(Returned { reader, finished });
        }
    }
}

impl std::fmt::Debug for ClientBody {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("ClientBody").field(&self.decoder).finish()
    }
}
