//! How controllers speak HTTP: to Prometheus, to an application's own endpoint.
//!
//! The trait belongs to the controllers, which use it; whoever runs them supplies it. An
//! implementation resolves the names of Services (`NAME`, `NAME.NAMESPACE`,
//! `NAME.NAMESPACE.svc`, `NAME.NAMESPACE.svc.cluster.local`), because controllers live outside
//! the cluster's network.

use std::time::Duration;

use futures::future::BoxFuture;

/// Longest body of an answer, in bytes; a longer one is an error, never cut.
pub const BODY_MAX: usize = 1 << 20;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// Method, such as `GET`.
    pub method: String,
    /// Absolute URL. `http`; `https` where the implementation speaks it.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Body; empty for none.
    pub body: Vec<u8>,
    /// Limit on the whole exchange. Not scaled: the other side lives in real time.
    pub timeout: Duration,
    /// Namespace in which a Service's bare name is looked for.
    pub namespace: String,
    /// True where the server's certificate is not to be verified.
    pub insecure: bool,
}

/// An answer, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Body, of at most [`BODY_MAX`] bytes.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The URL or a header cannot be sent.
    #[error("invalid request to {url:?}: {reason}")]
    Invalid {
        /// URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// The host's name leads nowhere.
    #[error("no such host {host:?}: {reason}")]
    NoSuchHost {
        /// Host.
        host: String,
        /// Where it was looked for.
        reason: String,
    },
    /// The connection, or the exchange over it, failed.
    #[error("request to {url:?} failed: {reason}")]
    Failed {
        /// URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// No answer in time.
    #[error("request to {url:?}: no answer within {} s", timeout.as_secs_f64())]
    Timeout {
        /// URL.
        url: String,
        /// The limit.
        timeout: Duration,
    },
    /// The body is longer than [`BODY_MAX`].
    #[error("request to {url:?}: the answer is longer than 1 MiB")]
    TooLarge {
        /// URL.
        url: String,
    },
}

/// Sends requests.
pub trait HttpClient: Send + Sync {
    /// Sends a request and reads the answer; any status is an answer. Redirects are not followed.
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpError>>;
}
