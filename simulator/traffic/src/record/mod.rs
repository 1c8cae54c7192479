//! The record of what requests met: lines of JSON in files that are only appended to.
//!
//! ```text
//! DIR/lock              held by the one writer
//! DIR/00000001.jsonl    {"run":{"version":1,"run":1,"started":…,"plan":{…}}}
//!                       {"failure":{"at":…,"cause":"closed",…}}
//!                       {"second":{"at":1767225600,"requests":50,"failed":1,…}}
//!                       {"end":{"at":…,"reason":"stopped"}}
//! DIR/00000002.jsonl    the same run goes on, or another begins
//! ```
//!
//! A failure is on disk when it is known, a second when it is over, both past the death of the
//! writer. What a kill cuts off in the middle of a line is not read. Old files go when there are
//! too many, so the record is bounded.

mod reader;
mod segment;
mod writer;

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::outcome::Failure;
use crate::plan::Plan;
use crate::second::Second;

pub use reader::{Follower, Record};
pub use writer::Writer;

/// Version of the record that this program writes and reads.
pub(crate) const VERSION: u32 = 1;

/// One line of the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Entry {
    /// The first line of every file: the run that it belongs to.
    Run(Run),
    /// A second that is over.
    Second(Second),
    /// A request that failed.
    Failure(Failure),
    /// The run ended in order.
    End(End),
}

impl Entry {
    /// When it happened; the whole second for a second.
    #[must_use]
    pub fn second(&self) -> i64 {
        match self {
            Self::Run(run) => run.started.as_second(),
            Self::Second(second) => second.at,
            Self::Failure(failure) => failure.at.as_second(),
            Self::End(end) => end.at.as_second(),
        }
    }
}

/// A stream of requests from its start to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Version of the record.
    pub version: u32,
    /// Number of the run; it grows.
    pub run: u64,
    /// When it started.
    pub started: Timestamp,
    /// What was sent.
    pub plan: Plan,
}

/// The orderly end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Ending,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// It was told to.
    Stopped,
    /// Its time was over.
    Finished,
}

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Nothing has been recorded.
    #[error("no traffic was recorded in {}", dir.display())]
    Empty {
        /// Where.
        dir: PathBuf,
    },
    /// Another process writes it.
    #[error("another process writes the record in {}", dir.display())]
    Locked {
        /// Where.
        dir: PathBuf,
    },
    /// A newer program wrote it.
    #[error(
        "{} was written by a newer devops-lab (record version {found}, this program reads up to {VERSION}): read it with that one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A file does not begin as a record does.
    #[error("{} is not a record of traffic: its first line is not readable", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("failed to {verb} {}", path.display())]
    Io {
        /// `read`, `write` …
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}
