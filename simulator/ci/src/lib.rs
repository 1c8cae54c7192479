//! Pipelines: what a `git push` to the cluster's repository starts.
//!
//! Workflow files are a subset of GitHub Actions, run on this machine as a self-hosted runner
//! does: one job at a time. Every run is kept in a directory of its own, and [`runs`] reads them.
//!
//! ```text
//! git push ─▶ hook ─▶ Pipelines::push ─▶ workflow: parse, decide ─▶ executor: jobs, steps
//!                                             │ refused by name        │            │
//!                                             ▼                        ▼            ▼
//!                                          Console                   runs        Console
//! ```
//!
//! This crate knows git, processes and a directory. It must not know Kubernetes, clusters or
//! images: what a pipeline may reach is handed in as variables ([`Site`]).
//!
//! Start reading at [`Pipelines`], then `workflow`, then `executor`; whoever reads runs, at
//! [`runs::Run`].

mod cancel;
mod commands;
mod console;
mod executor;
mod expression;
mod git;
mod glob;
mod mask;
mod pipeline;
mod problem;
pub mod repository;
pub mod runs;
mod site;
mod workflow;
mod yaml;

pub use cancel::Cancel;
pub use console::Console;
pub use git::GitError;
pub use pipeline::{PipelineError, Pipelines, Update, cancel_all};
pub use problem::{Place, Problem, Problems};
pub use site::Site;
