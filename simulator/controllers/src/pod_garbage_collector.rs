//! Pod garbage collection: pods that nobody will ever finish.
//!
//! A pod is removed by the agent of its node. This controller takes the cases where there is
//! no such agent, and keeps finished pods from piling up.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-garbage-collection>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use lab_api::names::TAINT_OUT_OF_SERVICE;
use tokio::time::{Instant, MissedTickBehavior};

use crate::ControllerDef;
use crate::pods::PodRecord;
use crate::runner::{During, Error};
use crate::shared::Shared;
use lab_api::taints::taints;

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "pod-garbage-collector-controller",
    help: "removes pods whose node is gone, and the oldest finished pods when there are too many",
    start,
};

/// Time between two rounds.
const PERIOD: Duration = Duration::from_secs(20);

/// How long a node must be missing before its pods are: it may be about to register again.
const QUARANTINE: Duration = Duration::from_secs(40);

/// Pods deleted at a time.
const AT_ONCE: usize = 16;

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    run(Arc::clone(shared)).boxed()
}

async fn run(shared: Arc<Shared>) {
    let mut rounds = tokio::time::interval(shared.context.scale(PERIOD));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let quarantine = shared.context.scale(QUARANTINE);
    let mut missing = Missing::default();
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = shared.stop.cancelled() => return,
        }
        let (pods, nodes) = (shared.pods.all(), shared.nodes.all());
        let lost = missing.longer_than(quarantine, &pods, &nodes, Instant::now());
        let threshold = shared.config.terminated_pod_threshold;
        let deletions = collect(&pods, &nodes, &lost, threshold)
            .into_iter()
            .map(|pod| delete(&shared, pod));
        stream::iter(deletions)
            .buffer_unordered(AT_ONCE)
            .for_each(async |answer| {
                if let Err(error) = answer {
                    tracing::debug!(error = &error as &dyn std::error::Error, "will retry");
                }
            })
            .await;
    }
}

/// Since when nodes that pods refer to have been missing.
#[derive(Debug, Default)]
struct Missing {
    since: HashMap<String, Instant>,
}

impl Missing {
    /// The nodes that have been missing for longer than `quarantine`.
    fn longer_than(
        &mut self,
        quarantine: Duration,
        pods: &[Arc<PodRecord>],
        nodes: &[Arc<Node>],
        now: Instant,
    ) -> HashSet<String> {
        let present: HashSet<&str> = names(nodes).collect();
        let missing: HashSet<&str> = pods
            .iter()
            .map(|pod| pod.node.as_str())
            .filter(|node| !node.is_empty() && !present.contains(node))
            .collect();
        self.since.retain(|node, _| missing.contains(node.as_str()));
        for node in missing {
            self.since.entry(node.to_owned()).or_insert(now);
        }
        let lost = self
            .since
            .iter()
            .filter(|(_, since)| now - **since >= quarantine);
        lost.map(|(node, _)| node.clone()).collect()
    }
}

fn names(nodes: &[Arc<Node>]) -> impl Iterator<Item = &str> {
    nodes
        .iter()
        .filter_map(|node| node.metadata.name.as_deref())
}

/// The pods to remove.
fn collect(
    pods: &[Arc<PodRecord>],
    nodes: &[Arc<Node>],
    lost: &HashSet<String>,
    threshold: usize,
) -> Vec<Arc<PodRecord>> {
    let out_of_service: Vec<_> = nodes
        .iter()
        .filter(|node| {
            taints(node)
                .iter()
                .any(|taint| taint.key == TAINT_OUT_OF_SERVICE)
        })
        .cloned()
        .collect();
    let out_of_service: HashSet<&str> = names(&out_of_service).collect();
    let abandoned = |pod: &PodRecord| {
        let nobodys = pod.is_terminating() && pod.node.is_empty();
        let dead = pod.is_terminating() && out_of_service.contains(pod.node.as_str());
        nobodys || dead || lost.contains(&pod.node)
    };
    let (mut collected, rest): (Vec<_>, Vec<_>) =
        pods.iter().cloned().partition(|pod| abandoned(pod));
    let mut finished: Vec<_> = rest.into_iter().filter(|pod| pod.is_finished()).collect();
    let surplus = finished.len().saturating_sub(threshold);
    if surplus > 0 {
        finished.sort_by_key(|pod| pod.metadata.creation_timestamp.clone());
        collected.extend(finished.into_iter().take(surplus));
    }
    collected
}

