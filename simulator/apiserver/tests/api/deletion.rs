//! Deletion: at once, after a grace period, or once finalizers are gone.

use serde_json::{Value, json};

use crate::support::{
    Api, CONFIGMAPS, DEPLOYMENTS, PODS, config_map, deployment, labelled, names, pod,
};

async fn placed_pod(api: &Api, name: &str) -> Value {
    let mut body = pod(name);
    body["spec"]["nodeName"] = json!("node-1");
    api.created(PODS, &body).await
}

#[tokio::test(start_paused = true)]
async fn an_object_that_nothing_holds_goes_at_once() {
    let api = Api::new().await;
    let created = api.created(DEPLOYMENTS, &deployment("web")).await;
    let options = json!({"propagationPolicy": "Background"});
    let answer = api.delete(&format!("{DEPLOYMENTS}/web"), &options).await;
    assert_eq!(answer.code, 200);
    assert_eq!(
        (&answer.body["kind"], &answer.body["status"]),
        (&json!("Status"), &json!("Success"))
    );
    assert_eq!(
        answer.body["details"],
        json!({"name": "web", "group": "apps", "kind": "deployments", "uid": created["metadata"]["uid"]})
    );
    assert_eq!(api.get(&format!("{DEPLOYMENTS}/web")).await.code, 404);
    assert_eq!(
        api.delete(&format!("{DEPLOYMENTS}/web"), &json!({}))
            .await
            .code,
        404
    );
}

#[tokio::test(start_paused = true)]
async fn a_running_pod_gets_its_grace_period() {
    let api = Api::new().await;
    placed_pod(&api, "web").await;
    let one = format!("{PODS}/web");
    let answer = api.delete(&one, &json!({"gracePeriodSeconds": 20})).await;
    let metadata = &answer.body["metadata"];
    assert_eq!((answer.code, &answer.body["kind"]), (200, &json!("Pod")));
    // The timestamp is the end of the grace period.
    assert_eq!(metadata["deletionTimestamp"], "2026-01-01T00:00:20Z");
    assert_eq!(metadata["deletionGracePeriodSeconds"], 20);
    assert_eq!(metadata["generation"], 2);

    // Asking again changes nothing, asking for less brings the end forward.
    let again = api.delete(&one, &json!({})).await.body;
    assert_eq!(again["metadata"], *metadata);
    let sooner = api
        .delete(&one, &json!({"gracePeriodSeconds": 5}))
        .await
        .body;
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);

    // The node agent reports that the containers have stopped.
    assert_eq!(
        api.delete(&one, &json!({"gracePeriodSeconds": 0}))
            .await
            .code,
        200
    );
    assert_eq!(api.get(&one).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_ran_goes_at_once() {
    let api = Api::new().await;
    api.created(PODS, &pod("web")).await;
    assert_eq!(
        api.delete(&format!("{PODS}/web"), &json!({})).await.code,
        200
    );
    assert_eq!(api.get(&format!("{PODS}/web")).await.code, 404);
    placed_pod(&api, "forced").await;
    let query = format!("{PODS}/forced?gracePeriodSeconds=0");
    assert_eq!(api.delete(&query, &json!({})).await.code, 200);
    assert_eq!(api.get(&format!("{PODS}/forced")).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn finalizers_hold_an_object_until_the_last_is_removed() {
    let api = Api::new().await;
    let mut body = config_map("a");
    body["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
    api.created(CONFIGMAPS, &body).await;
    let one = format!("{CONFIGMAPS}/a");
    let marked = api.delete(&one, &json!({})).await.body;
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let fewer = json!({"metadata": {"finalizers": ["example.com/b"]}});
    assert_eq!(api.merge(&one, &fewer).await.code, 200);
    let more = json!({"metadata": {"finalizers": ["example.com/b", "example.com/c"]}});
    assert_eq!(api.merge(&one, &more).await.code, 422);
    let mut events = api
        .watch(&format!(
            "{CONFIGMAPS}?watch=true&fieldSelector=metadata.name%3Da"
        ))
        .await;
    events.brief().await;
    assert_eq!(
        api.merge(&one, &json!({"metadata": {"finalizers": null}}))
            .await
            .code,
        200
    );
    assert_eq!(events.brief().await.0, "DELETED");
    assert_eq!(api.get(&one).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn the_fate_of_dependents_becomes_a_finalizer() {
    let cases = [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")];
    for (policy, finalizer) in cases {
        let api = Api::new().await;
        api.created(DEPLOYMENTS, &deployment("web")).await;
        let options = json!({"propagationPolicy": policy});
        let marked = api
            .delete(&format!("{DEPLOYMENTS}/web"), &options)
            .await
            .body;
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
        assert!(marked["metadata"]["deletionTimestamp"].is_string());
    }
    let api = Api::new().await;
    api.created(DEPLOYMENTS, &deployment("web")).await;
    let odd = api
        .delete(
            &format!("{DEPLOYMENTS}/web"),
            &json!({"propagationPolicy": "Sideways"}),
        )
        .await;
    assert_eq!(odd.code, 400);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_waits_until_it_is_finalized() {
    let api = Api::new().await;
    let namespaces = "/api/v1/namespaces";
    let created = api
        .created(namespaces, &json!({"metadata": {"name": "lab"}}))
        .await;
    assert_eq!(created["status"]["phase"], "Active");
    assert_eq!(created["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(
        created["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "lab"
    );
    let one = format!("{namespaces}/lab");
    let mut leaving = api.delete(&one, &json!({})).await.body;
    assert_eq!(leaving["status"]["phase"], "Terminating");
    assert_eq!(api.get(&one).await.code, 200);
    leaving["spec"]["finalizers"] = json!([]);
    assert_eq!(
        api.put(&format!("{one}/finalize"), &leaving).await.code,
        200
    );
    assert_eq!(api.get(&one).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn preconditions_protect_a_successor() {
    let api = Api::new().await;
    let created = api.created(CONFIGMAPS, &config_map("a")).await;
    let one = format!("{CONFIGMAPS}/a");
    for preconditions in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        let answer = api
            .delete(&one, &json!({"preconditions": preconditions}))
            .await;
        assert_eq!(
            (answer.code, &answer.body["reason"]),
            (409, &json!("Conflict"))
        );
    }
    let right = json!({"preconditions": {"uid": created["metadata"]["uid"]}});
    assert_eq!(api.delete(&one, &right).await.code, 200);
}

#[tokio::test(start_paused = true)]
async fn a_collection_is_deleted_by_selector() {
    let api = Api::new().await;
    api.created(CONFIGMAPS, &labelled("a", "app", "web")).await;
    api.created(CONFIGMAPS, &labelled("b", "app", "api")).await;
    let answer = api
        .delete(&format!("{CONFIGMAPS}?labelSelector=app%3Dweb"), &json!({}))
        .await;
    assert_eq!(
        (answer.code, names(&answer.body)),
        (200, vec!["a".to_owned()])
    );
    assert_eq!(names(&api.get(CONFIGMAPS).await.body), ["b"]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_service_gives_its_address_back() {
    let api = Api::new().await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str| {
        json!({
            "metadata": {"name": name},
            "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}], "clusterIP": "10.96.0.50"},
        })
    };
    api.created(services, &service("a")).await;
    let taken = api.post(services, &service("b")).await;
    assert_eq!(taken.code, 422, "{}", taken.text);
    api.delete(&format!("{services}/a"), &json!({})).await;
    api.created(services, &service("b")).await;
}
