//! HTTP/1.1 on both sides.
//!
//! hyper's client gives every connection a task of its own, and a request then costs several
//! hand-overs between tasks. Here one task carries a request from its first byte to the last of
//! its response, and what was written to whom is known exactly, which is what decides whether a
//! request may be sent again. Messages are read more strictly than RFC 9112 asks: whatever two
//! servers could read differently is refused.
//!
//! <https://www.rfc-editor.org/rfc/rfc9112>

mod client;
mod head;
mod length;
mod out;
mod reader;
mod request;
mod server;

pub(super) use client::{Broken, Download, Link, Upload, exchange};
pub(super) use head::{Announced, put_response};
pub(super) use reader::Reader;
pub(super) use request::ClientBody;
pub(super) use server::serve;
