//! What keeps strangers' pages out.

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::{Guide, Refusal, refuse};

/// The header in which the page says its word.
const TOKEN: &str = "x-token";

/// Nothing from elsewhere, no script or style in the page itself, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Lets through what names this machine as its host, and puts the headers on every answer that
/// tell browsers what not to do.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = if is_own_host(request.headers()) {
        next.run(request).await
    } else {
        refuse(
            StatusCode::MISDIRECTED_REQUEST,
            "the guide answers to 127.0.0.1 and localhost only",
        )
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// A page whose name was made to point to this machine still says its own name here.
fn is_own_host(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "127.0.0.1" | "localhost")
}

/// A change that the page itself asks for.
pub(super) struct Page;

impl FromRequestParts<Guide> for Page {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, guide: &Guide) -> Result<Self, Refusal> {
        let word = parts.headers.get(TOKEN).map(HeaderValue::as_bytes);
        if word.is_some_and(|word| same(word, guide.0.token.as_bytes())) {
            return Ok(Self);
        }
        Err(Refusal(
            StatusCode::FORBIDDEN,
            "this request does not come from the guide's own page: load it again".to_owned(),
        ))
    }
}

/// Compares without telling by its time how much was right.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && differ == 0
}
