use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use lab_api::names::{POD_TEMPLATE_HASH, REVISION, REVISION_HISTORY};
use serde_json::json;

use crate::harness::{Cluster, NEVER_READY};

/// Updated, available and all replicas of `web`, with all of its last change observed.
async fn rollout(cluster: &Cluster) -> (i32, i32, i32) {
    let deployment: Deployment = cluster.get("web").await.unwrap();
    let status = deployment.status.unwrap_or_default();
    if status.observed_generation != deployment.metadata.generation {
        return (-1, -1, -1);
    }
    let count = |number: Option<i32>| number.unwrap_or(0);
    (
        count(status.updated_replicas),
        count(status.available_replicas),
        count(status.replicas),
    )
}

fn condition(status: &DeploymentStatus, type_: &str) -> String {
    let found = status
        .conditions
        .iter()
        .flatten()
        .find(|found| found.type_ == type_);
    found.map_or_else(String::new, |found| {
        format!(
            "{} {}",
            found.status,
            found.reason.clone().unwrap_or_default()
        )
    })
}

async fn progressing(cluster: &Cluster) -> String {
    let deployment: Deployment = cluster.get("web").await.unwrap();
    condition(&deployment.status.unwrap_or_default(), "Progressing")
}

fn image(name: &str) -> serde_json::Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": name}]}}}})
}

fn annotation(set: &ReplicaSet, key: &str) -> String {
    set.metadata
        .annotations
        .as_ref()
        .unwrap()
        .get(key)
        .cloned()
        .unwrap_or_default()
}

/// Revision and size of each ReplicaSet, by revision.
async fn sizes(cluster: &Cluster) -> Vec<(String, i32)> {
    let sets: Vec<ReplicaSet> = cluster.list("default").await;
    let mut sizes: Vec<_> = sets
        .iter()
        .map(|set| {
            (
                annotation(set, REVISION),
                set.spec.as_ref().unwrap().replicas.unwrap(),
            )
        })
        .collect();
    sizes.sort();
    sizes
}

#[tokio::test(start_paused = true)]
async fn three_replicas_are_created_once_and_reported() {
    let cluster = Cluster::start().await;
    cluster.create_deployment(json!({})).await;
    cluster
        .until((3, 3, 3), async || rollout(&cluster).await)
        .await;
    assert_eq!(cluster.seen().created, 3);
    let deployment: Deployment = cluster.get("web").await.unwrap();
    assert_eq!(
        deployment.metadata.annotations.as_ref().unwrap()[REVISION],
        "1"
    );
    let status = deployment.status.unwrap();
    assert_eq!(
        condition(&status, "Available"),
        "True MinimumReplicasAvailable"
    );
    assert_eq!(
        condition(&status, "Progressing"),
        "True NewReplicaSetAvailable"
    );
    let sets: Vec<ReplicaSet> = cluster.list("default").await;
    let set = sets[0].metadata.name.clone().unwrap();
    let hash = &sets[0].metadata.labels.as_ref().unwrap()[POD_TEMPLATE_HASH];
    assert_eq!(set, format!("web-{hash}"));
    for pod in cluster.list::<Pod>("default").await {
        let name = pod.metadata.name.unwrap();
        let suffix = name.strip_prefix(&format!("{set}-")).unwrap();
        assert_eq!(suffix.len(), 5, "{name}");
    }
    let expected = (
        "ScalingReplicaSet".to_owned(),
        format!("Scaled up replica set {set} from 0 to 3"),
    );
    assert!(cluster.events().await.contains(&expected));
}

