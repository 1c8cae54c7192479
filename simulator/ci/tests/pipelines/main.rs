//! Pipelines with a real git and real processes, in directories that exist only for one test.
//!
//! Where git is missing, tests say so and are skipped; with `CI=true` they fail instead.
//!
//! Start reading at [`world::World`], which every test begins with.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod actions;
mod cancelling;
mod example;
mod jobs;
mod secrets;
mod steps;
mod triggers;
mod world;
