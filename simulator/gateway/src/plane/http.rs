//! From a client's request to its response.

use std::sync::Arc;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::answer::{Cause, answer};
use super::body::{Record, RequestBody, ResponseBody, UpstreamBody};
use super::forward::{Reply, Unanswered, forward};
use super::{Plane, Stop, headers, tunnel};
use crate::table::{Backend, Hit, Origin, Rule, host_of};

/// Longest part of a path that an answer repeats.
const QUOTED: usize = 200;

/// One client connection.
#[derive(Debug)]
pub(super) struct Client {
    /// The client's address in the form of a header.
    pub(super) address: HeaderValue,
    /// The listener's port.
    pub(super) port: u16,
    /// True over TLS.
    pub(super) secure: bool,
    pub(super) stop: Stop,
}

/// Answers one request.
pub(super) async fn serve(
    plane: &Arc<Plane>,
    client: &Client,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let started = Instant::now();
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let upgrade = upgrade.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let routed = match route(plane, client, &parts) {
        Ok(routed) => routed,
        Err((cause, words)) => {
            let response = answer(cause, &words);
            plane
                .metrics
                .unrouted
                .record(response.status(), started.elapsed());
            return response;
        }
    };
    let exchange = Exchange {
        plane,
        client,
        started,
        routed,
    };
    exchange.answer(parts, body, upgrade).await
}

/// A request that found its rule.
struct Routed {
    hit: Hit,
    host: HeaderValue,
}

fn route(plane: &Plane, client: &Client, parts: &Parts) -> Result<Routed, Unanswered> {
    if parts.method == Method::CONNECT {
        return Err((Cause::NotImplemented, "CONNECT is not served".to_owned()));
    }
    let host =
        headers::host_header(parts).map_err(|words| (Cause::BadRequest, words.to_owned()))?;
    let name = host.to_str().map(host_of).unwrap_or_default();
    match plane.table.load().route(client.port, &name, parts) {
        Some(hit) => Ok(Routed { hit, host }),
        None => {
            let path: String = parts.uri.path().chars().take(QUOTED).collect();
            let words = format!(
                "no route for {} {name}{path} on port {}",
                parts.method, client.port
            );
            Err((Cause::NoRoute, words))
        }
    }
}

struct Exchange<'a> {
    plane: &'a Arc<Plane>,
    client: &'a Client,
    started: Instant,
    routed: Routed,
}

