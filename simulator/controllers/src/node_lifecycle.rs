//! Node lifecycle: a node that falls silent is marked, tainted, and its pods are no longer
//! counted on.
//!
//! The node's agent renews a Lease every ten seconds. When it has not for the grace period,
//! the node's conditions become Unknown, its pods not ready (so that Services stop sending
//! them requests), and taints keep new pods away. The NoExecute taint then lets the taint
//! eviction controller move the pods, after the five minutes that they tolerate it.
//!
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#node-controller>

mod health;
mod pace;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use lab_api::names::NODE_LEASE_NAMESPACE;
use lab_events::Recorder;
use serde_json::json;
use tokio::time::Instant;

use crate::ControllerDef;
use crate::patch::{merge, merge_status, merge_status_lists};
use crate::pods::PodRecord;
use crate::runner::{Error, Index, Key, Next, Queue, work};
use crate::shared::Shared;

use health::{Heard, Readiness, desired_taints, readiness, unknown_conditions};
use pace::{Disruption, Pace};

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "node-lifecycle-controller",
    help: "marks and taints nodes that stopped reporting, and untaints them when they return",
    start,
};

/// Nodes reconciled at a time.
const WORKERS: usize = 8;

/// Pods of one node marked at a time.
const PODS_AT_ONCE: usize = 32;

struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    memory: Mutex<Memory>,
}

/// What the API does not keep.
struct Memory {
    heard: Heard,
    pace: Pace,
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    watch(shared, &queue);
    let controller = Arc::new(Controller {
        shared: Arc::clone(shared),
        recorder: shared.recorder("node-controller"),
        memory: Mutex::new(Memory {
            heard: Heard::default(),
            pace: Pace::default(),
        }),
    });
    work(
        DEF.name,
        queue,
        WORKERS,
        shared.stop.clone(),
        move |key: Key| {
            let controller = Arc::clone(&controller);
            async move { controller.reconcile(&key).await }
        },
    )
    .boxed()
}

fn watch(shared: &Arc<Shared>, queue: &Arc<Queue<Key>>) {
    let (to, nodes) = (Arc::clone(queue), Arc::clone(&shared.nodes));
    shared.nodes.on_change(move |change| {
        to.add(Key::of(&change.latest().metadata));
        let ready = |node: &Node| readiness(node) == Readiness::Ready;
        // How fast nodes may be emptied hangs on how many are ready.
        if change.old.map(|node| ready(node)) != change.new.map(|node| ready(node)) {
            for node in nodes.all() {
                to.add(Key::of(&node.metadata));
            }
        }
    });
    let to = Arc::clone(queue);
    shared.leases.on_change(move |change| {
        let meta = &change.latest().metadata;
        if meta.namespace.as_deref() == Some(NODE_LEASE_NAMESPACE) {
            to.add(Key::cluster(meta.name.as_deref().unwrap_or_default()));
        }
    });
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(node) = self.shared.nodes.get(key) else {
            self.memory().heard.forget(&key.name);
            return Ok(Next::Wait);
        };
        let silent_in = self.silent_in(key, &node);
        let mut node = node.as_ref().clone();
        if silent_in.is_none() && readiness(&node) != Readiness::Unknown {
            node = self.mark_unknown(key, &node).await?;
        }
        let retry = self.write_taints(key, &node).await?;
        if readiness(&node) == Readiness::Unknown {
            self.mark_pods(key).await?;
        }
        let waits = [silent_in, retry];
        Ok(Next::after(waits.into_iter().flatten().min()))
    }

    /// How long the node may yet be silent; `None` when it has been for too long.
    fn silent_in(&self, key: &Key, node: &Node) -> Option<Duration> {
        let lease = self
            .shared
            .leases
            .get(&Key::new(NODE_LEASE_NAMESPACE, &key.name));
        let grace = self
            .shared
            .context
            .scale(self.shared.config.node_monitor_grace);
        let mut memory = self.memory();
        let since = memory.heard.listen(node, lease.as_deref(), Instant::now());
        Some(grace.saturating_sub(since.elapsed())).filter(|left| !left.is_zero())
    }

    async fn mark_unknown(&self, key: &Key, node: &Node) -> Result<Node, Error> {
        let conditions = unknown_conditions(node, self.shared.context.now());
        let body = json!({
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "status": {"conditions": conditions},
        });
        let marked = merge_status(&self.api(), &key.name, &body).await?;
        let message = format!("Node {} status is now: NodeNotReady", key.name);
        self.recorder
            .normal(&node_reference(node), "NodeNotReady", message);
        tracing::info!(node = %key, "node stopped reporting");
        Ok(marked)
    }

    /// Writes the taints that the node's state asks for. The taint that sends pods away comes
    /// to one node after the other, at a pace: answers how long to wait for this one's turn.
    async fn write_taints(&self, key: &Key, node: &Node) -> Result<Option<Duration>, Error> {
        let now = self.shared.context.now();
        let disruption = self.disruption();
        let allowed = disruption != Disruption::Full;
        let mut wanted = desired_taints(node, allowed, now);
        let mut retry = None;
        if wanted.adds_eviction() {
            let total = self.shared.nodes.all().len();
            let interval = disruption
                .eviction_interval(total)
                .map(|interval| self.shared.context.scale(interval));
            if let Err(wait) = self.memory().pace.take(interval, Instant::now()) {
                wanted = desired_taints(node, false, now);
                retry = wait;
            }
        }
        if let Some(taints) = wanted.changed() {
            let body = json!({
                "metadata": {"resourceVersion": node.metadata.resource_version},
                "spec": {"taints": taints},
            });
            merge(&self.api(), &key.name, &body).await?;
        }
        Ok(retry)
    }

    fn disruption(&self) -> Disruption {
        let nodes = self.shared.nodes.all();
        let ready = nodes
            .iter()
            .filter(|node| readiness(node) == Readiness::Ready)
            .count();
        Disruption::of(ready, nodes.len() - ready)
    }

    /// The silent node cannot say that its pods are lost, so this controller does. Pods of a
    /// node that reports itself unready stay as their agent reports them.
    async fn mark_pods(&self, key: &Key) -> Result<(), Error> {
        let pods = self.shared.pods.by_index(&Index::Node(key.name.clone()));
        let marks = pods
            .into_iter()
            .filter(|pod| pod.ready.holds)
            .map(|pod| async move { self.mark_pod(&pod).await });
        let mut answers = stream::iter(marks).buffer_unordered(PODS_AT_ONCE);
        while let Some(answer) = answers.next().await {
            match answer {
                Err(error) if !error.is_not_found() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    async fn mark_pod(&self, pod: &PodRecord) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), pod.namespace());
        let body = json!({
            "metadata": {"uid": pod.uid()},
            "status": {"conditions": [{
                "type": "Ready",
                "status": "False",
                "lastTransitionTime": Time(self.shared.context.now()),
            }]},
        });
        merge_status_lists(&api, pod.name(), &body).await?;
        self.recorder
            .warning(&pod.reference(), "NodeNotReady", "Node is not ready");
        Ok(())
    }

    fn api(&self) -> Api<Node> {
        Api::all(self.shared.client.clone())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an event about a node names. Its uid is the node's name, by which `kubectl describe
/// node` looks for events.
fn node_reference(node: &Node) -> ObjectReference {
    let name = node.metadata.name.clone();
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        uid: name.clone(),
        name,
        ..ObjectReference::default()
    }
}
