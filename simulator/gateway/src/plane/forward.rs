//! Getting one request answered by some endpoint of a Service.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::response;
use tokio::time::Instant;

use super::Plane;
use super::answer::Cause;
use super::body::{BodyError, RequestBody, Source};
use super::endpoint::{Endpoint, InFlight};
use super::interim::Interim;
use super::upstream::{self, Failure, Sending};
use crate::table::Target;

/// How long other endpoints are tried for one request or connection. An endpoint that refuses
/// costs nearly nothing, so all may be tried; one whose machine is gone costs a second, and a
/// client should hear of it before it gives up by itself.
const GIVE_UP: Duration = Duration::from_secs(5);

/// An endpoint's response and what it still holds.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) head: response::Parts,
    pub(super) body: Source,
    pub(super) in_flight: InFlight,
}

/// Why nobody answered: the cause, and words for people.
pub(super) type Unanswered = (Cause, String);

/// Goes through the endpoints of a Service, each once.
#[derive(Debug)]
pub(super) struct Search<'a> {
    plane: &'a Plane,
    pub(super) target: Arc<Target>,
    tried: Vec<SocketAddr>,
    started: Instant,
    /// Who asks, where that decides who answers.
    client: Option<IpAddr>,
    /// Who refused first, to be asked again after all others.
    refuser: Option<Arc<Endpoint>>,
    refusals: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(plane: &'a Plane, target: &Arc<Target>) -> Self {
        let target = Arc::clone(target);
        Self {
            plane,
            target,
            tried: Vec::new(),
            started: Instant::now(),
            client: None,
            refuser: None,
            refusals: 0,
        }
    }

    /// For a connection of this client to the Service itself, which may be a sticky one.
    pub(super) fn for_client(plane: &'a Plane, target: &Arc<Target>, client: IpAddr) -> Self {
        Self {
            client: target.sticky.then_some(client),
            ..Self::new(plane, target)
        }
    }

    fn pick(&self) -> Option<Arc<Endpoint>> {
        let endpoints = &self.target.endpoints;
        match self.client {
            Some(client) => endpoints.pick_for(client, &self.tried),
            None => endpoints.pick(&self.tried),
        }
    }

    /// The next endpoint to try. When the endpoints that the request was routed with are used
    /// up, those of the newest table follow: it may have changed since.
    pub(super) fn next(&mut self) -> Option<Arc<Endpoint>> {
        if !self.tried.is_empty() && self.started.elapsed() > GIVE_UP {
            return None;
        }
        let endpoint = match self.pick() {
            Some(endpoint) => endpoint,
            None if self.renew() => self.pick()?,
            None => self.refuser.take()?,
        };
        self.tried.push(endpoint.address);
        Some(endpoint)
    }

    /// Notes that an endpoint did not want the request, which says little about the endpoint:
    /// the first to do so is asked once more when no other is left.
    fn refused(&mut self, endpoint: &Arc<Endpoint>) {
        if self.refusals == 0 {
            self.refuser = Some(Arc::clone(endpoint));
        }
        self.refusals += 1;
    }

    /// Goes on with the newest table; false where nothing has changed in it.
    fn renew(&mut self) -> bool {
        let table = self.plane.table.load();
        let newest = table.renewed(&self.target);
        match newest.filter(|newest| !Arc::ptr_eq(newest, &self.target)) {
            None => false,
            Some(newest) => {
                self.target = Arc::clone(newest);
                self.tried.clear();
                true
            }
        }
    }
}

/// Sends the request to an endpoint. One that does not take the connection is ejected and the
/// request goes to another. One that takes the request and dies gets it taken away once, if
/// sending it twice does no harm: a request that kills whoever gets it must not go round. An
/// endpoint that was on its way out of the table anyway does not count. One that refuses the
/// request has done nothing with it, so that any request can go to another.
///
/// `limit` is the time for one try.
pub(super) async fn forward(
    plane: &Plane,
    target: &Arc<Target>,
    parts: Parts,
    body: RequestBody,
    limit: Option<Duration>,
    interim: &Interim,
) -> Result<Reply, Unanswered> {
    let mut search = Search::new(plane, target);
    let mut sending = Sending::new(parts, body, target.http2);
    let mut reason = (Cause::NoEndpoints, String::new());
    let mut losses = 0;
    while let Some(endpoint) = search.next() {
        let in_flight = endpoint.begin();
        let trying = upstream::send(&endpoint, &mut sending, interim);
        let sent = match limit {
            None => trying.await,
            Some(limit) => match tokio::time::timeout(limit, trying).await {
                Ok(sent) => sent,
                Err(_) => return Err(too_late(target, limit)),
            },
        };
        match sent {
            Ok((head, body)) => {
                return Ok(Reply {
                    head,
                    body,
                    in_flight,
                });
            }
            Err(Failure::NotSent(source)) => {
                let words = refused(target, &endpoint, &*source);
                reason = (Cause::ConnectFailed, words);
            }
            Err(Failure::Refused(source)) => {
                tracing::debug!(endpoint = %endpoint.address, error = %source, "refused");
                reason = (Cause::UpstreamClosed, declined(target, &endpoint));
                search.refused(&endpoint);
            }
            Err(Failure::Client(error)) => return Err(client_broke(&error)),
            Err(Failure::Lost { again, source }) => {
                tracing::debug!(endpoint = %endpoint.address, error = %source, "no answer");
                reason = (Cause::UpstreamClosed, lost(target, &endpoint));
                losses += usize::from(!search.renew());
                if !again || losses > 1 {
                    break;
                }
            }
        }
    }
    if reason.0 == Cause::NoEndpoints {
        reason.1 = no_endpoints(target);
    }
    Err(reason)
}

fn client_broke(error: &BodyError) -> Unanswered {
    let cause = match error {
        BodyError::TooLarge => Cause::BodyTooLarge,
        BodyError::TooSlow => Cause::Slow,
        BodyError::Malformed(_) | BodyError::Cut | BodyError::Late | BodyError::Http2(_) => {
            Cause::BadRequest
        }
    };
    (cause, error.to_string())
}

fn no_endpoints(target: &Target) -> String {
    format!("no ready endpoints for service {}", target.name)
}

fn refused(target: &Target, endpoint: &Endpoint, error: &dyn std::error::Error) -> String {
    format!(
        "no endpoint of service {} takes connections ({}: {error})",
        target.name,
        named(endpoint)
    )
}

fn declined(target: &Target, endpoint: &Endpoint) -> String {
    let (name, endpoint) = (&target.name, named(endpoint));
    format!("endpoint {endpoint} of service {name} refused the request")
}

fn lost(target: &Target, endpoint: &Endpoint) -> String {
    let (name, endpoint) = (&target.name, named(endpoint));
    format!("endpoint {endpoint} of service {name} closed the connection without an answer")
}

/// An endpoint's address, behind the name of its pod where that is known.
fn named(endpoint: &Endpoint) -> String {
    match endpoint.pod.as_str() {
        "" => endpoint.address.to_string(),
        pod => format!("{pod} {}", endpoint.address),
    }
}

fn too_late(target: &Target, limit: Duration) -> Unanswered {
    let words = format!(
        "service {} did not answer within {} ms",
        target.name,
        limit.as_millis()
    );
    (Cause::Timeout, words)
}
