//! Taint eviction: pods leave a node whose NoExecute taints they do not, or no longer,
//! tolerate.
//!
//! Every pod tolerates an unreachable or unready node for five minutes (admission sees to
//! that), so this is what moves pods off a dead node.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#taint-based-evictions>

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use lab_context::Context;
use lab_events::Recorder;

use crate::ControllerDef;
use crate::pods::PodRecord;
use crate::runner::{During, Error, Index, Key, Next, Queue, work};
use crate::shared::Shared;
use lab_api::taints::{NO_EXECUTE, taints, tolerates};

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "taint-eviction-controller",
    help: "deletes pods that no longer tolerate the NoExecute taints of their node",
    start,
};

/// Pods looked at at a time: a dead node's pods all come at once.
const WORKERS: usize = 8;

struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    /// Pods whose deletion is planned, to tell when a plan is dropped.
    planned: Mutex<HashSet<Key>>,
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    watch(shared, &queue);
    let controller = Arc::new(Controller {
        shared: Arc::clone(shared),
        recorder: shared.recorder(DEF.name),
        planned: Mutex::new(HashSet::new()),
    });
    work(DEF.name, queue, WORKERS, shared.stop.clone(), move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    })
    .boxed()
}

fn watch(shared: &Arc<Shared>, queue: &Arc<Queue<Key>>) {
    let (to, nodes) = (Arc::clone(queue), Arc::clone(&shared.nodes));
    shared.pods.on_change(move |change| {
        let pod = change.latest();
        let moved = change
            .old
            .is_none_or(|old| old.node != pod.node || old.tolerations != pod.tolerations);
        // Most pods are on nodes without such a taint, and cost nothing here.
        let tainted = || {
            nodes
                .get(&Key::cluster(&pod.node))
                .is_some_and(|node| sends_away(&node))
        };
        if change.new.is_none() || (moved && tainted()) {
            to.add(Key::of(&pod.metadata));
        }
    });
    let (to, pods) = (Arc::clone(queue), Arc::clone(&shared.pods));
    shared.nodes.on_change(move |change| {
        let before = change.old.map(|node| no_execute(node));
        let after = change.new.map(|node| no_execute(node));
        if before.unwrap_or_default() != after.unwrap_or_default() {
            let name = change.latest().metadata.name.clone().unwrap_or_default();
            for pod in pods.by_index(&Index::Node(name)) {
                to.add(Key::of(&pod.metadata));
            }
        }
    });
}

fn sends_away(node: &Node) -> bool {
    taints(node).iter().any(|taint| taint.effect == NO_EXECUTE)
}

fn no_execute(node: &Node) -> Vec<Taint> {
    let taints = taints(node).iter();
    taints
        .filter(|taint| taint.effect == NO_EXECUTE)
        .cloned()
        .collect()
}

/// When a pod has to leave its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// It tolerates the taints for as long as they last.
    Never,
    /// It does not tolerate a taint at all.
    Now,
    /// It has tolerated a taint for as long as it said.
    At(Timestamp),
}

