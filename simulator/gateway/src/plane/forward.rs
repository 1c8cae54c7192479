//! Getting one request answered by some endpoint of a Service.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;

use super::answer::Cause;
use super::body::RequestBody;
use super::endpoint::InFlight;
use super::upstream::{self, Failure, Lease};
use crate::table::Target;

/// Endpoints tried for one request. Behind three refusals in a row there is a fault that more
/// tries would only prolong for the client.
const TRIES: usize = 3;

/// An endpoint's response and what it still holds.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
    pub(super) in_flight: InFlight,
}

/// Why nobody answered: the cause, and words for people.
pub(super) type Unanswered = (Cause, String);

/// Sends the request to an endpoint; one that does not take the connection is ejected and the
/// request goes to another. `limit` is the time for one try.
pub(super) async fn forward(
    target: &Target,
    mut request: Request<RequestBody>,
    limit: Option<Duration>,
) -> Result<Reply, Unanswered> {
    let mut tried: Vec<SocketAddr> = Vec::new();
    let mut refusal = String::new();
    while let Some(endpoint) = target
        .endpoints
        .pick(&tried)
        .filter(|_| tried.len() < TRIES)
    {
        let in_flight = endpoint.begin();
        let sending = upstream::send(&endpoint, target.http2, request);
        let sent = match limit {
            None => sending.await,
            Some(limit) => match tokio::time::timeout(limit, sending).await {
                Ok(sent) => sent,
                Err(_) => return Err(too_late(target, limit)),
            },
        };
        match sent {
            Ok((response, lease)) => {
                return Ok(Reply {
                    response,
                    lease,
                    in_flight,
                });
            }
            Err(Failure::NotSent {
                request: unsent,
                source,
            }) => {
                request = *unsent;
                refusal = format!("{}: {source}", endpoint.address);
                tried.push(endpoint.address);
            }
            Err(Failure::Lost { source }) => {
                tracing::debug!(endpoint = %endpoint.address, error = %source, "no answer");
                let words = format!(
                    "endpoint {} of service {} closed the connection without an answer",
                    endpoint.address, target.name
                );
                return Err((Cause::UpstreamClosed, words));
            }
        }
    }
    if target.endpoints.is_empty() {
        return Err((
            Cause::NoEndpoints,
            format!("no ready endpoints for service {}", target.name),
        ));
    }
    let words = format!(
        "no endpoint of service {} takes connections ({refusal})",
        target.name
    );
    Err((Cause::ConnectFailed, words))
}

fn too_late(target: &Target, limit: Duration) -> Unanswered {
    let words = format!(
        "service {} did not answer within {} ms",
        target.name,
        limit.as_millis()
    );
    (Cause::Timeout, words)
}
