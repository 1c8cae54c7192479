//! A kind that is served in several versions: ReferenceGrant, `v1` and `v1beta1`. One object is
//! seen in both, each time as whoever asks calls it.

use serde_json::{Value, json};

use crate::support::Api;

const NEW: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/referencegrants";
const OLD: &str = "/apis/gateway.networking.k8s.io/v1beta1/namespaces/default/referencegrants";
const NEW_VERSION: &str = "gateway.networking.k8s.io/v1";
const OLD_VERSION: &str = "gateway.networking.k8s.io/v1beta1";

fn grant(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": version, "kind": "ReferenceGrant", "metadata": {"name": name},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "web"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    })
}

#[tokio::test(start_paused = true)]
async fn an_object_written_in_one_version_is_read_in_the_other() {
    let api = Api::new().await;
    let old = api.created(OLD, &grant("old", OLD_VERSION)).await;
    let new = api.created(NEW, &grant("new", NEW_VERSION)).await;
    assert_eq!(old["apiVersion"], OLD_VERSION);
    assert_eq!(new["apiVersion"], NEW_VERSION);
    for (uri, version) in [(OLD, OLD_VERSION), (NEW, NEW_VERSION)] {
        let list = api.get(uri).await.body;
        assert_eq!(list["apiVersion"], version);
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 2, "{list}");
        assert!(items.iter().all(|item| item["apiVersion"] == version));
        for (name, written) in [("old", &old), ("new", &new)] {
            let read = api.get(&format!("{uri}/{name}")).await.body;
            assert_eq!(read["apiVersion"], version);
            assert_eq!(read["metadata"], written["metadata"]);
            assert_eq!(read["spec"], written["spec"]);
        }
    }
    let again = api.post(NEW, &grant("old", NEW_VERSION)).await;
    assert_eq!(again.code, 409, "{}", again.text);
}

#[tokio::test(start_paused = true)]
async fn a_watch_sees_what_is_written_in_either_version() {
    let api = Api::new().await;
    let mut events = api.watch(&format!("{NEW}?watch=true")).await;
    api.created(OLD, &grant("a", OLD_VERSION)).await;
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "ADDED");
    assert_eq!(event["object"]["apiVersion"], NEW_VERSION);
    api.delete(&format!("{OLD}/a"), &json!({})).await;
    let event = events.next().await.unwrap();
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["apiVersion"], NEW_VERSION);
}

#[tokio::test(start_paused = true)]
async fn changes_in_either_version_are_changes_of_the_same_object() {
    let api = Api::new().await;
    api.created(OLD, &grant("a", OLD_VERSION)).await;
    let uri = format!("{NEW}/a");
    let labels = json!({"metadata": {"labels": {"by": "merge"}}});
    let merged = api.merge(&uri, &labels).await;
    assert_eq!(
        (merged.code, &merged.body["apiVersion"]),
        (200, &json!(NEW_VERSION))
    );
    let add = json!([{"op": "add", "path": "/metadata/labels/json", "value": "patch"}]);
    let patched = api
        .call(
            "PATCH",
            &format!("{OLD}/a"),
            "application/json-patch+json",
            &add,
        )
        .await;
    assert_eq!(patched.code, 200, "{}", patched.text);
    assert_eq!(patched.body["apiVersion"], OLD_VERSION);
    let applied = api
        .call(
            "PATCH",
            &format!("{uri}?fieldManager=me"),
            "application/apply-patch+yaml",
            &grant("a", NEW_VERSION),
        )
        .await;
    assert_eq!(applied.code, 200, "{}", applied.text);
    let mut whole = api.get(&uri).await.body;
    assert_eq!(
        whole["metadata"]["labels"],
        json!({"by": "merge", "json": "patch"})
    );
    let before = whole["metadata"]["resourceVersion"].clone();
    let same = api.put(&uri, &whole).await;
    assert_eq!(same.code, 200, "{}", same.text);
    assert_eq!(
        same.body["metadata"]["resourceVersion"], before,
        "nothing changed"
    );
    whole["apiVersion"] = OLD_VERSION.into();
    let mixed = api.put(&uri, &whole).await;
    assert_eq!(mixed.code, 400, "{}", mixed.text);
    assert_eq!(api.delete(&uri, &json!({})).await.code, 200);
    assert_eq!(api.get(&format!("{OLD}/a")).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn both_versions_are_found_and_the_newer_one_is_preferred() {
    let api = Api::new().await;
    let group = api.get("/apis/gateway.networking.k8s.io").await.body;
    assert_eq!(group["preferredVersion"]["version"], "v1");
    for version in ["v1", "v1beta1"] {
        let found = api
            .get(&format!("/apis/gateway.networking.k8s.io/{version}"))
            .await
            .body;
        let resources = found["resources"].as_array().unwrap();
        let is_grant = |resource: &&Value| resource["name"] == "referencegrants";
        let grant = resources.iter().find(is_grant).unwrap();
        assert_eq!(grant["shortNames"], json!(["refgrant"]), "{version}");
        assert_eq!(resources.len() == 1, version == "v1beta1");
    }
}
