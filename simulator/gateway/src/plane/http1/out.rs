//! What waits to be written: as few system calls as the bytes allow.

use std::fmt::Write;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::AsyncWrite;

/// Bodies up to this size are copied behind the head: one plain write costs less than a
/// gathering one.
const COPIED: usize = 2 * 1024;

/// Bytes on their way out, in the order of the fields.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// Heads, sizes of chunks, small bodies.
    pub(super) lead: BytesMut,
    data: Bytes,
    tail: &'static [u8],
    /// Bytes written since the start.
    pub(super) sent: u64,
}

impl Out {
    /// True when everything is written.
    pub(super) fn is_clear(&self) -> bool {
        self.lead.is_empty() && !self.has_data()
    }

    /// True while a part of a body waits, so that no further one can be taken.
    pub(super) fn has_data(&self) -> bool {
        !self.data.is_empty() || !self.tail.is_empty()
    }

    /// Adds a part of a body; only when there is none waiting.
    pub(super) fn push(&mut self, data: Bytes, chunked: bool) {
        debug_assert!(!self.has_data(), "one part after another");
        if data.is_empty() {
            return;
        }
        if chunked {
            write!(self.lead, "{:x}\r\n", data.len()).expect("a buffer takes every write");
        }
        let end: &[u8] = if chunked { b"\r\n" } else { b"" };
        if data.len() <= COPIED {
            self.lead.extend_from_slice(&data);
            self.lead.extend_from_slice(end);
        } else {
            self.data = data;
            self.tail = if chunked { b"\r\n" } else { b"" };
        }
    }

    /// Ends a chunked body.
    pub(super) fn end(&mut self, trailers: Option<&HeaderMap>) {
        if self.has_data() {
            debug_assert!(trailers.is_none(), "trailers wait for the data before them");
            self.tail = b"\r\n0\r\n\r\n";
            return;
        }
        self.lead.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten() {
            super::head::put(&mut self.lead, name, value);
        }
        self.lead.extend_from_slice(b"\r\n");
    }

    /// Writes until everything is written.
    pub(super) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        wire: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_clear() {
            let mut wire = Pin::new(&mut *wire);
            let written = if self.has_data() {
                let slices = [
                    IoSlice::new(&self.lead),
                    IoSlice::new(&self.data),
                    IoSlice::new(self.tail),
                ];
                ready!(wire.as_mut().poll_write_vectored(cx, &slices))?
            } else {
                ready!(wire.as_mut().poll_write(cx, &self.lead))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.took(written);
        }
        // A layer such as TLS may hold back what it was given; TCP does not.
        Pin::new(wire).poll_flush(cx)
    }

    fn took(&mut self, written: usize) {
        self.sent += written as u64;
        let of_lead = written.min(self.lead.len());
        if of_lead == self.lead.len() {
            self.lead.clear();
        } else {
            self.lead.advance(of_lead);
        }
        let rest = written - of_lead;
        let of_data = rest.min(self.data.len());
        self.data.advance(of_data);
        if self.data.is_empty() {
            self.data = Bytes::new();
        }
        self.tail = &self.tail[rest - of_data..];
    }
}
