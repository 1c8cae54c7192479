//! What one request met.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Who answered, as far as the answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Backend {
    /// Version of the application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// Name of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Arc<str>>,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// An answer whose status is not from 200 to 399.
    Status,
    /// Nobody took the connection.
    Refused,
    /// The connection ended before the answer did.
    Closed,
    /// No whole answer in time.
    Timeout,
    /// The answer was no HTTP.
    Invalid,
}

impl Cause {
    /// In a word or two, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Status => "error status",
            Self::Refused => "connection refused",
            Self::Closed => "connection closed",
            Self::Timeout => "timeout",
            Self::Invalid => "invalid answer",
        }
    }
}

/// One request that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// When it failed.
    pub at: Timestamp,
    /// Why.
    pub cause: Cause,
    /// Status of the answer, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The reason in the words of the load balancer, the application or the system.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
    /// Time from when it was due to when it failed, in milliseconds.
    pub took_ms: f64,
    /// Who answered.
    #[serde(flatten)]
    pub backend: Backend,
    /// What was asked for.
    pub path: String,
    /// Number of the user, from 1.
    pub user: u32,
}

impl Failure {
    /// `503 no-endpoints`, or the cause where there is no status: failures that read the same
    /// are counted together.
    #[must_use]
    pub fn label(&self) -> String {
        match self.status {
            Some(status) => status.to_string(),
            None => self.cause.words().to_owned(),
        }
    }
}

/// What one request met, on its way to the tally.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) user: u32,
    pub(crate) number: u64,
    pub(crate) took: Duration,
    pub(crate) reply: Reply,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A whole answer.
    Answered {
        status: u16,
        backend: Backend,
        /// What it says about itself, where it is no success.
        words: String,
    },
    /// None.
    Broken { cause: Cause, words: String },
}

impl Reply {
    pub(crate) fn broken(cause: Cause, words: impl Into<String>) -> Self {
        let words = words.into();
        Self::Broken { cause, words }
    }

    /// A success is an answer from 200 to 399.
    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Self::Answered { status, .. } if (200..400).contains(status))
    }
}
