//! Reading from a connection into a buffer that exists only while it holds something.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::plane::io::Wire;

/// Room for the first read: a request's head, or a response with a small body.
const SMALL: usize = 8 * 1024;

/// Room once reads have filled smaller ones, so that a large body takes few system calls.
const LARGE: usize = 64 * 1024;

/// A connection and what was read from it but not used yet.
#[derive(Debug)]
pub(in crate::plane) struct Reader<T> {
    pub(in crate::plane) wire: T,
    pub(super) buffer: BytesMut,
    room: usize,
}

impl<T: Wire> Reader<T> {
    pub(in crate::plane) fn new(wire: T) -> Self {
        Self {
            wire,
            buffer: BytesMut::new(),
            room: SMALL,
        }
    }

    /// Reads once; 0 is the end of the stream. A connection that waits holds no buffer.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.wire.poll_readable(cx).is_pending() {
            return self.wait();
        }
        self.buffer.reserve(self.room);
        let before = self.buffer.capacity() - self.buffer.len();
        match poll_read_buf(Pin::new(&mut self.wire), cx, &mut self.buffer) {
            Poll::Ready(Ok(read)) => {
                if read == before {
                    self.room = LARGE;
                }
                Poll::Ready(Ok(read))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.wait(),
        }
    }

    fn wait(&mut self) -> Poll<io::Result<usize>> {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Poll::Pending
    }
}

/// For whom the bytes are no message of HTTP/1.1: first what was read already, then the rest.
impl<T: Wire> AsyncRead for Reader<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.buffer.is_empty() {
            return Pin::new(&mut this.wire).poll_read(cx, into);
        }
        let length = this.buffer.len().min(into.remaining());
        into.put_slice(&this.buffer[..length]);
        this.buffer.advance(length);
        if this.buffer.is_empty() {
            this.buffer = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Wire> AsyncWrite for Reader<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().wire).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().wire).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(cx)
    }
}

/// Reads and forgets until the end of the stream or this many bytes: a peer whose unread bytes
/// are thrown away would have its answer thrown away with them.
pub(super) async fn discard<T: Wire>(reader: &mut Reader<T>, limit: usize) {
    let mut seen = 0;
    std::future::poll_fn(|cx| {
        loop {
            reader.buffer.clear();
            match ready!(reader.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(read) => seen += read,
            }
            if seen > limit {
                return Poll::Ready(());
            }
        }
    })
    .await;
}
