//! What only time brings out, on a cluster whose hours pass in moments.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use lab_testkit::test_cluster::TestCluster;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn three_replicas_spread_over_three_nodes() {
    let cluster = TestCluster::start(3, 1).await;
    cluster.deploy("web", "web:1", 3).await;
    cluster.rolled_out("web").await;
    let pods = Api::<Pod>::default_namespaced(cluster.client.clone());
    let pods = pods.list(&ListParams::default()).await.unwrap();
    let nodes: BTreeSet<_> = pods
        .iter()
        .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
        .collect();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
}

/// The same figure would be reached with a real week; heartbeats every ten seconds and a rollout
/// every few hours are what a cluster that nobody stops lives through.
#[tokio::test(start_paused = true)]
async fn a_week_of_heartbeats_and_rollouts_does_not_grow_the_store() {
    let cluster = TestCluster::start(1, 7).await;
    cluster.deploy("web", "web:0", 3).await;
    cluster.rolled_out("web").await;
    let mut after_first_day = 0;
    for rollout in 1..=42 {
        tokio::time::sleep(4 * HOUR).await;
        cluster.set_image("web", &format!("web:{rollout}")).await;
        cluster.rolled_out("web").await;
        // By then the history of revisions is full, and everything that expires has expired once.
        if rollout == 12 {
            after_first_day = cluster.store.size_bytes();
        }
    }
    let after_a_week = cluster.store.size_bytes();
    assert!(
        after_a_week < after_first_day + after_first_day / 10,
        "the store grew from {after_first_day} to {after_a_week} bytes"
    );
    let sets = Api::<ReplicaSet>::default_namespaced(cluster.client.clone());
    let sets = sets.list(&ListParams::default()).await.unwrap();
    // Ten old revisions and the present one.
    assert_eq!(sets.items.len(), 11);
}
