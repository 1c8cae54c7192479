//! The node agent: what the kubelet is on a real node. It registers its node, renews the lease,
//! makes the pods bound to the node run on an [`Engine`](lab_engine::Engine), probes them, and
//! writes what it observes to their status.
//!
//! The agent must never know the store, other nodes, or which engine it drives. One agent
//! usually serves one node; for the simulated engine one agent serves them all.
//!
//! Start reading at [`Agent::run`], then `sync` (one pass over one pod), then the pure parts:
//! `plan` (what to do next) and `status` (what to say).

mod agent;
mod config;
mod dns;
mod duration;
mod environment;
mod faults;
mod handle;
mod node_ports;
mod plan;
mod probe;
mod registration;
mod server;
mod stats;
mod status;
mod summary;
mod sync;
mod volumes;

pub use agent::Agent;
pub use config::{AgentConfig, Listen, NodeSpec};
pub use handle::{AgentHandle, LogError, LogQuery};
pub use summary::{
    ContainerStats, CpuStats, MemoryStats, NodeStats, PodReference, PodStats, SIMULATED_CPU,
    SIMULATED_LOAD, SIMULATED_MEMORY, Summary,
};
