//! Rollouts on paused time: hours of pauses in moments.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use lab_api::rollouts::{POD_TEMPLATE_HASH, Rollout, RolloutStatus};
use serde_json::{Value, json};

use crate::harness::Cluster;

/// A cluster with one Rollout, `web`.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
}

impl Stage {
    /// Three replicas of `shop:1`, rolled out; `strategy` is the Rollout's, `spec` is merged in.
    pub(crate) async fn start(strategy: Value, spec: Value) -> Self {
        let stage = Self::unready(strategy, spec).await;
        stage.reaches("Healthy", "").await;
        stage
    }

    /// The same, at its very beginning.
    pub(crate) async fn unready(strategy: Value, spec: Value) -> Self {
        let cluster = Cluster::start().await;
        for name in ["web-stable", "web-canary", "web-active", "web-preview"] {
            cluster
                .create(
                    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}),
                )
                .await;
        }
        let mut rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "web"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "shop:1"}]}},
                "strategy": strategy}});
        for (key, value) in spec.as_object().unwrap() {
            rollout["spec"][key] = value.clone();
        }
        cluster.create(rollout).await;
        Self { cluster }
    }

    fn api(&self) -> Api<Rollout> {
        Api::namespaced(self.cluster.client.clone(), "default")
    }

    pub(crate) async fn status(&self) -> RolloutStatus {
        let rollout = self.api().get("web").await.unwrap();
        rollout.status.unwrap_or_default()
    }

    /// Waits until the Rollout has this phase and message, and has seen its latest spec.
    #[track_caller]
    pub(crate) fn reaches(&self, phase: &str, message: &str) -> impl Future<Output = ()> {
        let expected = (phase.to_owned(), message.to_owned(), true);
        self.cluster.until(expected, async || {
            let rollout = self.api().get("web").await.unwrap();
            let generation = rollout.metadata.generation.unwrap().to_string();
            let status = rollout.status.unwrap_or_default();
            (
                status.phase,
                status.message,
                status.observed_generation == generation,
            )
        })
    }

    /// Waits until the current step is this one.
    #[track_caller]
    pub(crate) fn reaches_step(&self, index: i32) -> impl Future<Output = ()> {
        self.cluster
            .until(Some(index), async || self.status().await.current_step_index)
    }

    /// Waits until the ReplicaSets of these images have these sizes.
    #[track_caller]
    pub(crate) fn has_pods(&self, expected: &[(&str, i32)]) -> impl Future<Output = ()> {
        let expected: Vec<(String, i32)> = expected
            .iter()
            .map(|(image, count)| ((*image).to_owned(), *count))
            .collect();
        self.cluster.until(expected, async || self.pods().await)
    }

    /// Images of ReplicaSets that have pods, with the number of available ones.
    pub(crate) async fn pods(&self) -> Vec<(String, i32)> {
        let mut found = Vec::new();
        for set in self.cluster.list::<ReplicaSet>("default").await {
            let wanted = set.spec.as_ref().unwrap().replicas.unwrap();
            let available = set.status.as_ref().unwrap().available_replicas;
            if wanted > 0 || available.is_some() {
                found.push((image(&set), available.unwrap_or(0)));
            }
        }
        found.sort();
        found
    }

    pub(crate) async fn patch(&self, body: Value) {
        self.api()
            .patch("web", &PatchParams::default(), &Patch::Merge(body))
            .await
            .unwrap();
    }

    pub(crate) async fn patch_status(&self, body: Value) {
        let body = json!({"status": body});
        self.api()
            .patch_status("web", &PatchParams::default(), &Patch::Merge(body))
            .await
            .unwrap();
    }

    pub(crate) async fn set_image(&self, image: &str) {
        let containers = json!([{"name": "c", "image": image}]);
        self.patch(json!({"spec": {"template": {"spec": {"containers": containers}}}}))
            .await;
    }

    /// The image that a Service selects; empty where it selects by no version.
    pub(crate) async fn served(&self, service: &str) -> String {
        let service = self.cluster.get::<Service>(service).await.unwrap();
        let selector = service.spec.unwrap().selector.unwrap();
        let Some(hash) = selector.get(POD_TEMPLATE_HASH) else {
            return String::new();
        };
        let sets = self.cluster.list::<ReplicaSet>("default").await;
        let has_hash =
            |set: &&ReplicaSet| set.metadata.labels.as_ref().unwrap()[POD_TEMPLATE_HASH] == *hash;
        sets.iter().find(has_hash).map(image).unwrap_or_default()
    }

    /// What `kubectl argo rollouts promote` sends.
    pub(crate) async fn promote(&self) {
        let status = self.status().await;
        let index = status.current_step_index.unwrap_or(0);
        let inconclusive = status
            .pause_conditions
            .iter()
            .any(|pause| pause.reason == "InconclusiveAnalysisRun");
        let body = if inconclusive {
            json!({"pauseConditions": null, "controllerPause": false, "currentStepIndex": index + 1})
        } else if status.pause_conditions.is_empty() {
            json!({"pauseConditions": null, "currentStepIndex": index + 1})
        } else {
            json!({"pauseConditions": null})
        };
        self.patch_status(body).await;
    }

    pub(crate) async fn abort(&self) {
        self.patch_status(json!({"abort": true})).await;
    }

    pub(crate) async fn retry(&self) {
        self.patch_status(json!({"abort": false})).await;
    }

    pub(crate) async fn promote_full(&self) {
        self.patch_status(json!({"promoteFull": true})).await;
    }

    pub(crate) async fn has_event(&self, reason: &str, message: &str) {
        let found = async || {
            let events = self.cluster.events().await;
            events
                .iter()
                .any(|(r, m)| r == reason && m.contains(message))
        };
        self.cluster.until(true, found).await;
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.cluster.context.now()
    }
}

