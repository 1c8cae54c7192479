//! Lists: selectors, pages, revisions, forms.

use serde_json::{Value, json};

use crate::support::{Api, CONFIGMAPS, PODS, config_map, labelled, names, pod};

async fn three() -> Api {
    let api = Api::new().await;
    api.created(CONFIGMAPS, &labelled("a", "app", "web")).await;
    api.created(CONFIGMAPS, &labelled("b", "app", "api")).await;
    api.created(
        "/api/v1/namespaces/kube-system/configmaps",
        &labelled("c", "app", "web"),
    )
    .await;
    api
}

#[tokio::test(start_paused = true)]
async fn selectors_choose_what_a_list_shows() {
    let api = three().await;
    let cases: [(&str, &[&str]); 10] = [
        (CONFIGMAPS, &["a", "b"]),
        ("/api/v1/configmaps", &["a", "b", "c"]),
        ("/api/v1/namespaces/nowhere/configmaps", &[]),
        ("/api/v1/configmaps?labelSelector=app%3Dweb", &["a", "c"]),
        (
            "/api/v1/configmaps?labelSelector=app+in+%28api%2Cx%29",
            &["b"],
        ),
        ("/api/v1/configmaps?fieldSelector=metadata.name%3Dc", &["c"]),
        (
            "/api/v1/configmaps?fieldSelector=metadata.namespace%21%3Ddefault",
            &["c"],
        ),
        (
            "/api/v1/namespaces/default/configmaps?fieldSelector=metadata.name%3Da",
            &["a"],
        ),
        (
            "/api/v1/namespaces/default/configmaps?fieldSelector=metadata.name%3Dc",
            &[],
        ),
        (
            "/api/v1/configmaps?limit=500&resourceVersion=0",
            &["a", "b", "c"],
        ),
    ];
    for (uri, expected) in cases {
        let answer = api.get(uri).await;
        assert_eq!(answer.code, 200, "{uri}");
        assert_eq!(answer.body["kind"], "ConfigMapList");
        assert_eq!(names(&answer.body), expected, "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn pods_can_be_selected_by_node_and_phase() {
    let api = Api::new().await;
    api.created(PODS, &pod("waiting")).await;
    let mut placed = pod("placed");
    placed["spec"]["nodeName"] = json!("node-1");
    api.created(PODS, &placed).await;
    let cases: [(&str, &[&str]); 5] = [
        ("spec.nodeName%3Dnode-1", &["placed"]),
        ("spec.nodeName%3D", &["waiting"]),
        (
            "spec.nodeName%3Dnode-1%2Cstatus.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed",
            &["placed"],
        ),
        ("status.phase%3DRunning", &[]),
        ("spec.hostNetwork%3Dfalse", &["placed", "waiting"]),
    ];
    for (selector, expected) in cases {
        let answer = api
            .get(&format!("/api/v1/pods?fieldSelector={selector}"))
            .await;
        assert_eq!(names(&answer.body), expected, "{selector}");
    }
    let unknown = api.get("/api/v1/pods?fieldSelector=spec.bogus%3Dx").await;
    assert_eq!(unknown.code, 400);
    assert!(
        unknown
            .text
            .contains("field label not supported: spec.bogus"),
        "{}",
        unknown.text
    );
}

#[tokio::test(start_paused = true)]
async fn pages_cover_the_whole_list_once() {
    let api = Api::new().await;
    for number in 0..7 {
        api.created(CONFIGMAPS, &labelled(&format!("c{number}"), "app", "web"))
            .await;
    }
    for selector in ["", "&labelSelector=app%3Dweb"] {
        let mut seen = Vec::new();
        let mut revisions = Vec::new();
        let mut next = String::new();
        loop {
            let uri = format!("{CONFIGMAPS}?limit=3{selector}&continue={next}");
            let page = api.get(&uri).await.body;
            assert!(names(&page).len() <= 3);
            seen.extend(names(&page));
            revisions.push(page["metadata"]["resourceVersion"].clone());
            // A change between pages must not hide behind the revision of a later page.
            api.created(CONFIGMAPS, &json!({"metadata": {"generateName": "0-"}}))
                .await;
            match page["metadata"]["continue"].as_str() {
                Some(token) => next = token.to_owned(),
                None => break,
            }
        }
        assert_eq!(
            seen.iter().filter(|name| name.starts_with('c')).count(),
            7,
            "{seen:?}"
        );
        assert!(revisions.iter().all(|revision| *revision == revisions[0]));
    }
    let first = api.get(&format!("{CONFIGMAPS}?limit=2")).await.body;
    assert!(first["metadata"]["remainingItemCount"].as_i64().unwrap() > 0);
    assert_eq!(
        api.get(&format!("{CONFIGMAPS}?continue=nonsense!"))
            .await
            .code,
        400
    );
}

#[tokio::test(start_paused = true)]
async fn revisions_that_cannot_be_served_are_refused() {
    let api = three().await;
    let current = api.store.revision();
    let exact = format!("{CONFIGMAPS}?resourceVersionMatch=Exact&resourceVersion={current}");
    assert_eq!(api.get(&exact).await.code, 200);
    let cases = [
        ("resourceVersion=999999", 504, "Timeout"),
        (
            "resourceVersion=1&resourceVersionMatch=Exact",
            410,
            "Expired",
        ),
        ("resourceVersionMatch=Exact", 422, "Invalid"),
        ("resourceVersion=x", 400, "BadRequest"),
    ];
    for (query, code, reason) in cases {
        let answer = api.get(&format!("{CONFIGMAPS}?{query}")).await;
        assert_eq!(
            (answer.code, &answer.body["reason"]),
            (code, &json!(reason)),
            "{query}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_longer_than_one_piece_is_complete() {
    let api = Api::new().await;
    let mut body = config_map("x");
    body["data"]["key"] = json!("y".repeat(100_000));
    for number in 0..9 {
        body["metadata"]["name"] = json!(format!("big-{number}"));
        api.created(CONFIGMAPS, &body).await;
    }
    let list = api.get(CONFIGMAPS).await;
    assert_eq!(names(&list.body).len(), 9);
    assert!(list.text.len() > 900_000);
}

#[tokio::test(start_paused = true)]
async fn metadata_alone_can_be_asked_for() {
    let api = three().await;
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = api.get_as(CONFIGMAPS, accept).await.body;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    let items: Vec<&Value> = list["items"].as_array().unwrap().iter().collect();
    assert_eq!(items[0]["kind"], "PartialObjectMetadata");
    assert_eq!(items[0].get("data"), None);
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let one = api.get_as(&format!("{CONFIGMAPS}/a"), accept).await.body;
    assert_eq!(
        (&one["kind"], &one["metadata"]["name"]),
        (&json!("PartialObjectMetadata"), &json!("a"))
    );
}
