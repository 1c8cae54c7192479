//! The controllers against a real API server in the same process, on paused time.
//!
//! Scheduler and node agents are played by `harness`: pods are bound at once, and become ready
//! a second later unless their image is called `never-ready`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![expect(
    clippy::needless_pass_by_value,
    reason = "a strategy written as json!(…) reads best without references"
)]

mod api;
mod deployments;
mod garbage;
mod harness;
mod image_update;
mod namespaces;
mod nodes;
mod restarts;
mod rollouts;
mod services;
