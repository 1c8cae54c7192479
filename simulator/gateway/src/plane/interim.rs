//! Words before a response: what a backend tells a client while it still works, such as
//! `103 Early Hints`.
//!
//! <https://www.rfc-editor.org/rfc/rfc9110#section-15.2>

use std::future::poll_fn;
use std::task::Poll;

use bytes::BytesMut;
use http::{StatusCode, response};

use super::headers;
use super::http1::{Announced, put_response};
use super::io::Shared;

/// Who is told.
pub(super) enum Interim {
    /// Nobody: a client of HTTP/1.0 would take it for the response, a copy has no client, and
    /// hyper's HTTP/2 has no way to say it.
    None,
    /// A client of HTTP/1.1 whose request is being answered.
    Http1(Shared),
}

impl Interim {
    /// Passes on what an endpoint said, but for what concerns its connection to us only. The
    /// load balancer says by itself when a client may go on.
    pub(super) async fn pass(&self, mut head: response::Parts) {
        let Self::Http1(wire) = self else { return };
        if matches!(
            head.status,
            StatusCode::CONTINUE | StatusCode::SWITCHING_PROTOCOLS
        ) {
            return;
        }
        headers::strip_hop_by_hop(&mut head.headers);
        let mut word = BytesMut::new();
        put_response(&mut word, &head, Announced::Nothing);
        word.extend_from_slice(b"\r\n");
        poll_fn(|cx| {
            wire.interject(&word, cx);
            Poll::Ready(())
        })
        .await;
    }
}
