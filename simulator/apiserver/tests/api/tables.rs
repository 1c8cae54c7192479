//! What `kubectl get` reads.

use serde_json::{Value, json};

use crate::support::{Api, CONFIGMAPS, PODS, config_map, pod};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

fn column_names(table: &Value) -> Vec<&str> {
    let columns = table["columnDefinitions"].as_array().unwrap();
    columns
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_list_of_pods_becomes_rows_with_all_columns() {
    let api = Api::new().await;
    api.created(PODS, &pod("web")).await;
    let table = api.get_as(PODS, TABLE).await.body;
    assert_eq!(
        (&table["kind"], &table["apiVersion"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"))
    );
    assert!(table["metadata"]["resourceVersion"].is_string());
    assert_eq!(
        column_names(&table),
        [
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
            "IP",
            "Node",
            "Nominated Node",
            "Readiness Gates"
        ]
    );
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    let row = &table["rows"][0];
    assert_eq!(row["cells"][0], "web");
    assert_eq!(row["cells"].as_array().unwrap().len(), 9);
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(row["object"]["metadata"]["namespace"], "default");
}

#[tokio::test(start_paused = true)]
async fn rows_carry_as_much_of_the_object_as_asked() {
    let api = Api::new().await;
    api.created(CONFIGMAPS, &config_map("a")).await;
    let row = async |query: &str| {
        let uri = format!("{CONFIGMAPS}/a?includeObject={query}");
        api.get_as(&uri, TABLE).await.body["rows"][0].clone()
    };
    assert_eq!(row("Object").await["object"]["data"]["key"], "value");
    assert_eq!(row("Metadata").await["object"].get("data"), None);
    assert_eq!(row("None").await.get("object"), None);
    let old = "application/json;as=Table;v=v1beta1;g=meta.k8s.io";
    assert_eq!(
        api.get_as(CONFIGMAPS, old).await.body["apiVersion"],
        "meta.k8s.io/v1beta1"
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_an_empty_table() {
    let api = Api::new().await;
    let table = api
        .get_as("/api/v1/namespaces/nowhere/pods?limit=500", TABLE)
        .await;
    assert_eq!((table.code, &table.body["rows"]), (200, &json!([])));
}

#[tokio::test(start_paused = true)]
async fn a_watch_sends_each_event_as_a_table_of_one_row() {
    let api = Api::new().await;
    let list = api.get(CONFIGMAPS).await.body;
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    let uri = format!("{CONFIGMAPS}?watch=true&resourceVersion={revision}");
    let mut events = api.watch_as(&uri, TABLE).await;
    api.created(CONFIGMAPS, &config_map("a")).await;
    let event = events.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["kind"]),
        (&json!("ADDED"), &json!("Table"))
    );
    assert_eq!(event["object"]["rows"][0]["cells"][0], "a");
}
