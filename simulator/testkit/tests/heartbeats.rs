//! A thousand nodes say every ten seconds that they live: they stay Ready, the store does not
//! grow by it, and nobody is woken who does not ask for leases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use lab_api::names::NODE_LEASE_NAMESPACE;
use lab_testkit::test_cluster::TestCluster;

const NODES: usize = 1000;

/// How long one renewal may be away from the next: the lease's own 40 s, less a margin for the
/// way of a renewal that is late.
const LONGEST: Duration = Duration::from_secs(20);

/// Counts the events of a kind from now on, bookmarks aside.
async fn count<K>(api: Api<K>) -> Arc<AtomicUsize>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned,
    K: std::fmt::Debug + Send + 'static,
{
    let listed = api.list(&ListParams::default()).await.expect("a list");
    let revision = listed.metadata.resource_version.unwrap_or_default();
    let watch = api.watch(&WatchParams::default(), &revision).await;
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let mut events = watch.expect("a watch").boxed();
    tokio::spawn(async move {
        while let Ok(Some(event)) = events.try_next().await {
            if !matches!(event, WatchEvent::Bookmark(_)) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    seen
}

/// When each node last renewed its lease.
async fn renewals(leases: &Api<Lease>) -> BTreeMap<String, jiff::Timestamp> {
    let listed = leases.list(&ListParams::default()).await.expect("a list");
    let renewed = |lease: Lease| {
        let renewed = lease.spec?.renew_time?.0;
        Some((lease.metadata.name?, renewed))
    };
    listed.items.into_iter().filter_map(renewed).collect()
}

async fn ready(nodes: &Api<Node>) -> usize {
    let nodes = nodes.list(&ListParams::default()).await.expect("a list");
    let is_ready = |node: &&Node| {
        let status = node.status.as_ref();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|found| found.type_ == "Ready" && found.status == "True")
    };
    nodes.items.iter().filter(is_ready).count()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_leases_are_renewed_and_nothing_else_moves() {
    let cluster = TestCluster::start(u16::try_from(NODES).expect("it fits"), 7).await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), NODE_LEASE_NAMESPACE);
    cluster.deploy("web", "web:1", 30).await;
    cluster.rolled_out("web").await;
    cluster
        .eventually("all nodes are Ready", async || ready(&nodes).await == NODES)
        .await;
    // What the beginning has left to write is written.
    tokio::time::sleep(Duration::from_secs(60)).await;

    let of_nodes = count(nodes.clone()).await;
    let of_pods = count(Api::<Pod>::all(cluster.client.clone())).await;
    let of_leases = count(leases.clone()).await;
    let (size, revision) = (cluster.store.size_bytes(), cluster.store.revision());
    let rounds = 6;
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let renewed = renewals(&leases).await;
        assert_eq!(renewed.len(), NODES);
        let now = cluster.context.now();
        for (node, at) in renewed {
            let age = Duration::try_from(now.duration_since(at)).unwrap_or_default();
            assert!(age < LONGEST, "{node} renewed its lease {age:?} ago");
        }
    }
    assert_eq!(ready(&nodes).await, NODES);
    let heartbeats = NODES * rounds;
    let seen = of_leases.load(Ordering::Relaxed);
    let about = heartbeats * 9 / 10..=heartbeats * 11 / 10;
    assert!(about.contains(&seen), "{seen} renewals for {heartbeats}");
    // Every write is a renewal; a heartbeat concerns nobody who watches nodes or pods.
    let writes = cluster.store.revision() - revision;
    assert!(
        writes <= seen as u64 + 20,
        "{writes} writes, {seen} renewals"
    );
    assert_eq!(of_nodes.load(Ordering::Relaxed), 0);
    assert_eq!(of_pods.load(Ordering::Relaxed), 0);
    // A renewal replaces the one before. The revision in it may have grown by a digit.
    let grown = cluster.store.size_bytes().saturating_sub(size);
    assert!(grown <= 2 * NODES as u64, "the store grew by {grown} bytes");
}
