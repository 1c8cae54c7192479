//! kube's own client and watcher against the router, without a socket.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api as KubeApi, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use serde_json::json;

use crate::support::{Api, config_map, deployment, labelled, pod};

fn typed<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[tokio::test(start_paused = true)]
async fn kube_creates_reads_changes_and_deletes() {
    let api = Api::new().await;
    let deployments: KubeApi<Deployment> = KubeApi::default_namespaced(api.client());
    let created = deployments
        .create(&PostParams::default(), &typed(deployment("web")))
        .await
        .unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    let patch = Patch::Apply(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 4},
    }));
    let applied = deployments
        .patch("web", &PatchParams::apply("test").force(), &patch)
        .await
        .unwrap();
    assert_eq!(applied.spec.unwrap().replicas, Some(4));
    let mut scale = deployments.get_scale("web").await.unwrap();
    scale.spec.as_mut().unwrap().replicas = Some(6);
    deployments
        .replace_scale("web", &PostParams::default(), &scale)
        .await
        .unwrap();
    assert_eq!(
        deployments.get("web").await.unwrap().spec.unwrap().replicas,
        Some(6)
    );
    let conflict = deployments
        .replace("web", &PostParams::default(), &created)
        .await
        .unwrap_err();
    assert!(
        matches!(&conflict, kube::Error::Api(status) if status.code == 409),
        "{conflict}"
    );
    deployments
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    let missing = deployments.get_opt("web").await.unwrap();
    assert!(missing.is_none());
}

#[tokio::test(start_paused = true)]
async fn kube_lists_by_selector_and_as_metadata() {
    let api = Api::new().await;
    let maps: KubeApi<ConfigMap> = KubeApi::default_namespaced(api.client());
    for object in [labelled("a", "app", "web"), labelled("b", "app", "api")] {
        maps.create(&PostParams::default(), &typed(object))
            .await
            .unwrap();
    }
    let found = maps
        .list(&ListParams::default().labels("app=web"))
        .await
        .unwrap();
    assert_eq!(found.items.len(), 1);
    let metadata = maps.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(metadata.items.len(), 2);
    let all = maps
        .delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .unwrap();
    assert_eq!(all.left().unwrap().items.len(), 2);
}

/// Applies events until nothing more comes at once.
async fn names_seen(config: watcher::Config) -> Vec<String> {
    let api = Api::new().await;
    let maps: KubeApi<ConfigMap> = KubeApi::default_namespaced(api.client());
    maps.create(&PostParams::default(), &typed(config_map("before")))
        .await
        .unwrap();
    let mut events = watcher(maps.clone(), config).boxed();
    let mut seen = Vec::new();
    while let Some(event) = events.try_next().await.unwrap() {
        match event {
            Event::Init => seen.push("init".to_owned()),
            Event::InitApply(object) => {
                seen.push(format!("found {}", object.metadata.name.unwrap()))
            }
            Event::InitDone => {
                seen.push("done".to_owned());
                maps.create(&PostParams::default(), &typed(config_map("after")))
                    .await
                    .unwrap();
            }
            Event::Apply(object) => {
                let name = object.metadata.name.unwrap();
                maps.delete(&name, &DeleteParams::default()).await.unwrap();
                seen.push(format!("applied {name}"));
            }
            Event::Delete(object) => {
                seen.push(format!("deleted {}", object.metadata.name.unwrap()));
                break;
            }
        }
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn a_kube_watcher_sees_everything_with_either_strategy() {
    let expected = [
        "init",
        "found before",
        "done",
        "applied after",
        "deleted after",
    ];
    assert_eq!(names_seen(watcher::Config::default()).await, expected);
    assert_eq!(
        names_seen(watcher::Config::default().streaming_lists()).await,
        expected
    );
    assert_eq!(
        names_seen(watcher::Config::default().page_size(1)).await,
        expected
    );
}

#[tokio::test(start_paused = true)]
async fn a_metadata_watcher_sees_changes() {
    let api = Api::new().await;
    let pods: KubeApi<Pod> = KubeApi::default_namespaced(api.client());
    pods.create(&PostParams::default(), &typed(pod("web")))
        .await
        .unwrap();
    let metadata: KubeApi<PartialObjectMeta<Pod>> = KubeApi::default_namespaced(api.client());
    let mut events = watcher(metadata, watcher::Config::default()).boxed();
    let mut found: Option<PartialObjectMeta<Pod>> = None;
    while found.is_none() {
        if let Event::InitApply(object) = events.try_next().await.unwrap().unwrap() {
            found = Some(object);
        }
    }
    assert_eq!(found.unwrap().metadata.name.as_deref(), Some("web"));
}
