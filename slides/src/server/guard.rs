//! What keeps other pages of the same browser out. Any page may send requests to this machine's
//! loopback address, under any name that leads there; the presenter's clicker is not theirs.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::refuse;

/// Nothing from elsewhere, no script or style in the page itself, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Lets in what this server's own pages ask, and says what browsers must not do with the answer.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match stranger(request.headers()) {
        Some(message) => refuse(StatusCode::FORBIDDEN, message),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why a request is not one of ours.
fn stranger(headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if !matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        return Some("open the slides by the address that devops-lab slides show says");
    }
    match text(header::ORIGIN) {
        Some(origin) if origin != format!("http://{host}") => {
            Some("another page asked, which has no business here")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_come_in() {
        let case = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            stranger(&headers).is_none()
        };
        assert!(case("127.0.0.1:4000", None));
        assert!(case("localhost:4000", Some("http://localhost:4000")));
        assert!(
            !case("evil.example:4000", None),
            "a name that leads to loopback"
        );
        assert!(!case("127.0.0.1:4000", Some("http://evil.example")));
        assert!(!case("127.0.0.1:4000", Some("http://127.0.0.1:5000")));
        assert!(!case("127.0.0.1:4000", Some("null")));
    }
}
