//! A cluster at a glance: its parts, its nodes, its pods, its addresses.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::ListParams;
use lab_api::pods;
use serde::Serialize;

use crate::config::EngineKind;
use crate::kubeconfig::context_name;
use crate::lifecycle::{client, is_ready, provider};
use crate::provider::{Component, RunState};
use crate::record::{ClusterDir, Record};

/// How long the API may take before it counts as not answering.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The state of a cluster.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its name.
    pub name: String,
    /// What runs its pods.
    pub engine: EngineKind,
    /// How many times faster than real time its own waits run.
    pub speed: f64,
    /// `Running`, `Degraded` or `Stopped`.
    pub state: Overall,
    /// Where it is reached.
    pub addresses: Addresses,
    /// Its kubeconfig context, where it has one.
    pub context: Option<String>,
    /// Its parts.
    pub components: Vec<Component>,
    /// Its nodes, as the API has them.
    pub nodes: Vec<NodeStatus>,
    /// Pods by phase.
    pub pods: BTreeMap<String, usize>,
    /// Why the API did not answer, where it did not.
    pub problem: Option<String>,
}

/// The state in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Overall {
    /// Everything runs and every node is Ready.
    Running,
    /// Something is missing.
    Degraded,
    /// Nothing runs.
    Stopped,
}

/// Where a cluster is reached from this machine.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    /// The Kubernetes API.
    pub api: String,
    /// The load balancer's production listener.
    pub production: String,
    /// The load balancer's test listener.
    pub test: String,
    /// Where an HTTPS listener of a Gateway is reached; nothing answers before somebody makes one.
    pub https: String,
    /// The image registry, as image references name it.
    pub registry: String,
    /// The metrics: Prometheus' HTTP API and a small page. None for a cluster that an older
    /// program made.
    pub metrics: Option<String>,
}

/// A node in one line.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// `Ready` or `NotReady`, with `,SchedulingDisabled` where cordoned.
    pub status: String,
    /// Its address.
    pub ip: String,
    /// Pods on it that have not finished.
    pub pods: usize,
    /// Those of them that are ready.
    pub ready_pods: usize,
}

impl Addresses {
    /// Those of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let ports = record.ports;
        Self {
            api: format!("https://127.0.0.1:{}", ports.api),
            production: format!("http://127.0.0.1:{}", ports.production),
            test: format!("http://127.0.0.1:{}", ports.test),
            https: format!("https://127.0.0.1:{}", ports.https),
            registry: format!("localhost:{}", ports.registry),
            metrics: ports.metrics.map(|port| format!("http://127.0.0.1:{port}")),
        }
    }
}

/// Looks at a cluster.
///
/// # Errors
/// Where its record or its engine cannot be read; an API that does not answer is a finding.
pub async fn status(dir: &ClusterDir) -> anyhow::Result<Status> {
    let record = dir.load()?;
    let components = provider(&record, dir).await?.components().await?;
    let running = components
        .iter()
        .filter(|component| component.state == RunState::Running)
        .count();
    let looked = tokio::time::timeout(ANSWER_LIMIT, look(&record)).await;
    let (nodes, pods, problem) = match looked {
        Ok(Ok((nodes, pods))) => (nodes, pods, None),
        Ok(Err(error)) => (
            Vec::new(),
            BTreeMap::new(),
            Some(format!("the API does not answer: {error:#}")),
        ),
        Err(_) => (
            Vec::new(),
            BTreeMap::new(),
            Some(format!(
                "the API does not answer within {} s",
                ANSWER_LIMIT.as_secs()
            )),
        ),
    };
    let healthy = running == components.len()
        && problem.is_none()
        && nodes.len() == record.nodes.len()
        && nodes
            .iter()
            .all(|node: &NodeStatus| node.status.starts_with("Ready"));
    Ok(Status {
        state: match (running, healthy) {
            (0, _) => Overall::Stopped,
            (_, true) => Overall::Running,
            (_, false) => Overall::Degraded,
        },
        addresses: Addresses::of(&record),
        context: record
            .kubeconfig
            .is_some()
            .then(|| context_name(&record.name)),
        problem: problem.filter(|_| running > 0),
        name: record.name,
        engine: record.engine,
        speed: record.speed,
        components,
        nodes,
        pods,
    })
}

async fn look(record: &Record) -> anyhow::Result<(Vec<NodeStatus>, BTreeMap<String, usize>)> {
    let client = client(record)?;
    let nodes = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    let pods = Api::<Pod>::all(client).list(&ListParams::default()).await?;
    let mut phases = BTreeMap::new();
    for pod in &pods {
        *phases.entry(pods::phase(pod).to_owned()).or_default() += 1;
    }
    Ok((
        nodes
            .iter()
            .map(|node| node_status(node, &pods.items))
            .collect(),
        phases,
    ))
}

fn node_status(node: &Node, pods: &[Pod]) -> NodeStatus {
    let name = node.metadata.name.clone().unwrap_or_default();
    let here =
        |pod: &&Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&name);
    let live: Vec<_> = pods
        .iter()
        .filter(here)
        .filter(|pod| !pods::is_finished(pod))
        .collect();
    let cordoned = node
        .spec
        .as_ref()
        .and_then(|spec| spec.unschedulable)
        .unwrap_or(false);
    let ready = if is_ready(node) { "Ready" } else { "NotReady" };
    let addresses = node
        .status
        .iter()
        .flat_map(|status| status.addresses.iter().flatten());
    let ip = addresses
        .into_iter()
        .find(|address| address.type_ == "InternalIP")
        .map(|address| address.address.clone());
    NodeStatus {
        status: if cordoned {
            format!("{ready},SchedulingDisabled")
        } else {
            ready.to_owned()
        },
        ip: ip.unwrap_or_default(),
        pods: live.len(),
        ready_pods: live.iter().filter(|pod| pods::is_ready(pod)).count(),
        name,
    }
}
