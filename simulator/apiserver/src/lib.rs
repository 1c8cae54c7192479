//! The Kubernetes API over a versioned store: an axum router that real clients drive.
//!
//! This crate must never know about controllers, nodes or engines. Where a request needs a
//! node (logs, exec), the crate defines the trait and the composition root supplies it.
//!
//! Start reading at `router`, then one handler, then one file of [`resources`].

pub mod resources;
pub mod validation;
