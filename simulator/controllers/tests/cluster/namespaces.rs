use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, ServiceAccount};
use kube::Api;
use kube::api::DeleteParams;
use lab_controllers::{BootstrapConfig, bootstrap};
use serde_json::json;

use crate::harness::Cluster;

#[tokio::test(start_paused = true)]
async fn every_namespace_has_a_default_service_account() {
    let cluster = Cluster::start().await;
    cluster
        .create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}))
        .await;
    let names = async |namespace: &str| -> Vec<String> {
        let found: Vec<ServiceAccount> = cluster.list(namespace).await;
        found
            .into_iter()
            .map(|one| one.metadata.name.unwrap())
            .collect()
    };
    for namespace in ["default", "kube-system", "shop"] {
        cluster
            .until(vec!["default".to_owned()], async || names(namespace).await)
            .await;
    }
    cluster
        .delete::<ServiceAccount>("default", &DeleteParams::default())
        .await;
    cluster
        .until(vec!["default".to_owned()], async || names("default").await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_namespace_is_emptied_and_goes() {
    let cluster = Cluster::start().await;
    cluster
        .create(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}))
        .await;
    for kind in ["ConfigMap", "Secret"] {
        let metadata = json!({"name": "x", "namespace": "shop"});
        cluster
            .create(json!({"apiVersion": "v1", "kind": kind, "metadata": metadata}))
            .await;
    }
    cluster
        .create(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "shop:1"}]}}}}))
        .await;
    let ready = async || -> usize {
        let pods: Vec<Pod> = cluster.list("shop").await;
        pods.iter()
            .filter(|pod| lab_api::pods::is_ready(pod))
            .count()
    };
    cluster.until(2, ready).await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    namespaces
        .delete("shop", &DeleteParams::default())
        .await
        .unwrap();
    cluster
        .until(true, async || {
            cluster.get_cluster::<Namespace>("shop").await.is_none()
        })
        .await;
    assert_eq!(cluster.list::<Deployment>("shop").await.len(), 0);
    assert_eq!(cluster.list::<Pod>("shop").await.len(), 0);
    assert_eq!(cluster.list::<ConfigMap>("shop").await.len(), 0);
    assert_eq!(cluster.list::<Secret>("shop").await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn bootstrapping_twice_changes_nothing() {
    let cluster = Cluster::start().await;
    let gateways: Api<lab_api::gateway::Gateway> =
        Api::namespaced(cluster.client.clone(), "default");
    let before = gateways.get("devops-lab").await.unwrap();
    let listeners: Vec<_> = before
        .spec
        .listeners
        .iter()
        .map(|one| (one.name.clone(), one.port))
        .collect();
    assert_eq!(
        listeners,
        [("production".to_owned(), 8080), ("test".to_owned(), 8081)]
    );
    bootstrap(&cluster.client, &BootstrapConfig::default())
        .await
        .unwrap();
    let after = gateways.get("devops-lab").await.unwrap();
    assert_eq!(
        after.metadata.resource_version,
        before.metadata.resource_version
    );
}
