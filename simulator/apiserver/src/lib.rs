//! The Kubernetes API over a versioned store: an axum router that real clients drive.
//!
//! What a request goes through, and where to read about it:
//!
//! ```text
//! router ─▶ call (path, query, body) ─▶ handlers::{get, list, watch}          ─▶ respond
//!                                  └─▶ handlers::{create, update, patch, …}   ─▶ respond
//!                                        │ write: decode, default, admission,
//!                                        │        prepare, validate, store
//!                                        └ deletion: gone, or marked
//! ```
//!
//! This crate must never know about controllers, nodes or engines. Where a request needs a
//! node (logs, exec), the crate defines the trait and the composition root supplies it. Who may
//! do what is not decided here either: the composition root guards the router.
//!
//! Handlers work from a [`resources::ResourceDef`] and never from a static type, so that a kind
//! can be defined at run time. Objects are JSON, stored as bytes with their resourceVersion in
//! them, so that a read copies instead of parsing.
//!
//! Start reading at `router`, then one handler, then `write`, then one file of [`resources`].

mod addresses;
mod admission;
mod body;
mod bootstrap;
mod call;
mod catalog;
mod deletion;
mod discovery;
mod error;
mod facts;
mod handlers;
mod legacy_autoscaling;
mod metadata;
mod metrics;
mod negotiate;
mod node_connection;
mod object;
mod openapi;
mod patch;
mod path;
mod protobuf;
mod query;
mod respond;
mod reviews;
mod router;
mod selection;
mod server;
mod table;
mod write;

pub mod resources;
pub mod validation;

pub use metrics::{
    ExternalValue, Measured, NodeUsage, ObjectQuestion, ObjectValue, PodUsage, SeriesSource,
    SourceError, Usage, UsageSource,
};
pub use node_connection::{LogRequest, NodeConnection, NodeConnectionError};
pub use server::{ApiServer, ApiServerConfig, BootstrapError, Version};
