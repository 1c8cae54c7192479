use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::Cluster;

/// How many Deployments, ReplicaSets and pods there are.
async fn counts(cluster: &Cluster) -> (usize, usize, usize) {
    (
        cluster.list::<Deployment>("default").await.len(),
        cluster.list::<ReplicaSet>("default").await.len(),
        cluster.list::<Pod>("default").await.len(),
    )
}

async fn deployed() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.create_deployment(json!({})).await;
    let ready = async || -> usize {
        let pods: Vec<Pod> = cluster.list("default").await;
        pods.iter()
            .filter(|pod| lab_api::pods::is_ready(pod))
            .count()
    };
    cluster.until(3, ready).await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_deleted_deployment_takes_all_it_owns_along() {
    let cluster = deployed().await;
    cluster
        .delete::<Deployment>("web", &DeleteParams::default())
        .await;
    assert_eq!(counts(&cluster).await.0, 0);
    cluster
        .until((0, 0, 0), async || counts(&cluster).await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_a_deployment_goes_last() {
    let cluster = deployed().await;
    cluster
        .delete::<Deployment>("web", &DeleteParams::foreground())
        .await;
    assert_eq!(counts(&cluster).await, (1, 1, 3));
    cluster.until(0, async || counts(&cluster).await.2).await;
    cluster
        .until((0, 0, 0), async || counts(&cluster).await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn orphans_stay_and_are_adopted_by_the_next() {
    let cluster = deployed().await;
    cluster
        .delete::<Deployment>("web", &DeleteParams::orphan())
        .await;
    cluster
        .until((0, 1, 3), async || counts(&cluster).await)
        .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(counts(&cluster).await, (0, 1, 3));
    cluster.observe();
    cluster.create_deployment(json!({})).await;
    let owned = async || -> bool {
        let sets: Vec<ReplicaSet> = cluster.list("default").await;
        sets[0]
            .metadata
            .owner_references
            .as_ref()
            .is_some_and(|owners| owners.len() == 1)
    };
    cluster.until(true, owned).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(counts(&cluster).await, (1, 1, 3));
    assert_eq!(cluster.seen().created, 0);
}

#[tokio::test(start_paused = true)]
async fn kinds_that_no_other_controller_watches_are_collected_too() {
    let cluster = deployed().await;
    let deployment: Deployment = cluster.get("web").await.unwrap();
    let owned_by = |name: &str, uid: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": uid}]}})
    };
    cluster
        .create(owned_by(
            "owned",
            deployment.metadata.uid.as_deref().unwrap(),
        ))
        .await;
    cluster.create(owned_by("of-an-earlier-web", "0000")).await;
    cluster
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "free"}}))
        .await;
    let names = async || -> Vec<String> {
        let found: Vec<ConfigMap> = cluster.list("default").await;
        found
            .into_iter()
            .map(|one| one.metadata.name.unwrap())
            .collect()
    };
    cluster
        .until(vec!["free".to_owned(), "owned".to_owned()], &names)
        .await;
    cluster
        .delete::<Deployment>("web", &DeleteParams::default())
        .await;
    cluster.until(vec!["free".to_owned()], &names).await;
}

#[tokio::test(start_paused = true)]
async fn events_are_forgotten_after_an_hour() {
    let cluster = deployed().await;
    assert!(!cluster.list::<Event>("default").await.is_empty());
    tokio::time::sleep(Duration::from_secs(3600 - 60)).await;
    assert!(!cluster.list::<Event>("default").await.is_empty());
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert_eq!(cluster.events().await, []);
}
