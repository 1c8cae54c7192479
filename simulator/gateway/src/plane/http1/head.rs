//! Heads of messages: start lines and headers.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use httparse::ParserConfig;
use memchr::memchr_iter;

use super::length::Length;
use crate::plane::answer::Cause;

/// Headers of one message; hyper and nginx allow as many.
const HEADERS: usize = 100;

/// Headers that the load balancer adds, so that the map need not grow for them.
const ADDED: usize = 4;

/// Headers that must not come after a body: they say how the message is to be read.
const NEVER_TRAILERS: [HeaderName; 8] = [
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
];

/// A line ended without the carriage return that belongs before the line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BareLineFeed;

/// Position after the empty line that ends a head. Everything before `from` was looked at
/// already. Nobody may take a bare line feed for the end of a line, as others would not.
pub(super) fn end(buffer: &[u8], from: usize) -> Result<Option<usize>, BareLineFeed> {
    for found in memchr_iter(b'\n', &buffer[from..]) {
        let at = from + found;
        if at == 0 || buffer[at - 1] != b'\r' {
            return Err(BareLineFeed);
        }
        if at >= 3 && buffer[at - 2] == b'\n' {
            return Ok(Some(at + 1));
        }
    }
    Ok(None)
}

/// A request's head, and what it says about the connection.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) parts: Parts,
    pub(super) length: Length,
    /// The client wants to send further requests on this connection.
    pub(super) keep: bool,
    /// The client waits for a word before it sends the body.
    pub(super) expects: bool,
}

/// Why a head is refused.
pub(super) type Refused = (Cause, &'static str);

/// Reads a complete head of a request.
pub(super) fn request(head: &Bytes) -> Result<RequestHead, Refused> {
    let bad = |words| (Cause::BadRequest, words);
    let mut storage = [const { MaybeUninit::uninit() }; HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    let complete = ParserConfig::default()
        .parse_request_with_uninit_headers(&mut parsed, head, &mut storage)
        .map_err(|error| match error {
            httparse::Error::TooManyHeaders => (Cause::HeadTooLarge, "there are too many headers"),
            httparse::Error::Version => (Cause::Version, "the version of HTTP is not supported"),
            httparse::Error::HeaderName => bad("a header's name is malformed"),
            httparse::Error::HeaderValue => bad("a header's value is malformed"),
            httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => {
                bad("the request line is malformed")
            }
        })?;
    let (Some(method), Some(path), Some(minor)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(bad("the request line is malformed"));
    };
    if complete.is_partial() {
        return Err(bad("the head is malformed"));
    }
    let headers = headers(head, parsed.headers).ok_or(bad("a header is malformed"))?;
    let mut parts = Request::new(()).into_parts().0;
    parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| bad("the method is none"))?;
    parts.uri = Uri::from_maybe_shared(head.slice_ref(path.as_bytes()))
        .map_err(|_| bad("the request's target is malformed"))?;
    parts.version = version(minor);
    let length = Length::of_request(&headers, minor).map_err(bad)?;
    let expects = minor > 0
        && headers
            .get(header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let keep = keeps(&headers, minor);
    parts.headers = headers;
    Ok(RequestHead {
        parts,
        length,
        keep,
        expects,
    })
}

/// A response's head, and what it says about the connection.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) parts: http::response::Parts,
    pub(super) keep: bool,
}

/// Reads a complete head of a response.
pub(super) fn response(head: &Bytes) -> Result<ResponseHead, &'static str> {
    let mut storage = [const { MaybeUninit::uninit() }; HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let complete = ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, head, &mut storage)
        .map_err(|_| "its head is malformed")?;
    let (Some(code), Some(minor)) = (parsed.code, parsed.version) else {
        return Err("its head is malformed");
    };
    if complete.is_partial() {
        return Err("its head is malformed");
    }
    let mut parts = Response::new(()).into_parts().0;
    parts.status = StatusCode::from_u16(code).map_err(|_| "its status is none")?;
    parts.version = version(minor);
    parts.headers = headers(head, parsed.headers).ok_or("a header of it is malformed")?;
    let keep = keeps(&parts.headers, minor);
    Ok(ResponseHead { parts, keep })
}

