//! What the load balancer says by itself: short plain text that names the cause, and the same
//! cause in a header for programs.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::body::ResponseBody;

/// Says that the load balancer answered, not a backend, and why.
const REASON: HeaderName = HeaderName::from_static("x-devops-lab-gateway");

/// Why the load balancer answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The request cannot be understood or must not be passed on.
    BadRequest,
    /// The headers are larger than allowed, or too many.
    HeadTooLarge,
    /// The request line is longer than allowed.
    TargetTooLong,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The client took too long to send what it began.
    Slow,
    /// A version of HTTP that is not served.
    Version,
    /// CONNECT: this is no forward proxy.
    NotImplemented,
    /// No listener or rule matches.
    NoRoute,
    /// The rule has no backend that gets anything.
    NoBackends,
    /// The backend of the rule cannot be used.
    InvalidBackend,
    /// The Service has no ready endpoint.
    NoEndpoints,
    /// No endpoint took the connection.
    ConnectFailed,
    /// The endpoint closed the connection without an answer.
    UpstreamClosed,
    /// The rule's time is over.
    Timeout,
    /// The rule redirects.
    Redirect(StatusCode),
    /// It fails on purpose.
    Injected(StatusCode),
}

impl Cause {
    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoBackends | Self::InvalidBackend => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoEndpoints => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectFailed | Self::UpstreamClosed => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Redirect(status) | Self::Injected(status) => status,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::HeadTooLarge => "head-too-large",
            Self::TargetTooLong => "target-too-long",
            Self::BodyTooLarge => "body-too-large",
            Self::Slow => "slow-client",
            Self::Version => "version",
            Self::NotImplemented => "not-implemented",
            Self::NoRoute => "no-route",
            Self::NoBackends => "no-backends",
            Self::InvalidBackend => "invalid-backend",
            Self::NoEndpoints => "no-endpoints",
            Self::ConnectFailed => "connect-failed",
            Self::UpstreamClosed => "upstream-closed",
            Self::Timeout => "timeout",
            Self::Redirect(_) => "redirect",
            Self::Injected(_) => "fault-injected",
        }
    }
}

/// An answer such as `503 no ready endpoints for service default/hello:80`.
pub(super) fn answer(cause: Cause, words: &str) -> Response<ResponseBody> {
    let status = cause.status();
    let text = Bytes::from(format!("{} {words}\n", status.as_u16()));
    let mut response = Response::new(ResponseBody::Text(Some(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(REASON, HeaderValue::from_static(cause.reason()));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

const GRPC: &[u8] = b"application/grpc";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// True for a gRPC call.
pub(super) fn is_grpc(request: &Parts) -> bool {
    let type_ = request.headers.get(header::CONTENT_TYPE);
    let rest = type_.and_then(|value| value.as_bytes().strip_prefix(GRPC));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// What the load balancer says by itself, as a gRPC client understands it: a response without
/// messages, whose headers are its trailers. A backend's answer stays as it is.
///
/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
pub(super) fn in_grpc_form(response: Response<ResponseBody>) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    let text = match body {
        ResponseBody::Text(Some(text)) => text,
        other => return Response::from_parts(parts, other),
    };
    let status = match parts.status.as_u16() {
        400 => "13",
        404 | 501 => "12",
        429 | 502..=504 => "14",
        _ => "2",
    };
    parts.status = StatusCode::OK;
    let type_ = HeaderValue::from_static("application/grpc");
    parts.headers.insert(header::CONTENT_TYPE, type_);
    parts
        .headers
        .insert(GRPC_STATUS, HeaderValue::from_static(status));
    parts.headers.insert(GRPC_MESSAGE, grpc_message(&text));
    Response::from_parts(parts, ResponseBody::Text(None))
}

/// Percent-encoded, as the protocol asks for.
fn grpc_message(text: &[u8]) -> HeaderValue {
    let mut message = Vec::with_capacity(text.len());
    for &byte in text.trim_ascii_end() {
        match byte {
            b' '..=b'~' if byte != b'%' => message.push(byte),
            _ => message.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    HeaderValue::from_bytes(&message).expect("the bytes are printable ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_client_is_answered_in_its_own_terms() {
        for (cause, status) in [
            (Cause::NoRoute, "12"),
            (Cause::NoEndpoints, "14"),
            (Cause::Timeout, "14"),
            (Cause::NoBackends, "2"),
            (Cause::BadRequest, "13"),
        ] {
            let response = in_grpc_form(answer(cause, "100 % é"));
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["grpc-status"], status);
            assert_eq!(response.headers()["content-type"], "application/grpc");
            let message = response.headers()["grpc-message"].to_str().unwrap();
            assert!(message.ends_with("100 %25 %C3%A9"), "{message}");
        }
    }

    #[test]
    fn a_call_is_told_by_its_content_type() {
        for (type_, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let request = http::Request::post("/a/b").header("content-type", type_);
            assert_eq!(
                is_grpc(&request.body(()).unwrap().into_parts().0),
                expected,
                "{type_}"
            );
        }
    }
}
