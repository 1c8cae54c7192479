//! What a cluster makes of a node that is cut off, with the waits of Kubernetes.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use lab_api::faults;
use lab_testkit::test_cluster::TestCluster;
use serde_json::{Value, json};
use tokio::time::Instant;

async fn partition(cluster: &TestCluster, node: &str, value: Value) {
    let patch = json!({"metadata": {"annotations": {faults::PARTITION: value}}});
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    nodes
        .patch(node, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("the API takes the annotation");
}

/// Status of the Ready condition.
async fn ready(cluster: &TestCluster, node: &str) -> String {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let status = nodes.get(node).await.expect("the node is there").status;
    let conditions = status
        .and_then(|status| status.conditions)
        .unwrap_or_default();
    let ready = conditions.into_iter().find(|c| c.type_ == "Ready");
    ready.map(|condition| condition.status).unwrap_or_default()
}

/// Pods of a node: those that stay, and those on their way out.
async fn pods_on(cluster: &TestCluster, node: &str) -> (usize, usize) {
    let pods = Api::<Pod>::default_namespaced(cluster.client.clone());
    let pods = pods.list(&ListParams::default()).await;
    let pods = pods.expect("the API lists pods").items;
    let here = pods.iter().filter(|pod| {
        let spec = pod.spec.as_ref();
        spec.and_then(|spec| spec.node_name.as_deref()) == Some(node)
    });
    let (going, staying): (Vec<_>, Vec<_>) =
        here.partition(|pod| pod.metadata.deletion_timestamp.is_some());
    (staying.len(), going.len())
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_loses_its_pods_after_five_minutes_and_may_come_back() {
    let cluster = TestCluster::start(3, 5).await;
    cluster.deploy("web", "web:1", 6).await;
    cluster.rolled_out("web").await;
    let (before, _) = pods_on(&cluster, "node-2").await;
    assert_eq!(before, 2);

    let began = Instant::now();
    partition(&cluster, "node-2", json!("true")).await;
    cluster
        .eventually("node-2 is unknown", async || {
            ready(&cluster, "node-2").await == "Unknown"
        })
        .await;
    let noticed = began.elapsed();
    let lease = Duration::from_secs(40)..Duration::from_secs(65);
    assert!(lease.contains(&noticed), "noticed after {noticed:?}");
    assert_eq!(pods_on(&cluster, "node-2").await, (2, 0));

    cluster
        .eventually("its pods have to leave", async || {
            pods_on(&cluster, "node-2").await == (0, 2)
        })
        .await;
    let evicted = began.elapsed() - noticed;
    let toleration = Duration::from_secs(295)..Duration::from_secs(330);
    assert!(toleration.contains(&evicted), "evicted after {evicted:?}");
    cluster.rolled_out("web").await;
    // Nobody can tell whether they still run, so they are not forgotten.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(pods_on(&cluster, "node-2").await, (0, 2));

    partition(&cluster, "node-2", Value::Null).await;
    cluster
        .eventually("node-2 is back", async || {
            ready(&cluster, "node-2").await == "True"
        })
        .await;
    cluster
        .eventually("its old pods are gone", async || {
            pods_on(&cluster, "node-2").await.1 == 0
        })
        .await;
}
