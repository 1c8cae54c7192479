//! Workloads that follow their images: by pushes, by looking themselves, after approval.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::Deployment;
use lab_controllers::{ControllersConfig, ImageNews, ImagePush, ImagePushes, ImageRegistry};
use serde_json::{Value, json};

use crate::harness::Cluster;

/// Tags with their content, in the one repository there is.
#[derive(Default)]
struct Registry {
    hosts: Vec<String>,
    tags: Mutex<BTreeMap<String, String>>,
}

impl Registry {
    fn put(&self, tag: &str, digest: &str) {
        self.tags
            .lock()
            .unwrap()
            .insert(tag.to_owned(), digest.to_owned());
    }
}

impl ImageRegistry for Registry {
    fn hosts(&self) -> &[String] {
        &self.hosts
    }

    fn tags<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<String>, String>> {
        let tags = self.tags.lock().unwrap().keys().cloned().collect();
        async move { Ok(tags) }.boxed()
    }

    fn digest<'a>(
        &'a self,
        _: &'a str,
        tag: &'a str,
    ) -> BoxFuture<'a, Result<Option<String>, String>> {
        let digest = self.tags.lock().unwrap().get(tag).cloned();
        async move { Ok(digest) }.boxed()
    }
}

struct Following {
    cluster: Cluster,
    pushes: ImagePushes,
    registry: Arc<Registry>,
}