/// When a pod with these tolerations leaves a node with these NoExecute taints. The seconds
/// that it tolerates a taint count from the taint, and are scaled: what they wait for is the
/// cluster.
fn leave(taints: &[Taint], tolerations: &[Toleration], context: &Context) -> Leave {
    let mut earliest: Option<Timestamp> = None;
    for taint in taints {
        let Some(toleration) = tolerations
            .iter()
            .find(|toleration| tolerates(toleration, taint))
        else {
            return Leave::Now;
        };
        let Some(seconds) = toleration.toleration_seconds else {
            continue;
        };
        let Some(seconds) = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0) else {
            return Leave::Now;
        };
        let since = taint
            .time_added
            .as_ref()
            .map_or_else(|| context.now(), |at| at.0);
        let wait = context.scale(Duration::from_secs(seconds));
        let at = since.checked_add(wait).unwrap_or(Timestamp::MAX);
        earliest = Some(earliest.map_or(at, |before| before.min(at)));
    }
    earliest.map_or(Leave::Never, Leave::At)
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(pod) = self.shared.pods.get(key) else {
            self.unplan(key);
            return Ok(Next::Wait);
        };
        if pod.is_terminating() || pod.is_finished() {
            self.unplan(key);
            return Ok(Next::Wait);
        }
        let node = self.shared.nodes.get(&Key::cluster(&pod.node));
        let taints = node.map(|node| no_execute(&node)).unwrap_or_default();
        match leave(&taints, &pod.tolerations, &self.shared.context) {
            Leave::Never => {
                if self.unplan(key) {
                    self.recorder.normal(
                        &pod.reference(),
                        "TaintManagerEviction",
                        format!("Cancelling deletion of Pod {key}"),
                    );
                }
                Ok(Next::Wait)
            }
            Leave::Now => self.evict(key, &pod).await,
            Leave::At(at) => {
                let left = Duration::try_from(at.duration_since(self.shared.context.now()));
                match left {
                    Ok(left) if !left.is_zero() => {
                        self.plan(key);
                        Ok(Next::After(left))
                    }
                    Ok(_) | Err(_) => self.evict(key, &pod).await,
                }
            }
        }
    }

    async fn evict(&self, key: &Key, pod: &PodRecord) -> Result<Next, Error> {
        self.unplan(key);
        self.recorder.normal(
            &pod.reference(),
            "TaintManagerEviction",
            format!("Marking for deletion Pod {key}"),
        );
        let params = DeleteParams::default().preconditions(Preconditions {
            uid: pod.metadata.uid.clone(),
            resource_version: None,
        });
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), &key.namespace);
        let answer = api
            .delete(&key.name, &params)
            .await
            .during(|| format!("evict pod {key}"));
        match answer {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
            Ok(_) | Err(_) => Ok(Next::Wait),
        }
    }

    fn plan(&self, key: &Key) {
        self.planned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.clone());
    }

    fn unplan(&self, key: &Key) -> bool {
        self.planned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ADDED: &str = "2026-01-01T00:00:00Z";

    fn unreachable() -> Value {
        json!({"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": ADDED})
    }

    fn for_seconds(key: &str, seconds: i64) -> Value {
        json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds})
    }

    fn after(seconds: u64) -> Leave {
        Leave::At(ADDED.parse::<Timestamp>().unwrap() + Duration::from_secs(seconds))
    }

    #[track_caller]
    fn case(speed: f64, taints: Value, tolerations: Value, expected: Leave) {
        let taints: Vec<Taint> = serde_json::from_value(taints).unwrap();
        let tolerations: Vec<Toleration> = serde_json::from_value(tolerations).unwrap();
        let context = Context::simulated(1, speed);
        assert_eq!(leave(&taints, &tolerations, &context), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_leaves_when_it_no_longer_tolerates_the_taint() {
        let unreachable_for = |seconds| for_seconds("node.kubernetes.io/unreachable", seconds);
        case(1.0, json!([]), json!([]), Leave::Never);
        case(1.0, json!([unreachable()]), json!([]), Leave::Now);
        case(
            1.0,
            json!([unreachable()]),
            json!([unreachable_for(300)]),
            after(300),
        );
        case(
            10.0,
            json!([unreachable()]),
            json!([unreachable_for(300)]),
            after(30),
        );
        case(
            1.0,
            json!([unreachable()]),
            json!([unreachable_for(0)]),
            Leave::Now,
        );
        case(
            1.0,
            json!([unreachable()]),
            json!([unreachable_for(-5)]),
            Leave::Now,
        );
        case(
            1.0,
            json!([unreachable()]),
            json!([{"operator": "Exists"}]),
            Leave::Never,
        );
        let other = json!({"key": "gpu", "effect": "NoExecute", "timeAdded": ADDED});
        case(
            1.0,
            json!([unreachable(), other.clone()]),
            json!([unreachable_for(300)]),
            Leave::Now,
        );
        case(
            1.0,
            json!([unreachable(), other]),
            json!([unreachable_for(300), for_seconds("gpu", 60)]),
            after(60),
        );
    }
}