async fn delete(shared: &Shared, pod: Arc<PodRecord>) -> Result<(), Error> {
    let api: Api<Pod> = Api::namespaced(shared.client.clone(), pod.namespace());
    let params = DeleteParams::default()
        .grace_period(0)
        .preconditions(Preconditions {
            uid: pod.metadata.uid.clone(),
            resource_version: None,
        });
    let answer = api
        .delete(pod.name(), &params)
        .await
        .during(|| format!("remove pod {}/{}", pod.namespace(), pod.name()));
    match answer {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::record;
    use serde_json::json;

    fn pod(name: &str, node: &str, terminating: bool, phase: &str) -> Arc<PodRecord> {
        let last = char::from(*name.as_bytes().last().unwrap());
        let age = last.to_digit(10).unwrap_or(0);
        Arc::new(record(json!({
            "metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:0{age}Z"),
                "deletionTimestamp": terminating.then_some("2026-01-01T00:00:00Z")},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": phase}})))
    }

    fn node(name: &str, taint: Option<&str>) -> Arc<Node> {
        let taints = taint.map(|key| json!([{"key": key, "effect": "NoExecute"}]));
        serde_json::from_value::<Node>(
            json!({"metadata": {"name": name}, "spec": {"taints": taints}}),
        )
        .map(Arc::new)
        .unwrap()
    }

    fn collected(pods: &[Arc<PodRecord>], lost: &[&str], threshold: usize) -> Vec<String> {
        let nodes = [
            node("node-1", None),
            node("dead", Some(TAINT_OUT_OF_SERVICE)),
        ];
        let lost = lost.iter().map(|name| (*name).to_owned()).collect();
        let collected = collect(pods, &nodes, &lost, threshold);
        collected.iter().map(|pod| pod.name().to_owned()).collect()
    }

    #[test]
    fn pods_that_no_agent_will_finish_are_removed() {
        let pods = [
            pod("running", "node-1", false, "Running"),
            pod("terminating", "node-1", true, "Running"),
            pod("never-scheduled", "", true, "Pending"),
            pod("pending", "", false, "Pending"),
            pod("node-gone", "gone", false, "Running"),
            pod("node-maybe-gone", "elsewhere", false, "Running"),
            pod("out-of-service", "dead", true, "Running"),
            pod("out-of-service-but-wanted", "dead", false, "Running"),
        ];
        let expected = ["never-scheduled", "node-gone", "out-of-service"];
        assert_eq!(collected(&pods, &["gone"], 100), expected);
    }

    #[test]
    fn the_oldest_finished_pods_go_when_there_are_too_many() {
        let pods = [
            pod("p3", "node-1", false, "Succeeded"),
            pod("p1", "node-1", false, "Failed"),
            pod("p2", "node-1", false, "Succeeded"),
            pod("p0", "node-1", false, "Running"),
        ];
        assert_eq!(collected(&pods, &[], 2), ["p1"]);
        assert_eq!(collected(&pods, &[], 3), Vec::<String>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_registers_again_in_time_keeps_its_pods() {
        let mut missing = Missing::default();
        let pods = [pod("p", "node-2", false, "Running")];
        let forty = Duration::from_secs(40);
        let mut round = |nodes: &[Arc<Node>]| {
            missing
                .longer_than(forty, &pods, nodes, Instant::now())
                .len()
        };
        assert_eq!(round(&[]), 0);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(round(&[node("node-2", None)]), 0);
        assert_eq!(round(&[]), 0);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(round(&[]), 0);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(round(&[]), 1);
    }
}
