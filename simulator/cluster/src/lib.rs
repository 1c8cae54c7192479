//! The composition root: configuration in, a running cluster out.
//!
//! This is the only crate that sees all the others of the simulator. It knows where state lies,
//! which ports and addresses a cluster has, and how its parts are started on each engine. It must
//! never know the command line.
//!
//! Start reading at [`lifecycle`] (what `start`, `stop` and `delete` do), then [`roles`] (what
//! each process of a cluster runs).

pub mod config;
pub mod docker;
pub mod docker_provider;
pub mod doctor;
pub mod faults;
pub mod kubeconfig;
pub mod lifecycle;
pub mod metrics;
pub mod pki;
pub mod plan;
pub mod pods;
pub mod ports;
pub mod process;
pub mod provider;
pub mod record;
pub mod registry;
pub mod roles;
pub mod serve;
mod service_http;
pub mod status;
pub mod traffic;
mod usage;

mod series;

mod node_connection;

/// Version of Kubernetes whose behaviour the cluster follows, as its API and nodes report it.
pub const KUBERNETES_VERSION: &str = "v1.36.0";

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