#[tokio::test(start_paused = true)]
async fn a_settled_deployment_writes_nothing_more() {
    let cluster = Cluster::start().await;
    cluster.create_deployment(json!({})).await;
    cluster
        .until((3, 3, 3), async || rollout(&cluster).await)
        .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let revisions = async || {
        let deployment: Deployment = cluster.get("web").await.unwrap();
        let sets: Vec<ReplicaSet> = cluster.list("default").await;
        (
            deployment.metadata.resource_version,
            sets[0].metadata.resource_version.clone(),
        )
    };
    let before = revisions().await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(revisions().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_rolling_update_keeps_within_its_bounds() {
    let cluster = Cluster::start().await;
    cluster.create_deployment(json!({"replicas": 8})).await;
    cluster
        .until((8, 8, 8), async || rollout(&cluster).await)
        .await;
    cluster.observe();
    cluster.patch::<Deployment>("web", image("shop:2")).await;
    cluster
        .until((8, 8, 8), async || rollout(&cluster).await)
        .await;
    let seen = cluster.seen();
    assert!(seen.most_pods <= 10, "25 % surge: {seen:?}");
    assert!(seen.fewest_ready >= 6, "25 % unavailable: {seen:?}");
    assert_eq!(seen.created, 8);
    assert_eq!(sizes(&cluster).await, [("1".into(), 0), ("2".into(), 8)]);
}

#[tokio::test(start_paused = true)]
async fn a_broken_version_stops_and_is_rolled_back() {
    let cluster = Cluster::start().await;
    cluster
        .create_deployment(json!({"progressDeadlineSeconds": 60}))
        .await;
    cluster
        .until((3, 3, 3), async || rollout(&cluster).await)
        .await;
    cluster.observe();
    cluster.patch::<Deployment>("web", image(NEVER_READY)).await;
    let late = "False ProgressDeadlineExceeded".to_owned();
    cluster
        .until(late, async || progressing(&cluster).await)
        .await;
    assert_eq!(sizes(&cluster).await, [("1".into(), 3), ("2".into(), 1)]);
    cluster.patch::<Deployment>("web", image("shop:1")).await;
    cluster
        .until((3, 3, 3), async || rollout(&cluster).await)
        .await;
    assert_eq!(sizes(&cluster).await, [("2".into(), 0), ("3".into(), 3)]);
    assert_eq!(cluster.seen().fewest_ready, 3, "nobody noticed");
    let sets: Vec<ReplicaSet> = cluster.list("default").await;
    let back = sets
        .iter()
        .find(|set| annotation(set, REVISION) == "3")
        .unwrap();
    assert_eq!(annotation(back, REVISION_HISTORY), "1");
}

#[tokio::test(start_paused = true)]
async fn recreate_never_runs_two_versions_at_once() {
    let cluster = Cluster::start().await;
    cluster
        .create_deployment(json!({"strategy": {"type": "Recreate"}}))
        .await;
    cluster
        .until((3, 3, 3), async || rollout(&cluster).await)
        .await;
    cluster.observe();
    cluster.patch::<Deployment>("web", image("shop:2")).await;
    cluster
        .until((3, 3, 3), async || rollout(&cluster).await)
        .await;
    let seen = cluster.seen();
    assert_eq!((seen.most_pods, seen.fewest_ready), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn scaling_and_pausing_do_what_they_say() {
    let cluster = Cluster::start().await;
    cluster.create_deployment(json!({})).await;
    cluster
        .until((3, 3, 3), async || rollout(&cluster).await)
        .await;
    cluster
        .patch::<Deployment>("web", json!({"spec": {"replicas": 5}}))
        .await;
    cluster
        .until((5, 5, 5), async || rollout(&cluster).await)
        .await;
    cluster
        .patch::<Deployment>("web", json!({"spec": {"replicas": 1}}))
        .await;
    cluster
        .until((1, 1, 1), async || rollout(&cluster).await)
        .await;
    cluster
        .patch::<Deployment>("web", json!({"spec": {"paused": true}}))
        .await;
    let paused = "Unknown DeploymentPaused".to_owned();
    cluster
        .until(paused, async || progressing(&cluster).await)
        .await;
    cluster.patch::<Deployment>("web", image("shop:2")).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(sizes(&cluster).await, [("1".into(), 1)]);
    cluster
        .patch::<Deployment>("web", json!({"spec": {"paused": false}}))
        .await;
    cluster
        .until((1, 1, 1), async || rollout(&cluster).await)
        .await;
    assert_eq!(sizes(&cluster).await, [("1".into(), 0), ("2".into(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_dies_is_replaced_and_a_relabelled_one_set_aside() {
    let cluster = Cluster::start().await;
    cluster.create_deployment(json!({})).await;
    cluster
        .until((3, 3, 3), async || rollout(&cluster).await)
        .await;
    let names = async || -> Vec<String> {
        let pods: Vec<Pod> = cluster.list("default").await;
        pods.into_iter()
            .map(|pod| pod.metadata.name.unwrap())
            .collect()
    };
    let victim = names().await[0].clone();
    cluster
        .delete::<Pod>(&victim, &kube::api::DeleteParams::default())
        .await;
    cluster
        .until(false, async || names().await.contains(&victim))
        .await;
    cluster
        .until((3, 3, 3), async || rollout(&cluster).await)
        .await;
    let aside = names().await[0].clone();
    cluster
        .patch::<Pod>(&aside, json!({"metadata": {"labels": {"app": "debug"}}}))
        .await;
    cluster.until(4, async || names().await.len()).await;
    let pod: Pod = cluster.get(&aside).await.unwrap();
    assert_eq!(pod.metadata.owner_references.unwrap_or_default(), []);
}

#[tokio::test(start_paused = true)]
async fn a_pod_counts_only_after_its_min_ready_time() {
    let cluster = Cluster::start().await;
    cluster
        .create_deployment(json!({"minReadySeconds": 20}))
        .await;
    cluster
        .until((3, 0, 3), async || rollout(&cluster).await)
        .await;
    let ready = async || -> i32 {
        let deployment: Deployment = cluster.get("web").await.unwrap();
        deployment.status.unwrap().ready_replicas.unwrap_or(0)
    };
    cluster.until(3, ready).await;
    tokio::time::sleep(Duration::from_secs(18)).await;
    assert_eq!(rollout(&cluster).await, (3, 0, 3));
    cluster
        .until((3, 3, 3), async || rollout(&cluster).await)
        .await;
}
