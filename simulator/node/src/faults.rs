//! Faults that a node plays, told by annotations (see [`lab_api::faults`]).
//!
//! A node that is cut off from the control plane renews no lease, hears of no change and writes
//! no status, as if the cable between them were pulled; its containers go on, also those that it
//! has to start again. The watch of the Node that ends the fault is the one thread left between
//! the two. Once joined again, the agent lists everything anew.
//!
//! A slow node's pods get a share of their time only; the engine sees to that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use lab_api::faults::{self, Share};
use tokio::sync::Notify;

use crate::agent::Shared;

/// How often a slow node's new containers are slowed down too.
const SLOW_AGAIN: Duration = Duration::from_secs(2);

/// What the nodes of an agent suffer from.
#[derive(Default)]
pub(crate) struct Faults {
    nodes: Mutex<HashMap<String, NodeFaults>>,
    /// Told when a node is joined again.
    joined: Notify,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct NodeFaults {
    cut_off: bool,
    slow: Option<Share>,
}

impl Faults {
    /// Whether a node is cut off from the control plane.
    pub(crate) fn is_cut_off(&self, node: &str) -> bool {
        self.nodes().get(node).is_some_and(|faults| faults.cut_off)
    }

    /// Waits until a node was joined again.
    pub(crate) async fn joined(&self) {
        self.joined.notified().await;
    }

    /// The share of time that is left to the pods of any of the nodes.
    fn slow(&self) -> Option<Share> {
        self.nodes().values().find_map(|faults| faults.slow)
    }

    fn see(&self, node: &Node) {
        let annotations = node.metadata.annotations.as_ref();
        let now = NodeFaults {
            cut_off: faults::is_cut_off(annotations),
            slow: faults::slow_share(annotations),
        };
        let before = if now == NodeFaults::default() {
            self.nodes().remove(&node.name_any())
        } else {
            self.nodes().insert(node.name_any(), now)
        };
        let before = before.unwrap_or_default();
        if before != now {
            tracing::info!(node = node.name_any(), ?now, "faults of this node");
        }
        if before.cut_off && !now.cut_off {
            self.joined.notify_one();
        }
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<String, NodeFaults>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the annotations of this agent's nodes until the stop signal.
pub(crate) async fn run(shared: Arc<Shared>) {
    let config = match shared.config.nodes.as_slice() {
        [one] => watcher::Config::default().fields(&format!("metadata.name={}", one.name)),
        _ => watcher::Config::default(),
    };
    let nodes: Api<Node> = Api::all(shared.client.clone());
    let mut events = watcher(nodes, config)
        .default_backoff()
        .applied_objects()
        .boxed();
    let mut slowed = None;
    loop {
        let next = tokio::select! {
            next = events.try_next() => next,
            () = tokio::time::sleep(SLOW_AGAIN), if slowed.is_some() => Ok(None),
            () = shared.stop.cancelled() => return,
        };
        match next {
            Ok(Some(node)) if shared.nodes.contains_key(&node.name_any()) => {
                shared.faults.see(&node);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "watch of the node interrupted"),
        }
        let slow = shared.faults.slow();
        if slow.is_some() || slowed.is_some() {
            let share = slow.map(Share::fraction);
            if let Err(error) = shared.engine.throttle(share).await {
                tracing::warn!(%error, "the speed of the node's pods is not changed");
            }
        }
        slowed = slow;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(annotations: &serde_json::Value) -> Node {
        let node = json!({"metadata": {"name": "node-1", "annotations": annotations}});
        serde_json::from_value(node).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_cut_off_until_the_annotation_goes() {
        let faults = Faults::default();
        faults.see(&node(&json!({faults::PARTITION: "true"})));
        assert!(faults.is_cut_off("node-1") && !faults.is_cut_off("node-2"));
        faults.see(&node(&json!({faults::SLOW: "10%"})));
        assert!(!faults.is_cut_off("node-1"));
        assert_eq!(faults.slow(), Share::parse("10%"));
        faults.joined().await;
        faults.see(&node(&json!({})));
        assert_eq!(faults.slow(), None);
    }
}
