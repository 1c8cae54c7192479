//! Bytes both ways, until both sides are done.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};

use super::Stop;

/// Bytes read at once in each direction.
const BUFFER: usize = 16 * 1024;

/// A tunnel has no notion of a request. When its socket closes, it is given up once nothing has
/// passed for this long.
const QUIET: Duration = Duration::from_secs(1);

/// Carries bytes between two streams. The end of one direction is passed on and the other goes
/// on, as TCP has it.
pub(super) async fn carry<A, B>(one: A, mut other: B, stop: &Stop)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let passed = Arc::new(AtomicU64::new(0));
    let mut one = Counted {
        inner: one,
        passed: Arc::clone(&passed),
    };
    tokio::select! {
        carried = copy_bidirectional_with_sizes(&mut one, &mut other, BUFFER, BUFFER) => {
            if let Err(error) = carried {
                tracing::trace!(%error, "tunnel broke");
            }
        }
        () = quiet(&passed, stop) => {}
    }
}

/// Waits until the socket closes and nothing has passed for a while.
async fn quiet(passed: &AtomicU64, stop: &Stop) {
    stop.closing.cancelled().await;
    let mut before = passed.load(Ordering::Relaxed);
    loop {
        tokio::select! {
            () = stop.closed.cancelled() => return,
            () = tokio::time::sleep(QUIET) => {}
        }
        let now = passed.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

/// Counts the bytes that pass in both directions.
struct Counted<T> {
    inner: T,
    passed: Arc<AtomicU64>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        self.passed.fetch_add(read as u64, Ordering::Relaxed);
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = &polled {
            self.passed.fetch_add(*written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
