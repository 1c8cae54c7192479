//! Discovery and OpenAPI, as kubectl reads them.

use serde_json::{Value, json};

use crate::support::Api;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

fn find<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let items = list.as_array().expect("a list");
    items
        .iter()
        .find(|item| item[key] == name)
        .unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[tokio::test(start_paused = true)]
async fn aggregated_discovery_names_its_content_type() {
    let api = Api::new().await;
    let core = api.get_as("/api?timeout=32s", AGGREGATED).await;
    assert_eq!(
        core.headers["content-type"],
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    assert_eq!(core.body["items"].as_array().unwrap().len(), 1);
    let pods = find(
        &core.body["items"][0]["versions"][0]["resources"],
        "resource",
        "pods",
    );
    assert_eq!(pods["shortNames"], json!(["po"]));
    assert_eq!(pods["scope"], "Namespaced");
    let eviction = find(&pods["subresources"], "subresource", "eviction");
    assert_eq!(
        eviction["responseKind"],
        json!({"group": "policy", "version": "v1", "kind": "Eviction"})
    );

    let groups = api.get_as("/apis", AGGREGATED).await.body;
    let apps = groups["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["metadata"]["name"] == "apps");
    let deployments = find(
        &apps.unwrap()["versions"][0]["resources"],
        "resource",
        "deployments",
    );
    assert_eq!(deployments["responseKind"]["kind"], "Deployment");
    assert_eq!(
        find(&deployments["subresources"], "subresource", "scale")["responseKind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
    );
}

#[tokio::test(start_paused = true)]
async fn the_older_lists_are_there_too() {
    let api = Api::new().await;
    assert_eq!(api.get("/api").await.body["versions"], json!(["v1"]));
    let groups = api.get("/apis").await.body;
    assert_eq!(
        find(&groups["groups"], "name", "apps")["preferredVersion"]["groupVersion"],
        "apps/v1"
    );
    assert_eq!(api.get("/apis/apps").await.body["kind"], "APIGroup");
    let core = api.get("/api/v1").await.body;
    // Without this entry kubectl drain deletes pods instead of evicting them.
    let eviction = find(&core["resources"], "name", "pods/eviction");
    assert_eq!(
        (&eviction["group"], &eviction["version"]),
        (&json!("policy"), &json!("v1"))
    );
    let apps = api.get("/apis/apps/v1").await.body;
    assert_eq!(apps["groupVersion"], "apps/v1");
    assert_eq!(
        find(&apps["resources"], "name", "deployments")["kind"],
        "Deployment"
    );
    for missing in ["/apis/nothing", "/apis/nothing/v1", "/apis/apps/v9"] {
        assert_eq!(
            api.get(missing).await.body["reason"],
            "NotFound",
            "{missing}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn openapi_leaves_validation_to_the_server() {
    let api = Api::new().await;
    let index = api.get("/openapi/v3").await.body;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let document = api.get(url).await;
    let patch =
        &document.body["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["parameters"][0]["name"], "fieldValidation");
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    assert_eq!(patch.get("requestBody"), None);
    assert_eq!(document.headers["expires"], "Fri, 01 Jan 2027 00:00:00 GMT");

    let tag = document.headers["etag"].to_str().unwrap();
    let again = http::Request::get(url).header("if-none-match", tag);
    let again = api
        .send(again.body(axum::body::Body::empty()).unwrap())
        .await;
    assert_eq!((again.code, again.text.as_str()), (304, ""));

    let old = api.get("/openapi/v2").await;
    assert_eq!((old.code, old.text.as_str()), (200, ""));
    assert!(
        old.headers["content-type"]
            .to_str()
            .unwrap()
            .ends_with("v2.v1.0+protobuf")
    );
    assert_eq!(api.get("/openapi/v3/apis/nothing/v1").await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn version_and_health_answer() {
    let api = Api::new().await;
    let version = api.get("/version?timeout=32s").await.body;
    assert_eq!(
        (&version["major"], &version["minor"]),
        (&json!("1"), &json!("36"))
    );
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(api.get(path).await.text, "ok");
    }
    assert_eq!(api.post("/version", &json!({})).await.body["code"], 405);
}