impl Stage {
    /// A status with what differs from run to run replaced: times, and hashes by their version.
    async fn golden_status(&self) -> Value {
        let status = self.status().await;
        let mut text = serde_json::to_string(&status).unwrap();
        for set in self.cluster.list::<ReplicaSet>("default").await {
            let hash = &set.metadata.labels.as_ref().unwrap()[POD_TEMPLATE_HASH];
            text = text.replace(hash.as_str(), &format!("HASH-OF-{}", image(&set)));
        }
        let mut value: Value = serde_json::from_str(&text).unwrap();
        hide_times(&mut value);
        value["currentStepHash"] = json!("STEPS");
        value
    }

    /// Compares with the file in `tests/golden`; `UPDATE_GOLDEN=1` writes it.
    pub(crate) async fn is_golden(&self, name: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/rollouts")
            .join(format!("{name}.json"));
        let found = self.golden_status().await;
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = serde_json::to_string_pretty(&found).unwrap();
            std::fs::write(&path, text + "\n").unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(found, expected, "{}", path.display());
    }
}

fn hide_times(value: &mut Value) {
    match value {
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => *value = json!("TIME"),
        Value::Array(items) => items.iter_mut().for_each(hide_times),
        Value::Object(fields) => fields.values_mut().for_each(hide_times),
        _ => {}
    }
}

fn image(set: &ReplicaSet) -> String {
    let spec = set.spec.as_ref().unwrap().template.as_ref().unwrap();
    spec.spec.as_ref().unwrap().containers[0]
        .image
        .clone()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_version_skips_the_steps() {
    let stage = Stage::start(
        json!({"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}}),
        json!({}),
    )
    .await;
    let status = stage.status().await;
    assert_eq!(status.current_step_index, Some(2));
    assert_eq!(status.stable_rs, status.current_pod_hash);
    stage.has_pods(&[("shop:1", 3)]).await;
    stage
        .has_event("NewReplicaSetCreated", "(revision 1)")
        .await;
    stage
        .has_event("RolloutCompleted", "update to revision 1")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_canary_waits_at_an_indefinite_pause_until_it_is_promoted() {
    let steps = json!([{"setWeight": 34}, {"pause": {}}]);
    let stage = Stage::start(json!({"canary": {"steps": steps}}), json!({})).await;
    stage.set_image("shop:2").await;
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.has_pods(&[("shop:1", 2), ("shop:2", 1)]).await;
    stage
        .has_event(
            "RolloutStepCompleted",
            "Rollout step 1/2 completed (setWeight: 34)",
        )
        .await;
    stage.has_event("RolloutPaused", "CanaryPauseStep").await;
    // Longer than events are kept.
    let before = stage.now();
    tokio::time::sleep(std::time::Duration::from_secs(7200)).await;
    assert!(stage.now().duration_since(before).as_secs() >= 7200);
    stage.reaches("Paused", "CanaryPauseStep").await;
    stage.promote().await;
    stage.reaches("Healthy", "").await;
    stage.has_pods(&[("shop:2", 3)]).await;
    stage
        .has_event("RolloutStepCompleted", "Rollout step 2/2 completed (pause)")
        .await;
    stage.has_event("RolloutResumed", "").await;
}

mod analysis;
mod blue_green;
mod canary;
mod routed;
