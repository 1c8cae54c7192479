//! Plain HTTP requests to the load balancer and the registry.

use http::header::HeaderMap;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::read::root_cause;

/// Larger answers are refused: no page of a lab is near it.
const BODY_MAX: usize = 1 << 20;

/// A client that keeps connections open between requests.
#[derive(Clone)]
pub(crate) struct Http(Client<HttpConnector, Empty<Bytes>>);

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    pub(crate) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// Sends GET. The error is the innermost cause, in words.
    pub(crate) async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        self.send(&Method::GET, url, headers).await
    }

    /// Sends a request without a body. The error is the innermost cause, in words.
    pub(crate) async fn send(
        &self,
        method: &Method,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let response = self
            .0
            .request(request)
            .await
            .map_err(|error| root_cause(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_MAX)
            .collect()
            .await
            .map_err(|error| root_cause(&*error))?;
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The beginning of the body, on one line.
    pub(crate) fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((at, _)) = words.char_indices().nth(80) {
            words.truncate(at);
            words.push('…');
        }
        words
    }
}
