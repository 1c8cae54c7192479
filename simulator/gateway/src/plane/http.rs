//! From a client's request to its response.

use std::sync::Arc;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Response, StatusCode, header, response};
use http_body::Body;
use tokio::time::Instant;

use super::answer::{Cause, answer, in_grpc_form, is_grpc};
use super::body::{Record, RequestBody, ResponseBody, Source, Tunnel, UpstreamBody};
use super::endpoint::InFlight;
use super::forward::{Reply, Unanswered, forward};
use super::interim::Interim;
use super::{Plane, Stop, headers, mirror};
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
    /// The client came over TLS.
    pub(super) secure: bool,
    pub(super) stop: Stop,
}

/// Answers one request, which began to arrive at `started`; `interim` is told what a backend
/// says before its response.
pub(super) async fn serve(
    plane: &Plane,
    client: &Client,
    started: Instant,
    parts: Parts,
    body: RequestBody,
    interim: &Interim,
) -> Response<ResponseBody> {
    let grpc = is_grpc(&parts);
    let response = respond(plane, client, started, parts, body, interim).await;
    if grpc {
        in_grpc_form(response)
    } else {
        response
    }
}

async fn respond(
    plane: &Plane,
    client: &Client,
    started: Instant,
    parts: Parts,
    mut body: RequestBody,
    interim: &Interim,
) -> Response<ResponseBody> {
    let routed = fits(plane, &parts, &mut body).and_then(|()| route(plane, client, &parts));
    let routed = match routed {
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
        interim,
    };
    exchange.answer(parts, body).await
}

/// Refuses a body that says itself that it is too large; any other is counted as it comes.
fn fits(plane: &Plane, parts: &Parts, body: &mut RequestBody) -> Result<(), Unanswered> {
    if body.is_empty() {
        return Ok(());
    }
    let type_ = parts.headers.get(header::CONTENT_TYPE);
    if type_.is_some_and(|type_| type_.as_bytes().starts_with(b"application/grpc")) {
        body.unbounded();
        return Ok(());
    }
    let limit = plane.limits.body;
    if body.size_hint().lower() > limit {
        let words = format!("the body is larger than {limit} bytes");
        return Err((Cause::BodyTooLarge, words));
    }
    Ok(())
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
    plane: &'a Plane,
    client: &'a Client,
    started: Instant,
    routed: Routed,
    interim: &'a Interim,
}

impl Exchange<'_> {
    fn rule(&self) -> &Rule {
        &self.routed.hit.rule
    }

    async fn answer(&self, parts: Parts, body: RequestBody) -> Response<ResponseBody> {
        if let Some(faults) = &self.rule().faults
            && let Some(status) = faults.play().await
        {
            let words = format!("fault injected on route {}", self.rule().route);
            return self.by_rule(answer(Cause::Injected(status), &words));
        }
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
        match self.ask(backend, parts, body).await {
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
        body: RequestBody,
    ) -> Result<Response<ResponseBody>, Unanswered> {
        let target = backend.target.as_ref().map_err(|refusal| {
            (
                Cause::InvalidBackend,
                format!("backend {}: {}", backend.name, refusal.message),
            )
        })?;
        let mut parts = self.prepare(parts);
        let body = mirror::copy(self.plane, &self.rule().mirrors, &parts, body);
        backend.filters.request.apply(&mut parts.headers);
        let limit = self.rule().timeouts.backend;
        let forwarding = forward(self.plane, target, parts, body, limit, self.interim);
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
        self.reply(backend, reply)
    }

    /// The request as every backend of the rule gets it.
    fn prepare(&self, mut parts: Parts) -> Parts {
        let upgrade = headers::upgrade_wanted(&parts);
        headers::in_http1_form(&mut parts);
        headers::strip_hop_by_hop(&mut parts.headers);
        // The client gets its word to go on from us.
        parts.headers.remove(header::EXPECT);
        if let Some(protocol) = upgrade {
            headers::ask_upgrade(&mut parts.headers, protocol);
        }
        let (client, host) = (self.client, &self.routed.host);
        headers::tell_client(&mut parts.headers, &client.address, host, client.secure);
        parts.headers.insert(header::HOST, host.clone());
        self.rewrite(&mut parts);
        self.rule().filters.request.apply(&mut parts.headers);
        parts
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
    fn reply(&self, backend: &Backend, reply: Reply) -> Result<Response<ResponseBody>, Unanswered> {
        let Reply {
            mut head,
            body,
            in_flight,
        } = reply;
        let protocol = head.headers.get(header::UPGRADE).cloned();
        headers::strip_hop_by_hop(&mut head.headers);
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.join(backend, head, protocol, body, in_flight);
        }
        backend.filters.response.apply(&mut head.headers);
        self.rule().filters.response.apply(&mut head.headers);
        head.version = http::Version::HTTP_11;
        let limit = self.rule().timeouts.request;
        let body = UpstreamBody {
            inner: body,
            deadline: limit.map(|limit| Box::pin(tokio::time::sleep_until(self.started + limit))),
            in_flight,
            record: Record {
                series: Arc::clone(&backend.series),
                status: head.status,
                started: self.started,
            },
        };
        Ok(Response::from_parts(head, ResponseBody::Upstream(body)))
    }

    /// Client and backend both change the protocol.
    fn join(
        &self,
        backend: &Backend,
        mut head: response::Parts,
        protocol: Option<HeaderValue>,
        body: Source,
        in_flight: InFlight,
    ) -> Result<Response<ResponseBody>, Unanswered> {
        let link = match body {
            Source::Http1(download) => download.into_link(),
            Source::Http2(_) => None,
        };
        let (Some(link), Some(protocol)) = (link, protocol) else {
            let words = format!("backend {} changed the protocol unasked", backend.name);
            return Err((Cause::UpstreamClosed, words));
        };
        headers::ask_upgrade(&mut head.headers, protocol);
        backend.series.record(head.status, self.started.elapsed());
        in_flight.endpoint().count(head.status);
        let tunnel = Tunnel {
            link,
            _in_flight: in_flight,
        };
        Ok(Response::from_parts(
            head,
            ResponseBody::Tunnel(Box::new(tunnel)),
        ))
    }
}
