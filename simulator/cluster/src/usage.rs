//! What nodes and pods use: the agents' latest answers, kept for the Metrics API, as
//! metrics-server does on a real cluster.
//!
//! Simulated nodes live in this process and are asked when somebody wants to know; for others
//! every node is asked in turn, because CPU is a rate between two questions.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use lab_apiserver::{NodeUsage, PodUsage, Usage, UsageSource};
use lab_context::Context;
use lab_node::{CpuStats, MemoryStats, Summary};
use tokio_util::sync::CancellationToken;

use crate::node_connection::Nodes;

/// How often nodes are asked, before the cluster's speed shortens it: metrics-server's 15 s.
const RESOLUTION: Duration = Duration::from_secs(15);
/// Asking more often would make the windows too short to count CPU time in.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long a node may take to answer; longer, and its figures would be old.
const LIMIT: Duration = Duration::from_secs(5);
/// Nodes asked at a time.
const AT_A_TIME: usize = 16;

/// Asks nodes for what they use, and keeps what they said last.
pub(crate) struct UsageSampler {
    client: Client,
    nodes: Arc<Nodes>,
    context: Context,
    latest: RwLock<HashMap<String, Arc<Summary>>>,
}

impl UsageSampler {
    pub(crate) fn new(client: Client, nodes: Arc<Nodes>, context: Context) -> Self {
        Self {
            client,
            nodes,
            context,
            latest: RwLock::default(),
        }
    }

    /// Asks every node, time and again, until the stop signal.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        let pause = self.context.scale(RESOLUTION).max(SHORTEST);
        while !stop.is_cancelled() {
            tokio::select! {
                () = self.ask_all() => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn ask_all(&self) {
        let nodes = Api::<Node>::all(self.client.clone());
        let names: Vec<String> = match nodes.list(&ListParams::default()).await {
            Ok(list) => list.items.iter().map(ResourceExt::name_any).collect(),
            Err(error) => {
                tracing::debug!(%error, "the nodes to ask for their use are not known");
                return;
            }
        };
        let answers: HashMap<String, Arc<Summary>> = stream::iter(names)
            .map(|name| self.ask(name))
            .buffer_unordered(AT_A_TIME)
            .filter_map(async |answer| answer)
            .collect()
            .await;
        // A node that does not answer has no figures: old ones would scale on the past.
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = answers;
    }

    async fn ask(&self, node: String) -> Option<(String, Arc<Summary>)> {
        match tokio::time::timeout(LIMIT, self.nodes.summary(&node)).await {
            Ok(Ok(summary)) => Some((node, Arc::new(summary))),
            Ok(Err(error)) => {
                tracing::debug!(%error, node, "a node did not say what it uses");
                None
            }
            Err(_) => None,
        }
    }

    async fn summaries(&self, namespace: Option<&str>) -> Vec<Arc<Summary>> {
        match self.nodes.local() {
            Some(agent) => match agent.summary(namespace).await {
                Ok(summary) => vec![Arc::new(summary)],
                Err(error) => {
                    tracing::debug!(%error, "the simulated nodes did not say what they use");
                    Vec::new()
                }
            },
            None => {
                let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner);
                latest.values().cloned().collect()
            }
        }
    }
}

#[async_trait]
impl UsageSource for UsageSampler {
    async fn nodes(&self) -> Vec<NodeUsage> {
        let summaries = self.summaries(None).await;
        let nodes = summaries.iter().flat_map(|summary| &summary.nodes);
        nodes
            .map(|node| NodeUsage {
                node: node.node_name.clone(),
                usage: usage(node.cpu, node.memory),
            })
            .collect()
    }

    async fn pods(&self, namespace: Option<&str>) -> Vec<PodUsage> {
        let summaries = self.summaries(namespace).await;
        let pods = summaries.iter().flat_map(|summary| &summary.pods);
        let wanted = |namespace_of: &str| namespace.is_none_or(|wanted| wanted == namespace_of);
        pods.filter(|pod| wanted(&pod.pod_ref.namespace))
            .map(|pod| PodUsage {
                namespace: pod.pod_ref.namespace.clone(),
                pod: pod.pod_ref.name.clone(),
                containers: pod
                    .containers
                    .iter()
                    .map(|one| (one.name.clone(), usage(one.cpu, one.memory)))
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
