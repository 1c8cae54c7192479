//! Getting one request answered by some endpoint of a Service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;

use super::Plane;
use super::answer::Cause;
use super::body::RequestBody;
use super::endpoint::InFlight;
use super::upstream::{self, Failure, Lease};
use crate::table::Target;

/// Endpoints of one table tried for one request. Behind three refusals in a row there is a
/// fault that more tries would only prolong for the client.
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

/// Sends the request to an endpoint. One that does not take the connection is ejected and the
/// request goes to another. One that takes the request and dies gets it taken away once, if
/// sending it twice does no harm: a request that kills whoever gets it must not go round.
///
/// `limit` is the time for one try.
pub(super) async fn forward(
    plane: &Plane,
    target: &Arc<Target>,
    mut request: Request<RequestBody>,
    limit: Option<Duration>,
) -> Result<Reply, Unanswered> {
    let mut target = Arc::clone(target);
    let mut tried: Vec<SocketAddr> = Vec::new();
    let mut reason = None;
    while tried.len() < TRIES {
        let Some(endpoint) = target.endpoints.pick(&tried) else {
            match newer(plane, &target) {
                Some(newest) => {
                    target = newest;
                    tried.clear();
                }
                None => break,
            }
            continue;
        };
        let in_flight = endpoint.begin();
        let sending = upstream::send(&endpoint, target.http2, request);
        let sent = match limit {
            None => sending.await,
            Some(limit) => match tokio::time::timeout(limit, sending).await {
                Ok(sent) => sent,
                Err(_) => return Err(too_late(&target, limit)),
            },
        };
        let (cause, words, again) = match sent {
            Ok((response, lease)) => {
                return Ok(Reply {
                    response,
                    lease,
                    in_flight,
                });
            }
            Err(Failure::NotSent { request, source }) => {
                let words = refused(&target, endpoint.address, &*source);
                (Cause::ConnectFailed, words, Some(request))
            }
            Err(Failure::Lost { copy, source }) => {
                tracing::debug!(endpoint = %endpoint.address, error = %source, "no answer");
                let words = lost(&target, endpoint.address);
                (Cause::UpstreamClosed, words, copy)
            }
        };
        let second_loss =
            matches!(reason, Some((Cause::UpstreamClosed, _))) && cause == Cause::UpstreamClosed;
        reason = Some((cause, words));
        match again {
            Some(again) if !second_loss => request = *again,
            Some(_) | None => break,
        }
        tried.push(endpoint.address);
    }
    Err(reason.unwrap_or_else(|| (Cause::NoEndpoints, no_endpoints(&target))))
}

/// The Service in the newest table, if that has changed since: the endpoints that this request
/// was routed with may all be gone by now.
pub(super) fn newer(plane: &Plane, target: &Arc<Target>) -> Option<Arc<Target>> {
    let table = plane.table.load();
    let newest = table.target(&target.name)?;
    (!Arc::ptr_eq(newest, target)).then(|| Arc::clone(newest))
}

fn no_endpoints(target: &Target) -> String {
    format!("no ready endpoints for service {}", target.name)
}

fn refused(target: &Target, address: SocketAddr, error: &dyn std::error::Error) -> String {
    format!(
        "no endpoint of service {} takes connections ({address}: {error})",
        target.name
    )
}

fn lost(target: &Target, address: SocketAddr) -> String {
    let name = &target.name;
    format!("endpoint {address} of service {name} closed the connection without an answer")
}

fn too_late(target: &Target, limit: Duration) -> Unanswered {
    let words = format!(
        "service {} did not answer within {} ms",
        target.name,
        limit.as_millis()
    );
    (Cause::Timeout, words)
}
