//! A Rollout on a whole cluster: scheduler, node agent and simulated engine take part.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use lab_api::rollouts::Rollout;
use lab_testkit::test_cluster::TestCluster;
use serde_json::{Value, json};

fn rollouts(cluster: &TestCluster) -> Api<Rollout> {
    Api::default_namespaced(cluster.client.clone())
}

async fn reaches(cluster: &TestCluster, phase: &str) {
    cluster
        .eventually(&format!("the Rollout is {phase}"), async || {
            let rollout = rollouts(cluster).get("web").await.expect("it exists");
            let generation = rollout.metadata.generation.map(|number| number.to_string());
            rollout.status.is_some_and(|status| {
                status.phase == phase && Some(status.observed_generation) == generation
            })
        })
        .await;
}

async fn images(cluster: &TestCluster) -> (usize, usize) {
    let pods = Api::<Pod>::default_namespaced(cluster.client.clone());
    let pods = pods.list(&ListParams::default()).await;
    let pods = pods.expect("pods can be listed");
    let of = |image: &str| {
        let has = |pod: &&Pod| {
            let spec = pod.spec.as_ref();
            pod.metadata.deletion_timestamp.is_none()
                && spec.is_some_and(|spec| spec.containers[0].image.as_deref() == Some(image))
        };
        pods.items.iter().filter(has).count()
    };
    (of("web:1"), of("web:2"))
}

async fn patch_status(cluster: &TestCluster, status: Value) {
    let body = json!({"status": status});
    let patched = rollouts(cluster)
        .patch_status("web", &PatchParams::default(), &Patch::Merge(body))
        .await;
    patched.expect("the status can be written");
}

#[tokio::test(start_paused = true)]
async fn a_canary_walks_its_steps_and_an_abort_brings_it_back() {
    let cluster = TestCluster::start(3, 1).await;
    let rollout = json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 10, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "web:1"}]}},
        "strategy": {"canary": {"steps": [
            {"setWeight": 10}, {"pause": {"duration": "20m"}}, {"setWeight": 50}, {"pause": {}}]}}}});
    let rollout = serde_json::from_value(rollout).unwrap();
    rollouts(&cluster)
        .create(&PostParams::default(), &rollout)
        .await
        .unwrap();
    reaches(&cluster, "Healthy").await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "web:2"}]}}}});
    rollouts(&cluster)
        .patch("web", &PatchParams::default(), &Patch::Merge(image))
        .await
        .unwrap();
    reaches(&cluster, "Paused").await;
    assert_eq!(images(&cluster).await, (9, 1));
    cluster
        .eventually("half of the pods are new", async || {
            images(&cluster).await == (5, 5)
        })
        .await;
    reaches(&cluster, "Paused").await;
    patch_status(&cluster, json!({"abort": true})).await;
    cluster
        .eventually("all pods are old", async || {
            images(&cluster).await == (10, 0)
        })
        .await;
    reaches(&cluster, "Degraded").await;
    patch_status(&cluster, json!({"abort": false})).await;
    reaches(&cluster, "Paused").await;
    patch_status(&cluster, json!({"promoteFull": true})).await;
    reaches(&cluster, "Healthy").await;
    assert_eq!(images(&cluster).await, (0, 10));
}
