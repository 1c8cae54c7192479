//! What is sent, how often, and by how many users.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Uri};
use serde::{Deserialize, Serialize};

use crate::neighbourhood::{Neighbourhood, Refused};

/// Most requests per second. Beyond it one process measures itself and no longer the service.
pub(crate) const MAX_RATE: f64 = 10_000.0;
/// Most users: each keeps a connection open, and a process may open 1024 files by default.
pub(crate) const MAX_USERS: u32 = 800;
/// Longest wait for an answer.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(300);
/// Sets the headers of the request itself, which are not for the plan to choose.
const OWN_HEADERS: [HeaderName; 5] = [
    http::header::HOST,
    http::header::CONNECTION,
    http::header::CONTENT_LENGTH,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
];

/// A stream of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Where they go.
    pub target: Target,
    /// Requests per second.
    pub rate: f64,
    /// Users among whom the requests are shared. Each has one connection and one cookie.
    pub users: u32,
    /// What is asked for.
    pub paths: Vec<WeightedPath>,
    /// Method of every request.
    pub method: String,
    /// Headers of every request: name and value.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The `Host` header, where it is not the target's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Whether users keep their connection between requests.
    pub keep_alive: bool,
    /// Longest wait for an answer, in milliseconds.
    pub timeout_ms: u64,
    /// When it ends by itself, in milliseconds after its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// Where requests go: an address, and how it is written in a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The address.
    pub address: SocketAddr,
    /// `host:port`, as the `Host` header has it.
    pub authority: String,
}

/// A path and its share of the requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightedPath {
    /// Path and query.
    pub path: String,
    /// Its share, relative to the other paths'.
    pub weight: u32,
}

/// Why a plan cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The target is no URL of a kind that is served.
    #[error("{url:?} is not a URL to send requests to: {reason}")]
    Url {
        /// The text.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The target is not ours.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A field of the plan.
    #[error("{field} is {value}: {reason}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        reason: String,
    },
}

impl Invalid {
    fn field(field: &'static str, value: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::Field {
            field,
            value: value.to_string(),
            reason: reason.into(),
        }
    }
}

impl Target {
    /// Reads `http://host:port`, with an optional path that is given back beside the target.
    ///
    /// # Errors
    /// Where the text is no such URL, or the host is not in the neighbourhood.
    pub fn parse(
        url: &str,
        neighbourhood: &Neighbourhood,
    ) -> Result<(Self, Option<String>), Invalid> {
        let wrong = |reason: &str| Invalid::Url {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let uri = url
            .parse::<Uri>()
            .map_err(|error| wrong(&error.to_string()))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(wrong(
                    "traffic is sent without TLS only; use the http listener",
                ));
            }
            Some(_) | None => return Err(wrong("it must begin with http://")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a user and password in it are not supported"));
        }
        let address = neighbourhood.admit(authority.host())?;
        let port = authority.port_u16().unwrap_or(80);
        let path = uri.path_and_query().map(|path| path.as_str());
        Ok((
            Self {
                address: SocketAddr::new(address, port),
                authority: authority.as_str().to_owned(),
            },
            path.filter(|path| *path != "/").map(str::to_owned),
        ))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl FromStr for WeightedPath {
    type Err = String;

    /// Reads `/path` (weight 1) or `/path@3`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (path, weight) = match text.rsplit_once('@') {
            Some((path, weight)) if weight.bytes().all(|byte| byte.is_ascii_digit()) => {
                let weight = weight
                    .parse()
                    .map_err(|_| format!("the weight {weight:?} is not a number"))?;
                (path, weight)
            }
            Some(_) | None => (text, 1),
        };
        if !path.starts_with('/') {
            return Err(format!("{path:?} must begin with /"));
        }
        path.parse::<http::uri::PathAndQuery>()
            .map_err(|error| format!("{path:?} is not a path: {error}"))?;
        Ok(Self {
            path: path.to_owned(),
            weight,
        })
    }
}

