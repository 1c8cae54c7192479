//! The four patch formats, through the API.

use serde_json::{Value, json};

use crate::support::{Api, CONFIGMAPS, DEPLOYMENTS, config_map, deployment};

const JSON_PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

#[tokio::test(start_paused = true)]
async fn kubectl_set_image_changes_one_container() {
    let api = Api::new().await;
    api.created(DEPLOYMENTS, &deployment("web")).await;
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "web"}],
        "containers": [{"name": "web", "image": "hello:2"}],
    }}}});
    let patched = api.strategic(&format!("{DEPLOYMENTS}/web"), &patch).await;
    assert_eq!(patched.code, 200, "{}", patched.text);
    let containers = &patched.body["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().unwrap().len(), 1);
    assert_eq!(containers[0]["image"], "hello:2");
    assert_eq!(patched.body["metadata"]["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_merge_patch_removes_by_null_and_replaces_lists() {
    let api = Api::new().await;
    let mut body = config_map("a");
    body["metadata"]["labels"] = json!({"x": "1", "y": "2"});
    api.created(CONFIGMAPS, &body).await;
    let patch = json!({"metadata": {"labels": {"x": null}}, "data": {"more": "v"}});
    let patched = api.merge(&format!("{CONFIGMAPS}/a"), &patch).await.body;
    assert_eq!(patched["metadata"]["labels"], json!({"y": "2"}));
    assert_eq!(patched["data"], json!({"key": "value", "more": "v"}));
}

#[tokio::test(start_paused = true)]
async fn a_json_patch_is_all_or_nothing() {
    let api = Api::new().await;
    api.created(CONFIGMAPS, &config_map("a")).await;
    let one = format!("{CONFIGMAPS}/a");
    let good = json!([
        {"op": "test", "path": "/data/key", "value": "value"},
        {"op": "replace", "path": "/data/key", "value": "new"},
    ]);
    let patched = api.call("PATCH", &one, JSON_PATCH, &good).await;
    assert_eq!(
        (patched.code, &patched.body["data"]["key"]),
        (200, &json!("new"))
    );
    let revision = api.store.revision();
    let failing = json!([
        {"op": "add", "path": "/data/other", "value": "x"},
        {"op": "test", "path": "/data/key", "value": "wrong"},
    ]);
    let refused = api.call("PATCH", &one, JSON_PATCH, &failing).await;
    assert_eq!(
        (refused.code, &refused.body["reason"]),
        (422, &json!("Invalid"))
    );
    assert_eq!(api.store.revision(), revision);
    let malformed = api
        .call("PATCH", &one, JSON_PATCH, &json!({"op": "add"}))
        .await;
    assert_eq!(malformed.code, 400);
}

#[tokio::test(start_paused = true)]
async fn a_resource_version_in_a_patch_is_a_precondition() {
    let api = Api::new().await;
    let created = api.created(CONFIGMAPS, &config_map("a")).await;
    let one = format!("{CONFIGMAPS}/a");
    let patch =
        |revision: &Value| json!({"metadata": {"resourceVersion": revision}, "data": {"k": "v"}});
    assert_eq!(api.merge(&one, &patch(&json!("1"))).await.code, 409);
    let now = &created["metadata"]["resourceVersion"];
    assert_eq!(api.merge(&one, &patch(now)).await.code, 200);
    assert_eq!(api.merge(&one, &patch(now)).await.code, 409);
}

#[tokio::test(start_paused = true)]
async fn an_apply_creates_then_changes_then_rests() {
    let api = Api::new().await;
    let one = format!("{DEPLOYMENTS}/web?fieldManager=lab&force=true");
    let first = api.call("PATCH", &one, APPLY, &deployment("web")).await;
    assert_eq!(first.code, 201, "{}", first.text);
    let again = api.call("PATCH", &one, APPLY, &deployment("web")).await;
    assert_eq!(again.code, 200);
    assert_eq!(
        again.body["metadata"]["resourceVersion"],
        first.body["metadata"]["resourceVersion"]
    );
    let mut changed = deployment("web");
    changed["spec"]["replicas"] = json!(5);
    let changed = api.call("PATCH", &one, APPLY, &changed).await.body;
    assert_eq!(changed["spec"]["replicas"], 5);
    let managers = changed["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(managers.len(), 1);
    assert_eq!(
        (&managers[0]["manager"], &managers[0]["operation"]),
        (&json!("lab"), &json!("Apply"))
    );
    let nobody = api
        .call(
            "PATCH",
            &format!("{DEPLOYMENTS}/web"),
            APPLY,
            &deployment("web"),
        )
        .await;
    assert_eq!(nobody.code, 400);
}

#[tokio::test(start_paused = true)]
async fn formats_that_a_kind_does_not_have_are_named() {
    let api = Api::new().await;
    api.created(CONFIGMAPS, &config_map("a")).await;
    let answer = api
        .call(
            "PATCH",
            &format!("{CONFIGMAPS}/a"),
            "application/json",
            &json!({}),
        )
        .await;
    assert_eq!(answer.code, 415);
    assert!(
        answer
            .text
            .contains("application/strategic-merge-patch+json"),
        "{}",
        answer.text
    );
    // The Gateway API is made of custom resources in a real cluster.
    let gateways = "/apis/gateway.networking.k8s.io/v1/gatewayclasses";
    let class = json!({"metadata": {"name": "c"}, "spec": {"controllerName": "example.com/x"}});
    api.created(gateways, &class).await;
    let answer = api.strategic(&format!("{gateways}/c"), &json!({})).await;
    assert_eq!(answer.code, 415);
    assert_eq!(
        api.merge(&format!("{gateways}/c"), &json!({})).await.code,
        200
    );
}

#[tokio::test(start_paused = true)]
async fn a_patch_of_status_leaves_the_spec_alone() {
    let api = Api::new().await;
    api.created(DEPLOYMENTS, &deployment("web")).await;
    let patch = json!({"spec": {"replicas": 9}, "status": {"readyReplicas": 1, "replicas": 1}});
    let patched = api
        .strategic(&format!("{DEPLOYMENTS}/web/status"), &patch)
        .await
        .body;
    assert_eq!(
        (
            &patched["spec"]["replicas"],
            &patched["status"]["readyReplicas"]
        ),
        (&json!(3), &json!(1))
    );
}
