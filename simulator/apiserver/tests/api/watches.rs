//! Watches: where they start, what they show, how they end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, CONFIGMAPS, PODS, config_map, labelled, pod};

fn brief(type_: &str, name: &str) -> (String, String) {
    (type_.to_owned(), name.to_owned())
}

fn revision_of(list: &Value) -> u64 {
    list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_list_loses_nothing_and_repeats_nothing() {
    let api = Api::new().await;
    api.created(CONFIGMAPS, &config_map("before")).await;
    let revision = revision_of(&api.get(CONFIGMAPS).await.body);
    api.created(CONFIGMAPS, &config_map("between")).await;
    let mut events = api
        .watch(&format!(
            "{CONFIGMAPS}?watch=true&resourceVersion={revision}"
        ))
        .await;
    api.merge(
        &format!("{CONFIGMAPS}/before"),
        &json!({"data": {"key": "new"}}),
    )
    .await;
    api.delete(&format!("{CONFIGMAPS}/between"), &json!({}))
        .await;
    assert_eq!(events.brief().await, brief("ADDED", "between"));
    assert_eq!(events.brief().await, brief("MODIFIED", "before"));
    let deleted = events.next().await.unwrap();
    assert_eq!(
        (&deleted["type"], &deleted["object"]["metadata"]["name"]),
        (&json!("DELETED"), &json!("between"))
    );
    assert_eq!(revision_of(&deleted["object"]), api.store.revision());
    events.silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_revision_begins_with_what_exists() {
    let api = Api::new().await;
    api.created(CONFIGMAPS, &config_map("a")).await;
    for query in [
        "watch=true",
        "watch=1&resourceVersion=0",
        "watch=true&fieldSelector=metadata.name%3Da",
    ] {
        let mut events = api.watch(&format!("{CONFIGMAPS}?{query}")).await;
        assert_eq!(events.brief().await, brief("ADDED", "a"), "{query}");
        events.silent().await;
    }
    // A single object can be watched by its own path, too.
    let mut events = api.watch(&format!("{CONFIGMAPS}/a?watch=true")).await;
    assert_eq!(events.brief().await, brief("ADDED", "a"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_list_ends_its_initial_events_with_a_bookmark() {
    let api = Api::new().await;
    api.created(CONFIGMAPS, &config_map("a")).await;
    let query = "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=300";
    let mut events = api.watch(&format!("{CONFIGMAPS}?{query}")).await;
    assert_eq!(events.brief().await, brief("ADDED", "a"));
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        (
            &bookmark["object"]["kind"],
            &bookmark["object"]["apiVersion"]
        ),
        (&json!("ConfigMap"), &json!("v1"))
    );
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(revision_of(&bookmark["object"]), api.store.revision());
    api.created(CONFIGMAPS, &config_map("b")).await;
    assert_eq!(events.brief().await, brief("ADDED", "b"));
}

#[tokio::test(start_paused = true)]
async fn initial_events_need_a_revision_match() {
    let api = Api::new().await;
    let answer = api
        .get(&format!("{CONFIGMAPS}?watch=true&sendInitialEvents=true"))
        .await;
    assert_eq!(
        (answer.code, &answer.body["reason"]),
        (422, &json!("Invalid"))
    );
    assert!(
        answer
            .text
            .contains("sendInitialEvents requires setting resourceVersionMatch")
    );
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_only_where_they_are_allowed() {
    let api = Api::new().await;
    let mut with = api
        .watch(&format!("{CONFIGMAPS}?watch=true&allowWatchBookmarks=true"))
        .await;
    let mut without = api.watch(&format!("{CONFIGMAPS}?watch=true")).await;
    // Something happens elsewhere, so that there is news to tell.
    api.created(PODS, &pod("web")).await;
    let bookmark = with.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(revision_of(&bookmark["object"]), api.store.revision());
    let quiet = tokio::time::timeout(Duration::from_secs(600), without.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_enters_or_leaves_a_selector_is_added_or_deleted() {
    let api = Api::new().await;
    let mut events = api
        .watch(&format!("{CONFIGMAPS}?watch=true&labelSelector=app%3Dweb"))
        .await;
    let one = format!("{CONFIGMAPS}/a");
    api.created(CONFIGMAPS, &labelled("a", "app", "api")).await;
    api.merge(&one, &json!({"metadata": {"labels": {"app": "web"}}}))
        .await;
    assert_eq!(events.brief().await, brief("ADDED", "a"));
    api.merge(&one, &json!({"data": {"key": "new"}})).await;
    assert_eq!(events.brief().await, brief("MODIFIED", "a"));
    api.merge(&one, &json!({"metadata": {"labels": {"app": "old"}}}))
        .await;
    let left = events.next().await.unwrap();
    assert_eq!(left["type"], "DELETED");
    // The last state that matched, at the revision of the change.
    assert_eq!(left["object"]["metadata"]["labels"]["app"], "web");
    assert_eq!(revision_of(&left["object"]), api.store.revision());
    api.delete(&one, &json!({})).await;
    events.silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_by_node_sees_a_pod_from_its_binding_on() {
    let api = Api::new().await;
    let mut events = api
        .watch("/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dnode-1")
        .await;
    for (name, node) in [("a", "node-2"), ("b", "node-1")] {
        api.created(PODS, &pod(name)).await;
        let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
        assert_eq!(
            api.post(&format!("{PODS}/{name}/binding"), &binding)
                .await
                .code,
            201
        );
    }
    assert_eq!(events.brief().await, brief("ADDED", "b"));
    events.silent().await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_one_namespace_sees_no_other() {
    let api = Api::new().await;
    let mut events = api.watch(&format!("{CONFIGMAPS}?watch=true")).await;
    api.created(
        "/api/v1/namespaces/kube-system/configmaps",
        &config_map("x"),
    )
    .await;
    api.created(CONFIGMAPS, &config_map("y")).await;
    assert_eq!(events.brief().await, brief("ADDED", "y"));
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_too_old_or_of_the_future_gets_one_error_event() {
    let api = Api::new().await;
    api.created(CONFIGMAPS, &config_map("a")).await;
    for number in 0..10_000 {
        let patch = json!({"data": {"key": number.to_string()}});
        let written = api.store.put(
            "configmaps",
            "default/a",
            lab_store::Precondition::None,
            move |_| bytes::Bytes::from(patch.to_string()),
        );
        written.await.unwrap();
    }
    for revision in [1, 99_999_999] {
        let uri = format!("{CONFIGMAPS}?watch=true&resourceVersion={revision}");
        let mut events = api.watch(&uri).await;
        let event = events.next().await.unwrap();
        assert_eq!(
            (
                &event["type"],
                &event["object"]["code"],
                &event["object"]["reason"]
            ),
            (&json!("ERROR"), &json!(410), &json!("Expired"))
        );
        let message = event["object"]["message"].as_str().unwrap();
        assert!(message.contains("too old resource version"), "{message}");
        assert_eq!(events.next().await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_falls_behind_ends_with_an_error_event() {
    let api = Api::new().await;
    let created = api.created(CONFIGMAPS, &config_map("a")).await;
    let mut events = api.watch(&format!("{CONFIGMAPS}?watch=true")).await;
    assert_eq!(events.brief().await, brief("ADDED", "a"));
    // More than is kept for an open watch, quickly reached with long objects.
    let long = bytes::Bytes::from(created.to_string() + &" ".repeat(1 << 20));
    for _ in 0..80 {
        let bytes = long.clone();
        let written = api.store.put(
            "configmaps",
            "default/a",
            lab_store::Precondition::None,
            move |_| bytes,
        );
        written.await.unwrap();
    }
    let mut last = Value::Null;
    while let Some(event) = events.next().await {
        last = event;
    }
    assert_eq!(
        (&last["type"], &last["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_after_its_timeout_and_when_the_server_stops() {
    let api = Api::new().await;
    let started = tokio::time::Instant::now();
    let mut events = api
        .watch(&format!("{CONFIGMAPS}?watch=true&timeoutSeconds=7"))
        .await;
    assert_eq!(events.next().await, None);
    assert_eq!(started.elapsed().as_secs(), 7);

    let mut long = api.watch(&format!("{CONFIGMAPS}?watch=true")).await;
    let open = tokio::time::timeout(Duration::from_secs(1700), long.next()).await;
    assert!(
        open.is_err(),
        "a watch without timeout lasts at least half an hour"
    );
    api.stop.cancel();
    assert_eq!(long.next().await, None);
}