impl Plan {
    /// Fifty requests per second for `/` from ten users.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            target,
            rate: 50.0,
            users: 10,
            paths: vec![WeightedPath {
                path: "/".to_owned(),
                weight: 1,
            }],
            method: "GET".to_owned(),
            headers: Vec::new(),
            host: None,
            keep_alive: true,
            timeout_ms: 5_000,
            duration_ms: None,
        }
    }

    /// Longest wait for an answer.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// When it ends by itself.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.duration_ms.map(Duration::from_millis)
    }

    /// Makes sure that the plan can be carried out.
    ///
    /// # Errors
    /// With the field and what it must be.
    pub fn check(&self, neighbourhood: &Neighbourhood) -> Result<(), Invalid> {
        if !neighbourhood.contains(self.target.address.ip()) {
            neighbourhood.admit(&self.target.address.ip().to_string())?;
        }
        if !(self.rate > 0.0 && self.rate <= MAX_RATE) {
            let reason = format!("it must be above 0 and at most {MAX_RATE} per second");
            return Err(Invalid::field("the rate", self.rate, reason));
        }
        if !(1..=MAX_USERS).contains(&self.users) {
            let reason = format!("it must be from 1 to {MAX_USERS}");
            return Err(Invalid::field("the number of users", self.users, reason));
        }
        if self.paths.iter().all(|path| path.weight == 0) {
            let reason = "at least one path must have a weight above 0";
            return Err(Invalid::field("the list of paths", "empty", reason));
        }
        if self.timeout_ms == 0 || self.timeout() > MAX_TIMEOUT {
            let reason = format!("it must be above 0 and at most {} s", MAX_TIMEOUT.as_secs());
            let value = format!("{} ms", self.timeout_ms);
            return Err(Invalid::field("the timeout", value, reason));
        }
        if self.duration_ms == Some(0) {
            return Err(Invalid::field("the duration", "0", "it must be above 0"));
        }
        self.check_request()
    }

    fn check_request(&self) -> Result<(), Invalid> {
        let method = Method::from_bytes(self.method.as_bytes());
        if method.is_err() || self.method == "CONNECT" {
            let reason = "it must be an HTTP method such as GET or POST";
            return Err(Invalid::field("the method", &self.method, reason));
        }
        for (name, value) in &self.headers {
            let Ok(parsed) = name.parse::<HeaderName>() else {
                let reason = "it is no name of a header";
                return Err(Invalid::field("a header's name", name, reason));
            };
            if OWN_HEADERS.contains(&parsed) {
                let reason = if parsed == http::header::HOST {
                    "set it with --host"
                } else {
                    "the connection sets it"
                };
                return Err(Invalid::field("a header's name", name, reason));
            }
            if HeaderValue::from_str(value).is_err() {
                let reason = "it holds characters that a header may not have";
                return Err(Invalid::field("a header's value", value, reason));
            }
        }
        match &self.host {
            Some(host) if host.parse::<http::uri::Authority>().is_err() => {
                Err(Invalid::field("the host", host, "it is no host name"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The path of the request with this number. Shares are kept as evenly as they can be, and
    /// the same number always gives the same path.
    pub(crate) fn path(&self, number: u64) -> &str {
        /// Multiples of the golden ratio's fraction fill the unit interval most evenly.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let total: u64 = self.paths.iter().map(|path| u64::from(path.weight)).sum();
        let fraction = u128::from(number.wrapping_mul(GOLDEN));
        let place = u64::try_from((fraction * u128::from(total)) >> 64).unwrap_or(0);
        let mut up_to = 0;
        let found = self.paths.iter().find(|path| {
            up_to += u64::from(path.weight);
            place < up_to
        });
        found.map_or("/", |path| &path.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let (target, _) =
            Target::parse("http://127.0.0.1:8080", &Neighbourhood::loopback()).unwrap();
        Plan::new(target)
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Plan), expected: &str) {
        let mut plan = plan();
        change(&mut plan);
        let message = plan
            .check(&Neighbourhood::loopback())
            .unwrap_err()
            .to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn a_plan_that_makes_no_sense_is_refused_with_the_field() {
        plan().check(&Neighbourhood::loopback()).unwrap();
        refused(|plan| plan.rate = 0.0, "the rate is 0");
        refused(|plan| plan.rate = f64::NAN, "the rate is NaN");
        refused(|plan| plan.rate = 1e9, "at most 10000 per second");
        refused(|plan| plan.users = 0, "the number of users is 0");
        refused(|plan| plan.paths.clear(), "the list of paths");
        refused(|plan| plan.timeout_ms = 0, "the timeout is 0 ms");
        refused(|plan| plan.duration_ms = Some(0), "the duration is 0");
        refused(|plan| plan.method = "G T".to_owned(), "the method is G T");
        refused(
            |plan| plan.headers = vec![("Host".into(), "x".into())],
            "--host",
        );
        refused(
            |plan| plan.headers = vec![("a b".into(), "x".into())],
            "no name of a header",
        );
        refused(
            |plan| plan.headers = vec![("a".into(), "x\n".into())],
            "a header's value",
        );
        refused(
            |plan| plan.target.address = "8.8.8.8:53".parse().unwrap(),
            "8.8.8.8 is neither this machine",
        );
    }

    #[track_caller]
    fn url(text: &str, expected: &str) {
        let parsed = Target::parse(text, &Neighbourhood::loopback());
        let shown = match parsed {
            Ok((target, path)) => format!("{} {}", target.address, path.unwrap_or_default()),
            Err(error) => error.to_string(),
        };
        assert!(shown.contains(expected), "{text}: {shown}");
    }

    #[test]
    fn urls_of_this_machine_are_read() {
        url("http://localhost:8080", "127.0.0.1:8080 ");
        url("http://127.9.128.3/api?x=1", "127.9.128.3:80 /api?x=1");
        url("https://127.0.0.1", "without TLS");
        url("127.0.0.1:8080", "must begin with http://");
        url("ftp://127.0.0.1", "must begin with http://");
        url("http://u:p@127.0.0.1", "user and password");
        url("http://example.com", "example.com is neither");
        url("http://", "is not a URL");
    }

    #[test]
    fn paths_come_in_the_share_of_their_weights() {
        let mut plan = plan();
        plan.paths = vec!["/".parse().unwrap(), "/api?q=a@b@3".parse().unwrap()];
        assert_eq!(plan.paths[1].path, "/api?q=a@b");
        let api = (0..4000).filter(|number| plan.path(*number) != "/").count();
        assert!((2990..=3010).contains(&api), "{api} of 4000");
        assert!("api".parse::<WeightedPath>().is_err());
        assert!("/a b".parse::<WeightedPath>().is_err());
    }
}
