//! What an agent says about the use of resources: the kubelet's `/stats/summary`, reduced to
//! what the Metrics API is made from, and with the length of the window that a rate is over.
//!
//! <https://kubernetes.io/docs/reference/instrumentation/node-metrics/>

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Annotation of a pod: CPU that each of its containers uses on the simulated engine (`120m`).
pub const SIMULATED_CPU: &str = "devops-lab.dev/simulated-cpu";
/// Annotation of a pod: memory that each of its containers uses on the simulated engine (`64Mi`).
pub const SIMULATED_MEMORY: &str = "devops-lab.dev/simulated-memory";
/// Annotation of a pod: CPU that all running pods with the same labels share evenly on the
/// simulated engine (`900m`): a load. The largest value among the pods counts.
pub const SIMULATED_LOAD: &str = "devops-lab.dev/simulated-load";

/// What the pods of an agent use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The agent's nodes.
    pub nodes: Vec<NodeStats>,
    /// Their pods.
    pub pods: Vec<PodStats>,
}

/// What a node uses: the sum of its pods. The node's own share is left out, since on every
/// engine it is the laptop's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStats {
    /// Its name.
    pub node_name: String,
    /// CPU.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
}

/// What a pod uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStats {
    /// Which pod.
    pub pod_ref: PodReference,
    /// The node it is on.
    pub node_name: String,
    /// Its running containers.
    pub containers: Vec<ContainerStats>,
}

/// Names a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodReference {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Uid.
    pub uid: String,
}

/// What a container uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerStats {
    /// Its name within the pod.
    pub name: String,
    /// CPU.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
}

/// CPU used over a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuStats {
    /// End of the window.
    pub time: Timestamp,
    /// Length of the window, in milliseconds.
    pub window_millis: u64,
    /// Nanoseconds of CPU per second.
    pub usage_nano_cores: u64,
}

/// Memory in use at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStats {
    /// The moment.
    pub time: Timestamp,
    /// Bytes that cannot be taken back.
    pub working_set_bytes: u64,
}
