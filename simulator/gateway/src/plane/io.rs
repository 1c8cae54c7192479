//! The byte stream of a client, whatever carries it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream that can say whether reading is worth a buffer.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin {
    /// Pending while there is nothing to read. Ready promises nothing: a layer that cannot tell
    /// is always ready, and its read is pending instead.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Wire for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error is told by the read that follows.
        self.poll_read_ready(cx).map(drop)
    }
}

/// What a layer over TCP has to be, such as TLS.
pub(super) trait Layer: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Layer for T {}

/// A client's connection.
pub(super) enum Io {
    /// Plain TCP.
    Tcp(TcpStream),
    /// A layer over it.
    Layered(Box<dyn Layer>),
}

impl Io {
    fn stream(&mut self) -> Pin<&mut dyn Layer> {
        match self {
            Self::Tcp(stream) => Pin::new(stream),
            Self::Layered(stream) => Pin::new(stream),
        }
    }
}

/// A client's connection whose two directions are used at the same time by one task: the
/// request's body is read while the response is written. The lock is never contended.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Io>>);

impl Shared {
    pub(super) fn new(io: Io) -> Self {
        Self(Arc::new(Mutex::new(io)))
    }

    fn lock(&self) -> MutexGuard<'_, Io> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire for Shared {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &*self.lock() {
            Io::Tcp(stream) => stream.poll_readable(cx),
            Io::Layered(_) => Poll::Ready(()),
        }
    }
}

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self.lock() {
            Io::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Io::Layered(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Shared {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self.lock() {
            Io::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Io::Layered(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self.lock() {
            Io::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Io::Layered(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &*self.lock() {
            Io::Tcp(stream) => stream.is_write_vectored(),
            Io::Layered(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().stream().poll_shutdown(cx)
    }
}
