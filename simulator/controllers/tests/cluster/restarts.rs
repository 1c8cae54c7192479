use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::harness::Cluster;

/// More changes than any API server keeps to resume watches from.
const FORGOTTEN: usize = 5000;

#[tokio::test(start_paused = true)]
async fn an_api_server_that_forgot_where_a_watch_stood_is_followed_again() {
    let cluster = Cluster::start().await;
    cluster.create_deployment(json!({})).await;
    let pods = async || cluster.list::<Pod>("default").await.len();
    cluster.until(3, &pods).await;
    let victim = cluster.list::<Pod>("default").await.remove(0);
    let name = victim.metadata.name.unwrap();
    cluster.api.stop();
    let back_door: Api<Pod> = Api::default_namespaced(cluster.api.back_door());
    for number in 0..FORGOTTEN {
        let label = Patch::Merge(json!({"metadata": {"labels": {"turn": number.to_string()}}}));
        back_door
            .patch(&name, &PatchParams::default(), &label)
            .await
            .unwrap();
    }
    cluster.api.start();
    cluster
        .patch::<Deployment>("web", json!({"spec": {"replicas": 5}}))
        .await;
    cluster.until(5, &pods).await;
    let reported = async || -> i32 {
        let sets: Vec<ReplicaSet> = cluster.list("default").await;
        sets[0].status.as_ref().unwrap().replicas
    };
    cluster.until(5, reported).await;
}
