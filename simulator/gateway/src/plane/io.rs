//! The byte stream of a client, whatever carries it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
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

/// Bytes of words in between that wait for a client to take them; beyond it they are left out.
const HELD: usize = 64 * 1024;

/// A client's connection whose two directions are used at the same time by one task: the
/// request's body is read while the response is written. The lock is never contended.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Both>>);

struct Both {
    io: Io,
    /// Words in between that were not taken at once. Whatever is written next comes after them.
    held: BytesMut,
}

impl Shared {
    pub(super) fn new(io: Io) -> Self {
        let held = BytesMut::new();
        Self(Arc::new(Mutex::new(Both { io, held })))
    }

    /// Says a word before the response, such as a `100 Continue`; only between messages. A
    /// client that takes nothing is told it with the response, or not at all.
    pub(super) fn interject(&self, word: &[u8], cx: &mut Context<'_>) {
        let mut both = self.lock();
        if both.held.len() + word.len() <= HELD {
            both.held.extend_from_slice(word);
            // Whoever writes the response hears of an error, or goes on with the rest.
            let _ = both.poll_held(cx).map_ok(|()| {
                let _ = both.io.stream().poll_flush(cx);
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Both> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Both {
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(self.io.stream().poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl Wire for Shared {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.lock().io {
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
        match &mut self.lock().io {
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
        let mut both = self.lock();
        ready!(both.poll_held(cx))?;
        match &mut both.io {
            Io::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Io::Layered(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut both = self.lock();
        ready!(both.poll_held(cx))?;
        match &mut both.io {
            Io::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Io::Layered(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.lock().io {
            Io::Tcp(stream) => stream.is_write_vectored(),
            Io::Layered(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut both = self.lock();
        ready!(both.poll_held(cx))?;
        both.io.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().io.stream().poll_shutdown(cx)
    }
}
