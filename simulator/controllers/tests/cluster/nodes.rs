use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use tokio::time::Instant;

use crate::harness::Cluster;

/// Status and reason of the node's Ready condition, and its taints.
async fn state(cluster: &Cluster, name: &str) -> (String, Vec<String>) {
    let node: Node = cluster.get_cluster(name).await.unwrap();
    let conditions = node.status.unwrap().conditions.unwrap();
    let ready = conditions
        .iter()
        .find(|found| found.type_ == "Ready")
        .unwrap();
    let taints = node.spec.unwrap_or_default().taints.unwrap_or_default();
    let taints = taints
        .iter()
        .map(|taint| {
            format!(
                "{}:{}",
                taint.key.trim_start_matches("node.kubernetes.io/"),
                taint.effect
            )
        })
        .collect();
    (ready.status.clone(), taints)
}

fn lost() -> (String, Vec<String>) {
    let taints = ["unreachable:NoSchedule", "unreachable:NoExecute"];
    ("Unknown".to_owned(), taints.map(str::to_owned).to_vec())
}

/// Names of the pods of a node: those ready, those terminating.
async fn pods_on(cluster: &Cluster, node: &str) -> (usize, usize) {
    let pods: Vec<Pod> = cluster.list("default").await;
    let there: Vec<_> = pods
        .iter()
        .filter(|pod| pod.spec.as_ref().unwrap().node_name.as_deref() == Some(node))
        .collect();
    let ready = there
        .iter()
        .filter(|pod| lab_api::pods::is_ready(pod))
        .count();
    let terminating = there
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_some())
        .count();
    (ready, terminating)
}

async fn ready(cluster: &Cluster) -> usize {
    let pods: Vec<Pod> = cluster.list("default").await;
    pods.iter()
        .filter(|pod| lab_api::pods::is_ready(pod))
        .count()
}

#[tokio::test(start_paused = true)]
async fn a_dead_nodes_pods_are_replaced_after_five_minutes() {
    let cluster = Cluster::start().await;
    cluster.create_deployment(json!({"replicas": 6})).await;
    cluster.until(6, async || ready(&cluster).await).await;
    let start = Instant::now();
    cluster.silence("node-2");
    cluster
        .until(lost(), async || state(&cluster, "node-2").await)
        .await;
    let noticed = start.elapsed().as_secs();
    assert!((40..=61).contains(&noticed), "noticed after {noticed} s");
    cluster
        .until((0, 0), async || pods_on(&cluster, "node-2").await)
        .await;
    assert_eq!(ready(&cluster).await, 4);
    cluster
        .until((0, 2), async || pods_on(&cluster, "node-2").await)
        .await;
    let evicted = start.elapsed().as_secs() - noticed;
    assert!((299..=302).contains(&evicted), "evicted after {evicted} s");
    cluster.until(6, async || ready(&cluster).await).await;
    // Nobody can say that the lost pods have stopped.
    assert_eq!(pods_on(&cluster, "node-2").await, (0, 2));
    let events = cluster.events().await;
    assert!(events.iter().any(|(reason, message)| {
        reason == "TaintManagerEviction"
            && message.starts_with("Marking for deletion Pod default/web-")
    }));
    assert!(events.contains(&(
        "NodeNotReady".into(),
        "Node node-2 status is now: NodeNotReady".into()
    )));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_returns_in_time_keeps_its_pods() {
    let cluster = Cluster::start().await;
    cluster.create_deployment(json!({"replicas": 6})).await;
    cluster.until(6, async || ready(&cluster).await).await;
    cluster.silence("node-2");
    cluster
        .until(lost(), async || state(&cluster, "node-2").await)
        .await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    cluster.revive("node-2").await;
    let well = ("True".to_owned(), Vec::new());
    cluster
        .until(well.clone(), async || state(&cluster, "node-2").await)
        .await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(pods_on(&cluster, "node-2").await, (2, 0));
    assert_eq!(state(&cluster, "node-2").await, well);
}

#[tokio::test(start_paused = true)]
async fn when_every_node_is_silent_no_pod_is_sent_away() {
    let cluster = Cluster::start().await;
    cluster.create_deployment(json!({})).await;
    cluster.until(3, async || ready(&cluster).await).await;
    for node in ["node-1", "node-2", "node-3"] {
        cluster.silence(node);
    }
    tokio::time::sleep(Duration::from_secs(900)).await;
    for node in ["node-1", "node-2", "node-3"] {
        let expected = (
            "Unknown".to_owned(),
            vec!["unreachable:NoSchedule".to_owned()],
        );
        assert_eq!(state(&cluster, node).await, expected);
        assert_eq!(pods_on(&cluster, node).await, (0, 0));
    }
    assert_eq!(cluster.list::<Pod>("default").await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_a_removed_node_are_removed() {
    let cluster = Cluster::start().await;
    cluster.create_deployment(json!({})).await;
    cluster.until(3, async || ready(&cluster).await).await;
    cluster.silence("node-3");
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    nodes
        .delete("node-3", &DeleteParams::default())
        .await
        .unwrap();
    let on_removed = async || -> usize {
        let pods: Vec<Pod> = cluster.list("default").await;
        let on = |pod: &&Pod| pod.spec.as_ref().unwrap().node_name.as_deref() == Some("node-3");
        pods.iter().filter(on).count()
    };
    cluster.until(0, on_removed).await;
    cluster.until(3, async || ready(&cluster).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_node_is_tainted() {
    let cluster = Cluster::start().await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let cordon = |value: bool| kube::api::Patch::Merge(json!({"spec": {"unschedulable": value}}));
    let params = kube::api::PatchParams::default();
    nodes.patch("node-1", &params, &cordon(true)).await.unwrap();
    let tainted = (
        "True".to_owned(),
        vec!["unschedulable:NoSchedule".to_owned()],
    );
    cluster
        .until(tainted, async || state(&cluster, "node-1").await)
        .await;
    nodes
        .patch("node-1", &params, &cordon(false))
        .await
        .unwrap();
    cluster
        .until(("True".to_owned(), Vec::new()), async || {
            state(&cluster, "node-1").await
        })
        .await;
}