impl Following {
    /// A Deployment of `localhost:5001/shop` at a tag, with these annotations.
    async fn start(tag: &str, annotations: Value) -> Self {
        let registry = Arc::new(Registry {
            hosts: vec!["localhost:5001".to_owned()],
            ..Registry::default()
        });
        let pushes = ImagePushes::default();
        let images = ImageNews {
            pushes: pushes.clone(),
            registry: Some(Arc::clone(&registry) as Arc<dyn ImageRegistry>),
        };
        let config = ControllersConfig {
            images,
            ..ControllersConfig::default()
        };
        let cluster = Cluster::start_with(config).await;
        cluster
            .create(json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "annotations": annotations},
                "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": format!("localhost:5001/shop:{tag}")}]}}}}))
            .await;
        let following = Self {
            cluster,
            pushes,
            registry,
        };
        following.rolled_out(tag).await;
        following
    }

    fn push(&self, tag: &str, digest: &str) {
        self.pushes.tell(ImagePush {
            name: "shop".to_owned(),
            tag: tag.to_owned(),
            digest: Some(digest.to_owned()),
        });
    }

    async fn deployment(&self) -> Deployment {
        self.cluster.get("web").await.unwrap()
    }

    async fn image(&self) -> String {
        let spec = self.deployment().await.spec.unwrap();
        let pod = spec.template.spec.unwrap();
        pod.containers[0].image.clone().unwrap()
    }

    /// Waits until the Deployment runs this tag, and this tag alone.
    async fn rolled_out(&self, tag: &str) {
        let expected = (format!("localhost:5001/shop:{tag}"), Some(2), Some(2));
        self.cluster
            .until(expected, async || {
                let status = self.deployment().await.status.unwrap_or_default();
                (
                    self.image().await,
                    status.updated_replicas,
                    status.ready_replicas,
                )
            })
            .await;
    }

    async fn told(&self, reason: &str, words: &str) {
        self.cluster
            .until(true, async || {
                let events = self.cluster.events().await;
                events
                    .iter()
                    .any(|(at, text)| at == reason && text.contains(words))
            })
            .await;
    }

    async fn annotate(&self, annotations: Value) {
        let body = json!({"metadata": {"annotations": annotations}});
        self.cluster.patch::<Deployment>("web", body).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_updates_the_workloads_whose_policy_takes_it_and_says_why_it_takes_no_other() {
    let web = Following::start("1.0.3", json!({"keel.sh/policy": "patch"})).await;
    web.push("1.1.0", "sha256:a");
    web.told(
        "ImageNotTaken",
        "localhost:5001/shop:1.1.0 not taken: policy patch: 1.1.0 is a minor step from 1.0.3",
    )
    .await;
    assert_eq!(web.image().await, "localhost:5001/shop:1.0.3");
    web.push("1.0.4", "sha256:b");
    web.rolled_out("1.0.4").await;
    web.told(
        "ImageUpdated",
        "1.0.3 -> 1.0.4 (policy patch: 1.0.4 is a patch step",
    )
    .await;
    let cause = web.deployment().await.metadata.annotations.unwrap();
    assert!(cause["kubernetes.io/change-cause"].contains("1.0.3 -> 1.0.4"));
}

#[tokio::test(start_paused = true)]
async fn the_same_tag_is_rolled_out_again_for_new_content_only() {
    let web = Following::start("main", json!({"keel.sh/policy": "force"})).await;
    let updates = async || {
        let spec = web.deployment().await.spec.unwrap();
        let meta = spec
            .template
            .metadata
            .unwrap()
            .annotations
            .unwrap_or_default();
        meta.get("keel.sh/update-time").cloned()
    };
    web.push("main", "sha256:a");
    web.cluster
        .until(true, async || updates().await.is_some())
        .await;
    let first = updates().await;
    web.told("ImageMayBeStale", "imagePullPolicy: Always").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    web.push("main", "sha256:a");
    web.told("ImageNotTaken", "its content is what was rolled out")
        .await;
    assert_eq!(updates().await, first);
    web.push("main", "sha256:b");
    web.cluster
        .until(true, async || updates().await != first)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_workload_that_polls_looks_as_often_as_it_says() {
    let annotations = json!({"keel.sh/policy": "minor", "keel.sh/trigger": "poll",
        "keel.sh/pollSchedule": "@every 10m"});
    let web = Following::start("1.0.0", annotations).await;
    for tag in ["1.0.1", "1.2.0", "2.0.0", "latest"] {
        web.registry.put(tag, "sha256:x");
    }
    // It looked when it was made, so the next look is ten minutes later.
    tokio::time::sleep(Duration::from_secs(8 * 60)).await;
    assert_eq!(web.image().await, "localhost:5001/shop:1.0.0");
    let before = web.cluster.context.now();
    web.rolled_out("1.2.0").await;
    let waited = web.cluster.context.now().duration_since(before);
    assert!(waited.as_secs() < 3 * 60, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_update_waits_for_its_approvals_and_is_dropped_after_its_deadline() {
    let annotations = json!({"keel.sh/policy": "all", "keel.sh/approvals": "1",
        "keel.sh/approvalDeadline": "2"});
    let web = Following::start("1.0.0", annotations).await;
    web.push("1.1.0", "sha256:a");
    web.told(
        "ImageAwaitsApproval",
        "localhost:5001/shop:1.1.0 waits for 1 approvals",
    )
    .await;
    assert_eq!(web.image().await, "localhost:5001/shop:1.0.0");
    web.annotate(json!({"keel.sh/approve": "1.1.0"})).await;
    web.rolled_out("1.1.0").await;
    let left = web.deployment().await.metadata.annotations.unwrap();
    assert!(!left.contains_key("keel.sh/pending") && !left.contains_key("keel.sh/approve"));

    web.push("1.2.0", "sha256:b");
    web.told("ImageAwaitsApproval", "shop:1.2.0").await;
    tokio::time::sleep(Duration::from_secs(2 * 3600 + 60)).await;
    let left = web.deployment().await.metadata.annotations.unwrap();
    assert!(!left.contains_key("keel.sh/pending"));
    assert_eq!(web.image().await, "localhost:5001/shop:1.1.0");
}

#[tokio::test(start_paused = true)]
async fn annotations_that_make_no_sense_are_told_in_an_event() {
    let web = Following::start("1.0.0", json!({"keel.sh/policy": "ptach"})).await;
    web.told("ImagePolicyInvalid", "keel.sh/policy is \"ptach\"")
        .await;
    web.push("1.0.1", "sha256:a");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(web.image().await, "localhost:5001/shop:1.0.0");
}