/// Reads a trailer section with its empty line.
pub(super) fn trailers(section: &Bytes) -> Result<HeaderMap, &'static str> {
    let mut storage = [httparse::EMPTY_HEADER; HEADERS];
    let malformed = "a trailer is malformed";
    match httparse::parse_headers(section, &mut storage) {
        Ok(httparse::Status::Complete((_, parsed))) => {
            let mut trailers = headers(section, parsed).ok_or(malformed)?;
            for name in &NEVER_TRAILERS {
                trailers.remove(name);
            }
            Ok(trailers)
        }
        Ok(httparse::Status::Partial) | Err(_) => Err(malformed),
    }
}

fn headers(head: &Bytes, parsed: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(parsed.len() + ADDED);
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(header.value)).ok()?;
        headers.append(name, value);
    }
    Some(headers)
}

fn version(minor: u8) -> Version {
    match minor {
        0 => Version::HTTP_10,
        _ => Version::HTTP_11,
    }
}

fn keeps(headers: &HeaderMap, minor: u8) -> bool {
    let Some(first) = headers.get(header::CONNECTION) else {
        return minor > 0;
    };
    let named = |token| {
        first.as_bytes() == token || crate::plane::headers::connection_names(headers, token)
    };
    !named(b"close") && (minor > 0 || named(b"keep-alive"))
}

/// Writes one header.
pub(super) fn put(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    put_raw(out, name.as_str().as_bytes(), value.as_bytes());
}

fn put_raw(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// How the end of a body is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plane) enum Announced {
    /// Not at all: there is no body, or it ends with the connection.
    Nothing,
    /// As the headers have it: what a body would be like that is not sent.
    AsTold,
    Exact(u64),
    Chunked,
}

/// Writes the head of a request.
pub(super) fn put_request(out: &mut BytesMut, parts: &Parts, length: Announced) {
    out.reserve(512);
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    put_headers(out, &parts.headers, length);
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a response but for its last empty line.
pub(in crate::plane) fn put_response(
    out: &mut BytesMut,
    parts: &http::response::Parts,
    length: Announced,
) {
    out.reserve(512);
    if parts.status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(parts.status.as_str().as_bytes());
        out.extend_from_slice(b" ");
        let reason = parts.status.canonical_reason().unwrap_or_default();
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    put_headers(out, &parts.headers, length);
}

fn put_headers(out: &mut BytesMut, headers: &HeaderMap, length: Announced) {
    for (name, value) in headers {
        let framing = *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING;
        if !framing || (length == Announced::AsTold && *name == header::CONTENT_LENGTH) {
            put(out, name, value);
        }
    }
    match length {
        Announced::Nothing | Announced::AsTold => {}
        Announced::Chunked => put_raw(out, b"transfer-encoding", b"chunked"),
        Announced::Exact(length) => {
            let mut digits = [0; 20];
            put_raw(out, b"content-length", decimal(length, &mut digits));
        }
    }
}

/// The number as text; formatting machinery would be the slowest part of a head.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).expect("it is one digit");
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_and_nothing_else() {
        assert_eq!(end(b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest", 0), Ok(Some(24)));
        assert_eq!(end(b"GET / HTTP/1.1\r\nA: b\r\n", 0), Ok(None));
        assert_eq!(end(b"GET / HTTP/1.1\r\nA: b\r\n\r\n", 22), Ok(Some(24)));
        assert_eq!(end(b"GET / HTTP/1.1\nA: b\n\n", 0), Err(BareLineFeed));
        assert_eq!(end(b"GET / HTTP/1.1\r\nA: b\r\n\n", 0), Err(BareLineFeed));
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 65_536, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }

    #[track_caller]
    fn keep(text: &str, expected: bool) {
        let head = Bytes::copy_from_slice(text.as_bytes());
        assert_eq!(request(&head).unwrap().keep, expected, "{text:?}");
    }

    #[test]
    fn a_connection_is_kept_as_its_version_has_it() {
        keep("GET / HTTP/1.1\r\nHost: x\r\n\r\n", true);
        keep(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n",
            false,
        );
        keep(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: te, close\r\n\r\n",
            false,
        );
        keep("GET / HTTP/1.0\r\n\r\n", false);
        keep("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true);
    }
}
