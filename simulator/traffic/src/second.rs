//! A second of traffic, summed up.

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::outcome::Backend;

/// What the requests met that ended within one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Second {
    /// Which second, since 1970.
    pub at: i64,
    /// Requests that ended in it.
    pub requests: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Answers by class of status.
    pub statuses: Statuses,
    /// Requests by who answered.
    pub shares: Vec<Share>,
    /// How long the answers took that came.
    pub latency: Histogram,
    /// The longest stretch without any success that was under way in this second, from its
    /// first failure on, in milliseconds; 0 where there was none.
    #[serde(default)]
    pub outage_ms: u64,
}

/// Answers by class of status; what is missing to the number of requests got none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statuses {
    /// 200 to 299.
    #[serde(rename = "2xx", default)]
    pub success: u64,
    /// 300 to 399.
    #[serde(rename = "3xx", default)]
    pub redirect: u64,
    /// 400 to 499.
    #[serde(rename = "4xx", default)]
    pub client: u64,
    /// 500 to 599.
    #[serde(rename = "5xx", default)]
    pub server: u64,
    /// No answer.
    #[serde(default)]
    pub none: u64,
}

impl Statuses {
    pub(crate) fn count(&mut self, status: Option<u16>) {
        let class = match status.map(|status| status / 100) {
            Some(2) => &mut self.success,
            Some(3) => &mut self.redirect,
            Some(4) => &mut self.client,
            Some(_) => &mut self.server,
            None => &mut self.none,
        };
        *class += 1;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        let Self {
            success,
            redirect,
            client,
            server,
            none,
        } = other;
        self.success += success;
        self.redirect += redirect;
        self.client += client;
        self.server += server;
        self.none += none;
    }
}

/// What one backend answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Who.
    #[serde(flatten)]
    pub backend: Backend,
    /// Requests that it answered.
    pub requests: u64,
    /// Those of them that failed.
    #[serde(default)]
    pub failed: u64,
}
