//! Scraping: who is to be asked, how, and what becomes of the answers.
//!
//! `discovery` watches the API, `targets` says which targets follow (pure), `fetch` asks one,
//! `run` asks all of them in their rhythm and owns what is known of each.

mod discovery;
mod fetch;
mod run;
mod targets;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::labels::Labels;

pub(crate) use run::{Scraper, Shown, TargetView};

/// Time between two scrapes on a cluster of speed 1, as in Prometheus' own example.
pub const INTERVAL: Duration = Duration::from_secs(15);
/// Shortest time between two scrapes, however fast the cluster's time: targets live in real time.
pub const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// Longest time of one scrape.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Text that a part of this process exposes.
pub type Expose = Arc<dyn Fn() -> String + Send + Sync>;

/// Where a target's text comes from.
#[derive(Clone)]
pub enum Source {
    /// `http://ADDRESS/PATH`.
    Http {
        /// Address and port.
        address: SocketAddr,
        /// Path and query.
        path: String,
    },
    /// This process.
    Own(Expose),
    /// Nowhere: what stands in the way is told as the target's error.
    Refused(String),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

impl Source {
    /// As `/api/v1/targets` tells it.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Http { address, path } => format!("http://{address}{path}"),
            Self::Own(_) => "internal:/metrics".to_owned(),
            Self::Refused(_) => String::new(),
        }
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own(_), Self::Own(_)) => true,
            (Self::Refused(one), Self::Refused(other)) => one == other,
            (one, other) => one.url() == other.url() && !one.url().is_empty(),
        }
    }
}

/// Something that is scraped.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// What it was found by: `pods`, `serviceMonitor/NAMESPACE/NAME/INDEX` …
    pub pool: String,
    /// Where its text comes from.
    pub source: Source,
    /// Labels that all its series get.
    pub labels: Labels,
    /// Time between two scrapes.
    pub interval: Duration,
    /// Longest time of one.
    pub timeout: Duration,
    /// Whether its own labels win over those of the target.
    pub honor_labels: bool,
    /// Whether times that it gives are taken.
    pub honor_timestamps: bool,
}

/// A target that is always there.
#[derive(Clone, Debug)]
pub struct FixedTarget {
    /// Label `job`.
    pub job: String,
    /// Where its text comes from.
    pub source: Source,
    /// Time between two scrapes on a cluster of speed 1 [default: [`INTERVAL`]].
    pub interval: Option<Duration>,
}
