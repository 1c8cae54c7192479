use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::Cluster;

async fn service(cluster: &Cluster, type_: &str) {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": type_, "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    cluster.create(service).await;
}

/// Ready and other endpoints of all slices.
async fn endpoints(cluster: &Cluster) -> (usize, usize) {
    let slices: Vec<EndpointSlice> = cluster.list("default").await;
    let all: Vec<_> = slices
        .into_iter()
        .flat_map(|slice| slice.endpoints.unwrap_or_default())
        .collect();
    let ready = all
        .iter()
        .filter(|one| one.conditions.as_ref().unwrap().ready == Some(true))
        .count();
    (ready, all.len() - ready)
}

#[tokio::test(start_paused = true)]
async fn a_service_lists_the_pods_behind_it() {
    let cluster = Cluster::start().await;
    service(&cluster, "ClusterIP").await;
    cluster.create_deployment(json!({})).await;
    cluster
        .until((3, 0), async || endpoints(&cluster).await)
        .await;
    let slices: Vec<EndpointSlice> = cluster.list("default").await;
    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0].ports.as_ref().unwrap()[0].port, Some(8000));
    let pods: Vec<Pod> = cluster.list("default").await;
    let wanted: BTreeSet<_> = pods
        .into_iter()
        .map(|pod| pod.status.unwrap().pod_ip.unwrap())
        .collect();
    let legacy: Endpoints = cluster.get("web").await.unwrap();
    let subset = &legacy.subsets.as_ref().unwrap()[0];
    let listed: BTreeSet<_> = subset
        .addresses
        .iter()
        .flatten()
        .map(|one| one.ip.clone())
        .collect();
    assert_eq!(listed, wanted);
}

#[tokio::test(start_paused = true)]
async fn a_terminating_pod_leaves_the_rotation_at_once() {
    let cluster = Cluster::start().await;
    service(&cluster, "ClusterIP").await;
    cluster.create_deployment(json!({})).await;
    cluster
        .until((3, 0), async || endpoints(&cluster).await)
        .await;
    let pods: Vec<Pod> = cluster.list("default").await;
    cluster
        .delete::<Pod>(
            pods[0].metadata.name.as_deref().unwrap(),
            &DeleteParams::default(),
        )
        .await;
    // Well before the second that the pod takes to stop.
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(endpoints(&cluster).await.0, 2);
    cluster
        .until((3, 0), async || endpoints(&cluster).await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_rolling_update_never_leaves_a_service_without_endpoints() {
    let cluster = Cluster::start().await;
    service(&cluster, "ClusterIP").await;
    cluster.create_deployment(json!({})).await;
    cluster
        .until((3, 0), async || endpoints(&cluster).await)
        .await;
    let template = json!({"spec": {"containers": [{"name": "c", "image": "shop:2"}]}});
    cluster
        .patch::<Deployment>("web", json!({"spec": {"template": template}}))
        .await;
    let mut fewest = usize::MAX;
    for _ in 0..600 {
        fewest = fewest.min(endpoints(&cluster).await.0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(fewest, 3);
    assert_eq!(endpoints(&cluster).await, (3, 0));
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_a_deleted_service_goes_with_it() {
    let cluster = Cluster::start().await;
    service(&cluster, "ClusterIP").await;
    cluster.create_deployment(json!({})).await;
    cluster
        .until((3, 0), async || endpoints(&cluster).await)
        .await;
    cluster
        .delete::<Service>("web", &DeleteParams::default())
        .await;
    cluster
        .until(0, async || {
            cluster.list::<EndpointSlice>("default").await.len()
        })
        .await;
    cluster
        .until(true, async || {
            cluster.get::<Endpoints>("web").await.is_none()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_load_balancer_gets_its_address_and_loses_it() {
    let cluster = Cluster::start().await;
    service(&cluster, "LoadBalancer").await;
    let address = async || -> Option<String> {
        let service: Service = cluster.get("web").await.unwrap();
        service.status?.load_balancer?.ingress?.first()?.ip.clone()
    };
    let service: Service = cluster.get("web").await.unwrap();
    let own = service.spec.unwrap().cluster_ip;
    assert!(own.is_some());
    cluster.until(own, &address).await;
    cluster
        .patch::<Service>("web", json!({"spec": {"type": "ClusterIP"}}))
        .await;
    cluster.until(None, &address).await;
}
