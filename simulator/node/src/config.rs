//! What an agent is told at its start.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// One node that an agent serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Name of the Node object.
    pub name: String,
    /// Address of the node.
    pub ip: IpAddr,
    /// Addresses of its pods, such as `10.89.2.0/24`.
    pub pod_cidr: String,
    /// Labels beyond host name, operating system and architecture.
    pub labels: BTreeMap<String, String>,
    /// CPU that the node offers, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory that the node offers, in bytes.
    pub memory_bytes: u64,
    /// Number of pods that fit.
    pub pods: u32,
}

/// Where the agent answers for logs.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Address of the agent's HTTP server; port 0 takes a free one.
    pub address: SocketAddr,
    /// Bearer token that callers must present.
    pub token: String,
}

/// Configuration of an agent.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The nodes it serves.
    pub nodes: Vec<NodeSpec>,
    /// Its HTTP server, if it has one.
    pub listen: Option<Listen>,
    /// DNS server for pods, if the cluster has one.
    pub dns: Option<IpAddr>,
    /// Whether the node ports of Services are opened at the nodes' addresses.
    pub node_ports: bool,
    /// Version that the nodes report.
    pub version: String,
}
