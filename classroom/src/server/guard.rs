//! What keeps strangers out: headers, rate limits, tokens and sessions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;

use super::{Refusal, Server};
use crate::secrets::same;
use crate::store::Session;

/// Name of the session's cookie.
pub(super) const COOKIE: &str = "devops-lab-session";
/// The header in which a change repeats the session's own word.
const CSRF: &str = "x-csrf";

/// Wrong codes and passwords that one address may try in [`WINDOW`].
const TRIES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the oldest are forgotten first.
const ADDRESSES: usize = 10_000;

/// Nothing from elsewhere, no script or style in the page itself, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// How often who may be wrong.
#[derive(Debug, Default)]
pub struct Limits {
    wrong: Mutex<HashMap<IpAddr, (Timestamp, u32)>>,
}

impl Limits {
    /// Refuses an address that was wrong too often lately.
    pub(super) fn admit(&self, address: IpAddr, now: Timestamp) -> Result<(), Refusal> {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        match wrong.get(&address) {
            Some((since, count)) if *count >= TRIES && age(*since, now) < WINDOW => {
                Err(Refusal::because(
                    StatusCode::TOO_MANY_REQUESTS,
                    format!("too many wrong tries: wait {} seconds", WINDOW.as_secs()),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Notes that an address was wrong.
    pub(super) fn wrong(&self, address: IpAddr, now: Timestamp) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= ADDRESSES {
            wrong.retain(|_, (since, _)| age(*since, now) < WINDOW);
        }
        let entry = wrong.entry(address).or_insert((now, 0));
        if age(entry.0, now) >= WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
    }
}

fn age(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

/// Puts the headers on every answer that tell browsers what not to do.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The student whose token a request carries.
pub(super) struct Student(pub(super) u64);

impl FromRequestParts<Server> for Student {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, Refusal> {
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .unwrap_or_default()
            .to_owned();
        let student = server
            .with_store(move |store| store.student_of(&token))
            .await?;
        student.map(Self).ok_or_else(|| {
            Refusal::because(
                StatusCode::UNAUTHORIZED,
                "this machine is not in the class (any more): devops-lab class join",
            )
        })
    }
}

/// The teacher whose session a request carries; a change must carry the session's word too.
pub(super) struct Teacher(pub(super) Session);

impl FromRequestParts<Server> for Teacher {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, Refusal> {
        let Some(session) = session(&parts.headers, server).await? else {
            return Err(Refusal::because(
                StatusCode::UNAUTHORIZED,
                "log in with the teachers' password",
            ));
        };
        if parts.method != Method::GET {
            let word = parts
                .headers
                .get(CSRF)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            if !same(word, &session.csrf) {
                return Err(Refusal::because(
                    StatusCode::FORBIDDEN,
                    "this request does not come from the dashboard: load it again",
                ));
            }
        }
        Ok(Self(session))
    }
}

/// The session of a request's cookie.
pub(super) async fn session(
    headers: &HeaderMap,
    server: &Server,
) -> Result<Option<Session>, Refusal> {
    let Some(token) = cookie(headers) else {
        return Ok(None);
    };
    let now = server.now();
    server
        .with_store(move |store| store.session(&token, now))
        .await
}

/// The token in the session's cookie.
pub(super) fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).iter();
    let mut pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_wrong_tries_a_minute_and_no_more() {
        let limits = Limits::default();
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        for _ in 0..TRIES {
            assert!(limits.admit(address, at(0)).is_ok());
            limits.wrong(address, at(0));
        }
        assert!(limits.admit(address, at(59)).is_err());
        assert!(limits.admit("10.0.0.2".parse().unwrap(), at(59)).is_ok());
        assert!(limits.admit(address, at(60)).is_ok());
    }
}