impl Exchange<'_> {
    fn rule(&self) -> &Rule {
        &self.routed.hit.rule
    }

    async fn answer(
        &self,
        parts: Parts,
        body: Incoming,
        upgrade: Option<OnUpgrade>,
    ) -> Response<ResponseBody> {
        if self.rule().filters.redirect.is_some() {
            return self.by_rule(self.redirect(&parts));
        }
        let Some(backend) = self.rule().backends.next() else {
            let words = format!(
                "rule {} of route {} has no backend",
                self.rule().index,
                self.rule().route
            );
            return self.by_rule(answer(Cause::NoBackends, &words));
        };
        match self.ask(backend, parts, body, upgrade).await {
            Ok(response) => response,
            Err((cause, words)) => {
                let mut response = answer(cause, &words);
                self.rule().filters.response.apply(response.headers_mut());
                backend
                    .series
                    .record(response.status(), self.started.elapsed());
                response
            }
        }
    }

    /// Counts an answer that no backend has a part in.
    fn by_rule(&self, mut response: Response<ResponseBody>) -> Response<ResponseBody> {
        self.rule().filters.response.apply(response.headers_mut());
        self.rule()
            .series
            .record(response.status(), self.started.elapsed());
        response
    }

    fn redirect(&self, parts: &Parts) -> Response<ResponseBody> {
        let Some(redirect) = &self.rule().filters.redirect else {
            return answer(Cause::NoBackends, "no redirect");
        };
        let host = self.routed.host.to_str().map(host_of).unwrap_or_default();
        let origin = Origin {
            secure: self.client.secure,
            host: &host,
            port: self.client.port,
        };
        let location = redirect.location(origin, &parts.uri, self.routed.hit.prefix);
        let mut response = answer(Cause::Redirect(redirect.status), &location);
        match HeaderValue::try_from(location) {
            Ok(location) => {
                response.headers_mut().insert(header::LOCATION, location);
                response
            }
            Err(_) => answer(
                Cause::BadRequest,
                "the path cannot be sent in a Location header",
            ),
        }
    }

    async fn ask(
        &self,
        backend: &Arc<Backend>,
        parts: Parts,
        body: Incoming,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<ResponseBody>, Unanswered> {
        let target = backend.target.as_ref().map_err(|refusal| {
            (
                Cause::InvalidBackend,
                format!("backend {}: {}", backend.name, refusal.message),
            )
        })?;
        let request = self.prepare(backend, parts, body);
        let forwarding = forward(self.plane, target, request, self.rule().timeouts.backend);
        let reply = match self.rule().timeouts.request {
            None => forwarding.await,
            Some(limit) => tokio::time::timeout_at(self.started + limit, forwarding)
                .await
                .unwrap_or_else(|_| {
                    let words = format!(
                        "route {} did not answer within {} ms",
                        self.rule().route,
                        limit.as_millis()
                    );
                    Err((Cause::Timeout, words))
                }),
        }?;
        self.reply(backend, reply, upgrade)
    }

    /// The request as the backend gets it.
    fn prepare(&self, backend: &Backend, mut parts: Parts, body: Incoming) -> Request<RequestBody> {
        let upgrade = headers::upgrade_wanted(&parts);
        headers::in_http1_form(&mut parts);
        headers::strip_hop_by_hop(&mut parts.headers);
        if let Some(protocol) = upgrade {
            headers::ask_upgrade(&mut parts.headers, protocol);
        }
        headers::tell_client(
            &mut parts.headers,
            &self.client.address,
            &self.routed.host,
            self.client.secure,
        );
        parts.headers.insert(header::HOST, self.routed.host.clone());
        self.rewrite(&mut parts);
        self.rule().filters.request.apply(&mut parts.headers);
        backend.filters.request.apply(&mut parts.headers);
        Request::from_parts(parts, RequestBody::from(body))
    }

    fn rewrite(&self, parts: &mut Parts) {
        let Some(rewrite) = &self.rule().filters.rewrite else {
            return;
        };
        if let Some(host) = &rewrite.host {
            parts.headers.insert(header::HOST, host.clone());
        }
        if let Some(edit) = &rewrite.path {
            let path = edit.apply(parts.uri.path(), self.routed.hit.prefix);
            let query = parts
                .uri
                .query()
                .map(|query| format!("?{query}"))
                .unwrap_or_default();
            if let Ok(uri) = format!("{path}{query}").parse() {
                parts.uri = uri;
            }
        }
    }

    /// The response as the client gets it.
    fn reply(
        &self,
        backend: &Backend,
        reply: Reply,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<ResponseBody>, Unanswered> {
        let Reply {
            mut response,
            lease,
            in_flight,
        } = reply;
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let protocol = response.headers().get(header::UPGRADE).cloned();
        headers::strip_hop_by_hop(response.headers_mut());
        if switched {
            let (Some(client), Some(protocol)) = (upgrade, protocol) else {
                let words = format!("backend {} changed the protocol unasked", backend.name);
                return Err((Cause::UpstreamClosed, words));
            };
            headers::ask_upgrade(response.headers_mut(), protocol);
            self.join(client, hyper::upgrade::on(&mut response), in_flight);
            backend
                .series
                .record(response.status(), self.started.elapsed());
            return Ok(response.map(|_| ResponseBody::Text(None)));
        }
        backend.filters.response.apply(response.headers_mut());
        self.rule().filters.response.apply(response.headers_mut());
        let (mut parts, inner) = response.into_parts();
        parts.version = http::Version::HTTP_11;
        let limit = self.rule().timeouts.request;
        let body = UpstreamBody {
            inner,
            finished: false,
            lease: Some(lease),
            deadline: limit.map(|limit| Box::pin(tokio::time::sleep_until(self.started + limit))),
            in_flight,
            _record: Record {
                series: Arc::clone(&backend.series),
                status: parts.status,
                started: self.started,
            },
        };
        Ok(Response::from_parts(
            parts,
            ResponseBody::Upstream(Box::new(body)),
        ))
    }

    /// Carries bytes between client and backend once both have changed the protocol.
    fn join(&self, client: OnUpgrade, backend: OnUpgrade, in_flight: super::endpoint::InFlight) {
        let stop = self.client.stop.clone();
        self.plane.connections.spawn(async move {
            let _in_flight = in_flight;
            match tokio::try_join!(client, backend) {
                Ok((client, backend)) => {
                    tunnel::carry(TokioIo::new(client), TokioIo::new(backend), &stop).await;
                }
                Err(error) => tracing::debug!(%error, "change of protocol failed"),
            }
        });
    }
}
