//! The recipes in `fixtures/rollouts`, each applied as it is and carried through an update.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use lab_testkit::http::{ScriptedHttp, text, vector};
use lab_testkit::test_cluster::TestCluster;
use serde_json::{Value, json};

/// A greeting, as the app answers it.
const GREETING: &str = "{\"message\": \"Hello, Hook!\", \"version\": \"2.0.1\"}";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rollouts")
}

fn documents(recipe: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder().join(format!("{recipe}.yaml"))).unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

async fn apply(cluster: &TestCluster, recipe: &str) {
    for document in documents(recipe) {
        let object: DynamicObject = serde_json::from_value(document).unwrap();
        let gvk = GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
        let resource = ApiResource::from_gvk(&gvk);
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.client.clone(), "default", &resource);
        let strict = PostParams::default();
        let created = api.create(&strict, &object).await;
        created.unwrap_or_else(|error| panic!("{recipe}: {} is refused: {error}", gvk.kind));
    }
}

fn rollouts(cluster: &TestCluster) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout");
    let resource = ApiResource::from_gvk(&gvk);
    Api::namespaced_with(cluster.client.clone(), "default", &resource)
}

/// Waits until the Rollout is Healthy with this image everywhere.
async fn healthy(cluster: &TestCluster, recipe: &str) {
    let look = async || {
        let rollout = rollouts(cluster).get("hello").await.unwrap();
        let generation = rollout.metadata.generation.unwrap_or_default().to_string();
        let status = rollout.data["status"].clone();
        let observed = status["observedGeneration"] == generation.as_str();
        (observed, status)
    };
    cluster
        .eventually(&format!("{recipe} is healthy"), async || {
            let (observed, status) = look().await;
            assert_ne!(
                (observed, status["phase"].as_str()),
                (true, Some("Degraded")),
                "{recipe}: {status}"
            );
            observed && status["phase"] == "Healthy"
        })
        .await;
}

/// Applies a recipe, brings a new version, and says how long that took.
async fn carried_through(recipe: &str) -> Duration {
    let http = ScriptedHttp::new();
    http.answer("name=Hook", [text(200, GREETING)]);
    http.answer("/api/v1/query", [vector(&[])]);
    let cluster = TestCluster::start_with(3, 1, http).await;
    apply(&cluster, recipe).await;
    healthy(&cluster, recipe).await;
    let began = tokio::time::Instant::now();
    let path = "/spec/template/spec/containers/0/image";
    let patch = json!([{"op": "replace", "path": path, "value": "localhost:5001/hello:2.0.1"}]);
    let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
    let params = PatchParams::default();
    rollouts(&cluster)
        .patch("hello", &params, &patch)
        .await
        .unwrap();
    healthy(&cluster, recipe).await;
    began.elapsed()
}

/// A pause is counted from a whole second, so that each of them, up to nine, may end a second early.
#[track_caller]
fn took(recipe: &str, elapsed: Duration, minutes: u64) {
    let expected = (minutes * 60).saturating_sub(10)..minutes * 60 + 60;
    assert!(
        expected.contains(&elapsed.as_secs()),
        "{recipe} took {elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_canaries_wait_as_long_as_they_say() {
    for (recipe, minutes) in [
        ("all-at-once", 0),
        ("canary-10-percent-5-minutes", 5),
        ("canary-10-percent-15-minutes", 15),
        ("linear-10-percent-every-1-minute", 9),
        ("linear-10-percent-every-3-minutes", 27),
        ("canary-alarms", 10),
    ] {
        took(recipe, carried_through(recipe).await, minutes);
    }
}

#[tokio::test(start_paused = true)]
async fn blue_green_asks_its_hooks_before_and_after() {
    let elapsed = carried_through("blue-green-hooks").await;
    // Three greetings before, three after, and four looks at the errors.
    assert!((90..300).contains(&elapsed.as_secs()), "{elapsed:?}");
}

/// A recipe that nobody lists here is a recipe that nobody has tried.
#[test]
fn every_recipe_is_tried_and_documented() {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let mut recipes: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    recipes.sort_unstable();
    assert_eq!(
        recipes,
        [
            "all-at-once.yaml",
            "blue-green-hooks.yaml",
            "canary-10-percent-15-minutes.yaml",
            "canary-10-percent-5-minutes.yaml",
            "canary-alarms.yaml",
            "linear-10-percent-every-1-minute.yaml",
            "linear-10-percent-every-3-minutes.yaml",
        ]
    );
    for recipe in &recipes {
        assert!(readme.contains(&format!("`{recipe}`")), "{recipe}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_keeps_users_on_the_old_version() {
    let http = ScriptedHttp::new();
    http.answer("name=Hook", [text(200, GREETING)]);
    http.answer("/api/v1/query", [vector(&[])]);
    let cluster = TestCluster::start_with(3, 1, http.clone()).await;
    apply(&cluster, "blue-green-hooks").await;
    healthy(&cluster, "blue-green-hooks").await;
    http.answer("name=Hook", [text(500, "broken")]);
    let image = json!([{"name": "hello", "image": "localhost:5001/hello:2.0.0"}]);
    let body = json!({"spec": {"template": {"spec": {"containers": image}}}});
    let params = PatchParams::default();
    let patch = Patch::Merge(&body);
    rollouts(&cluster)
        .patch("hello", &params, &patch)
        .await
        .unwrap();
    cluster
        .eventually("the rollout is aborted", async || {
            let rollout = rollouts(&cluster).get("hello").await.unwrap();
            let status = &rollout.data["status"];
            status["abort"] == true && status["phase"] == "Degraded"
        })
        .await;
    let rollout = rollouts(&cluster).get("hello").await.unwrap();
    let status = &rollout.data["status"];
    assert_eq!(status["blueGreen"]["activeSelector"], status["stableRS"]);
}
