//! The users of an application: a steady stream of requests, and a record of what they met.
//!
//! The stream is an open loop: requests are due at fixed moments whether or not the ones before
//! were answered, as real users come whether or not a service is well. What they met is written
//! to a [`Record`]: successes summed up per second, failures one by one. The record is what
//! `devops-lab traffic watch`, reports and availability checks read, also while it is written.
//!
//! ```text
//! Plan ──▶ run: one task per user ──outcomes──▶ Tally (a second at a time) ──▶ record on disk
//!                                                                                   │
//!                                     Record, Follower, Summary: watch, report, checks
//! ```
//!
//! This crate knows HTTP, a directory and a clock. It must not know Kubernetes, clusters or how
//! it was started. Requests go to addresses of this machine and of the cluster only
//! ([`Neighbourhood`]): a load generator that can be pointed at a stranger is a weapon.
//!
//! Start reading at [`Plan`], then [`run`], then [`Record`].

mod histogram;
mod load;
mod neighbourhood;
mod outcome;
mod plan;
mod record;
mod second;
mod summary;
mod tally;

pub use histogram::Histogram;
pub use load::{TrafficError, run};
pub use neighbourhood::{Neighbourhood, Refused};
pub use outcome::{Backend, Cause, Failure};
pub use plan::{Invalid, Plan, Target, WeightedPath};
pub use record::{End, Ending, Entry, Follower, Record, RecordError, Run, Writer};
pub use second::{Second, Share, Statuses};
pub use summary::{CauseCount, Summary, VersionShare};
