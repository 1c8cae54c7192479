//! Pipelines: what a `git push` to the cluster's repository starts.
//!
//! Workflow files are a subset of GitHub Actions, run on this machine as a self-hosted runner
//! does. Every run is kept in a directory of its own, and [`runs`] reads them.
//!
//! This crate knows git, processes and a directory. It must not know Kubernetes, clusters or
//! images: what a pipeline may reach is handed in as variables.
//!
//! Start reading at [`runs::Run`].

mod cancel;
mod commands;
mod console;
mod expression;
mod git;
mod glob;
mod mask;
mod problem;
pub mod repository;
pub mod runs;
mod workflow;
mod yaml;
