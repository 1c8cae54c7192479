//! What a test cluster's pods use, from its agent to its API server.

use std::time::Duration;

use async_trait::async_trait;
use lab_apiserver::{NodeUsage, PodUsage, Usage, UsageSource};
use lab_node::{AgentHandle, CpuStats, MemoryStats, Summary};

/// Asks the agent whenever somebody wants to know.
pub(crate) struct AgentUsage(pub(crate) AgentHandle);

impl AgentUsage {
    async fn summary(&self, namespace: Option<&str>) -> Summary {
        self.0.summary(namespace).await.unwrap_or_default()
    }
}

#[async_trait]
impl UsageSource for AgentUsage {
    async fn nodes(&self) -> Vec<NodeUsage> {
        let nodes = self.summary(None).await.nodes.into_iter();
        nodes
            .map(|node| NodeUsage {
                usage: usage(node.cpu, node.memory),
                node: node.node_name,
            })
            .collect()
    }

    async fn pods(&self, namespace: Option<&str>) -> Vec<PodUsage> {
        let pods = self.summary(namespace).await.pods.into_iter();
        pods.map(|pod| PodUsage {
            namespace: pod.pod_ref.namespace,
            pod: pod.pod_ref.name,
            containers: pod
                .containers
                .into_iter()
                .map(|one| (one.name, usage(one.cpu, one.memory)))
                .collect(),
        })
        .collect()
    }
}

fn usage(cpu: CpuStats, memory: MemoryStats) -> Usage {
    Usage {
        time: cpu.time,
        window: Duration::from_millis(cpu.window_millis),
        cpu_nano_cores: cpu.usage_nano_cores,
        memory_bytes: memory.working_set_bytes,
    }
}
