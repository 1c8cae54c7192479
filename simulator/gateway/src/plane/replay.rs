//! A request's body that can be sent again, for as long as nobody has begun to answer it.
//!
//! An endpoint that refuses a call says that it did nothing with it, so the call may be made
//! elsewhere whatever its method. What was read of its body by then is kept for that; of a long
//! body nothing, because memory for each of many calls must stay small.
//!
//! <https://www.rfc-editor.org/rfc/rfc9113#section-8.7>

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::body::{BodyError, RequestBody};

/// Bytes of a body that are kept; one that is longer cannot be sent again.
const KEPT: usize = 64 * 1024;

/// What a frame counts for beside its bytes, so that empty ones are bounded as well.
const FRAME: usize = 64;

/// A body, and what was read of it.
#[derive(Debug)]
pub(super) struct Kept(Option<Arc<Mutex<State>>>);

/// One passage of a kept body. Only the newest of a body's passages goes on.
#[derive(Debug)]
pub(super) struct Passage {
    state: Arc<Mutex<State>>,
    number: usize,
}

#[derive(Debug)]
struct State {
    inner: RequestBody,
    /// What was read, from the beginning, as long as everything is kept; afterwards what the
    /// newest passage has not had yet.
    frames: VecDeque<Frame<Bytes>>,
    /// Size of `frames`, in bytes.
    size: usize,
    keeps: bool,
    /// The number of the newest passage, and how many of `frames` it has had.
    passage: usize,
    at: usize,
}

impl Kept {
    pub(super) fn new(body: RequestBody) -> Self {
        if body.is_empty() {
            return Self(None);
        }
        Self(Some(Arc::new(Mutex::new(State {
            inner: body,
            frames: VecDeque::new(),
            size: 0,
            keeps: true,
            passage: 0,
            at: 0,
        }))))
    }

    /// True where there is no body.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The body from its beginning; `None` where that is no longer there.
    pub(super) fn again(&self) -> Option<RequestBody> {
        let Some(state) = &self.0 else {
            return Some(RequestBody::Empty);
        };
        let number = {
            let mut state = lock(state);
            if !state.keeps {
                return None;
            }
            state.passage += 1;
            state.at = 0;
            state.passage
        };
        let state = Arc::clone(state);
        Some(RequestBody::Passage(Passage { state, number }))
    }

    /// Keeps nothing any more: somebody answers.
    pub(super) fn let_go(&self) {
        if let Some(state) = &self.0 {
            lock(state).let_go();
        }
    }
}

impl State {
    fn let_go(&mut self) {
        if self.keeps {
            self.keeps = false;
            self.frames.drain(..self.at);
            self.at = 0;
        }
    }

    fn next_kept(&mut self) -> Option<Frame<Bytes>> {
        if !self.keeps {
            return self.frames.pop_front();
        }
        let frame = copy_of(self.frames.get(self.at)?);
        self.at += 1;
        Some(frame)
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if !self.keeps {
            return;
        }
        self.size += FRAME + frame.data_ref().map_or(0, Bytes::len);
        if self.size > KEPT {
            self.let_go();
        } else {
            self.frames.push_back(copy_of(frame));
            self.at += 1;
        }
    }

    /// Bytes that were read before and are still to come.
    fn ahead(&self) -> u64 {
        let frames = self.frames.iter().skip(self.at);
        let sizes = frames.map(|frame| frame.data_ref().map_or(0, Bytes::len) as u64);
        sizes.sum()
    }
}

impl Passage {
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = lock(&self.state);
        if self.number != state.passage {
            return Poll::Ready(Some(Err(BodyError::Cut)));
        }
        if let Some(frame) = state.next_kept() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let polled = Pin::new(&mut state.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            state.keep(frame);
        }
        polled
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let state = lock(&self.state);
        state.at == state.frames.len() && state.inner.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let state = lock(&self.state);
        let (ahead, hint) = (state.ahead(), state.inner.size_hint());
        let mut whole = SizeHint::new();
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + ahead);
        }
        whole.set_lower(hint.lower() + ahead);
        whole
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same frame again; its bytes are shared.
pub(super) fn copy_of(frame: &Frame<Bytes>) -> Frame<Bytes> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Frame::data(data.clone()),
        (None, Some(trailers)) => Frame::trailers(trailers.clone()),
        (None, None) => Frame::data(Bytes::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::mirror::Duplicate;
    use http_body_util::BodyExt;

    fn body(parts: &[&'static str]) -> RequestBody {
        RequestBody::Duplicate(Duplicate::of(parts))
    }

    async fn next(body: &mut RequestBody) -> Option<Bytes> {
        body.frame().await?.ok()?.into_data().ok()
    }

    #[tokio::test]
    async fn a_body_passes_again_from_its_beginning() {
        let kept = Kept::new(body(&["one ", "two ", "three"]));
        let mut first = kept.again().unwrap();
        assert_eq!(next(&mut first).await.unwrap(), "one ");
        assert_eq!(next(&mut first).await.unwrap(), "two ");
        let mut second = kept.again().unwrap();
        assert_eq!(next(&mut second).await.unwrap(), "one ");
        // Whoever has the first passage still is told nothing more.
        assert!(first.frame().await.unwrap().is_err());
        kept.let_go();
        assert_eq!(second.collect().await.unwrap().to_bytes(), "two three");
    }

    #[tokio::test]
    async fn nothing_passes_again_once_somebody_answers_or_the_body_is_long() {
        let kept = Kept::new(body(&["one"]));
        let _first = kept.again().unwrap();
        kept.let_go();
        assert!(kept.again().is_none());

        let long = "a".repeat(KEPT + 1).leak();
        let kept = Kept::new(body(&["a", long, "b"]));
        let first = kept.again().unwrap();
        assert_eq!(first.collect().await.unwrap().to_bytes().len(), KEPT + 3);
        assert!(kept.again().is_none());
    }

    #[tokio::test]
    async fn a_request_without_a_body_can_always_be_made_again() {
        let kept = Kept::new(RequestBody::Empty);
        kept.let_go();
        assert!(kept.is_empty() && kept.again().is_some_and(|body| body.is_empty()));
    }
}
