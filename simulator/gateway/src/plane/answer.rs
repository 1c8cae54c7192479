//! What the load balancer says by itself: short plain text that names the cause, and the same
//! cause in a header for programs.

use bytes::Bytes;
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
            Self::Redirect(status) => status,
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
