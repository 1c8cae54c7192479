//! Scale, binding, eviction, log, and what is refused by name.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use lab_apiserver::{LogRequest, NodeConnection, NodeConnectionError};
use serde_json::json;

use crate::support::{Api, DEPLOYMENTS, PODS, deployment, pod};

#[tokio::test(start_paused = true)]
async fn scale_reads_and_writes_the_replica_count() {
    let api = Api::new().await;
    let created = api.created(DEPLOYMENTS, &deployment("web")).await;
    let uri = format!("{DEPLOYMENTS}/web/scale");
    let scale = api.get(&uri).await.body;
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"]),
        (&json!("Scale"), &json!("autoscaling/v1"))
    );
    assert_eq!(scale["spec"]["replicas"], 3);
    assert_eq!(scale["status"]["selector"], "app=web");
    assert_eq!(scale["metadata"]["uid"], created["metadata"]["uid"]);

    let patched = api.merge(&uri, &json!({"spec": {"replicas": 5}})).await;
    assert_eq!(
        (patched.code, &patched.body["spec"]["replicas"]),
        (200, &json!(5))
    );
    let object = api.get(&format!("{DEPLOYMENTS}/web")).await.body;
    assert_eq!(
        (
            &object["spec"]["replicas"],
            &object["metadata"]["generation"]
        ),
        (&json!(5), &json!(2))
    );

    // The Scale's resourceVersion is a precondition.
    let mut stale = scale.clone();
    stale["spec"]["replicas"] = json!(1);
    assert_eq!(api.put(&uri, &stale).await.code, 409);
    stale["metadata"]["resourceVersion"] = patched.body["metadata"]["resourceVersion"].clone();
    assert_eq!(api.put(&uri, &stale).await.code, 200);

    let negative = api.merge(&uri, &json!({"spec": {"replicas": -1}})).await;
    assert_eq!(negative.code, 422);
    assert_eq!(
        negative.body["message"],
        "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
    assert_eq!(
        api.get("/api/v1/namespaces/default/configmaps/a/scale")
            .await
            .code,
        404
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_bound_once() {
    let api = Api::new().await;
    api.created(PODS, &pod("web")).await;
    let uri = format!("{PODS}/web/binding");
    let binding = |node: &str| {
        json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        })
    };
    assert_eq!(api.post(&uri, &binding("node-1")).await.code, 201);
    let bound = api.get(&format!("{PODS}/web")).await.body;
    assert_eq!(bound["spec"]["nodeName"], "node-1");
    let scheduled = &bound["status"]["conditions"][0];
    assert_eq!(
        (&scheduled["type"], &scheduled["status"]),
        (&json!("PodScheduled"), &json!("True"))
    );
    let again = api.post(&uri, &binding("node-2")).await;
    assert_eq!(again.code, 409);
    assert_eq!(
        again.body["message"],
        "Operation cannot be fulfilled on pods/binding \"web\": pod web is already assigned to node \"node-1\""
    );
    assert_eq!(api.post(&uri, &json!({"target": {}})).await.code, 422);
}

#[tokio::test(start_paused = true)]
async fn an_evicted_pod_is_deleted() {
    let api = Api::new().await;
    api.created(PODS, &pod("web")).await;
    let eviction = |dry_run: bool| {
        json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web", "namespace": "default"},
            "deleteOptions": if dry_run { json!({"dryRun": ["All"]}) } else { json!({}) },
        })
    };
    let uri = format!("{PODS}/web/eviction");
    assert_eq!(api.post(&uri, &eviction(true)).await.code, 201);
    assert_eq!(api.get(&format!("{PODS}/web")).await.code, 200);
    let evicted = api.post(&uri, &eviction(false)).await;
    assert_eq!(
        (evicted.code, &evicted.body["status"]),
        (201, &json!("Success"))
    );
    assert_eq!(api.get(&format!("{PODS}/web")).await.code, 404);
}

/// A node that answers with what it was asked.
struct Echo;

#[async_trait]
impl NodeConnection for Echo {
    async fn container_logs(
        &self,
        node: &str,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, NodeConnectionError>>, NodeConnectionError> {
        if request.limit_bytes == Some(0) {
            return Err(NodeConnectionError::Refused("nothing asked for".to_owned()));
        }
        let lines = [
            format!("{node} {}/{}\n", request.pod, request.container),
            format!("{:?}\n", request.tail_lines),
        ];
        Ok(futures::stream::iter(lines.map(|line| Ok(Bytes::from(line)))).boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn logs_come_from_the_pods_node() {
    let api = Api::with_nodes(Some(Arc::new(Echo))).await;
    let mut body = pod("web");
    body["spec"]["nodeName"] = json!("node-1");
    api.created(PODS, &body).await;
    let uri = format!("{PODS}/web/log");
    let early = api.get(&uri).await;
    assert_eq!(early.code, 400);
    assert_eq!(
        early.body["message"],
        "container \"web\" in pod \"web\" is waiting to start: ContainerCreating"
    );
    let running = json!({"status": {"containerStatuses": [{
        "name": "web", "image": "x", "imageID": "x", "ready": true, "restartCount": 0,
        "state": {"running": {}},
    }]}});
    assert_eq!(
        api.strategic(&format!("{PODS}/web/status"), &running)
            .await
            .code,
        200
    );
    let log = api.get(&format!("{uri}?tailLines=10&container=web")).await;
    assert_eq!(
        (log.code, log.text.as_str()),
        (200, "node-1 web/web\nSome(10)\n")
    );
    assert_eq!(log.headers["content-type"], "text/plain");

    let refusals = [
        (
            "container=other",
            "container other is not valid for pod web",
        ),
        (
            "previous=true",
            "previous terminated container \"web\" in pod \"web\" not found",
        ),
        (
            "tailLines=-1",
            "tailLines must be greater than or equal to 0",
        ),
        ("limitBytes=0", "nothing asked for"),
    ];
    for (query, message) in refusals {
        let answer = api.get(&format!("{uri}?{query}")).await;
        assert_eq!(
            (answer.code, &answer.body["message"]),
            (400, &json!(message)),
            "{query}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_with_several_containers_asks_which_one() {
    let api = Api::new().await;
    let mut body = pod("web");
    body["spec"]["containers"] = json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]);
    api.created(PODS, &body).await;
    let answer = api.get(&format!("{PODS}/web/log")).await;
    assert_eq!(
        answer.body["message"],
        "a container name must be specified for pod web, choose one of: [a b]"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_yet_is_refused_by_name() {
    let api = Api::new().await;
    api.created(PODS, &pod("web")).await;
    for (part, word) in [
        ("exec", "exec"),
        ("attach", "attach"),
        ("portforward", "port-forward"),
    ] {
        let answer = api.post(&format!("{PODS}/web/{part}"), &json!({})).await;
        assert_eq!(
            (answer.code, &answer.body["reason"]),
            (501, &json!("NotImplemented"))
        );
        assert!(answer.text.contains(word), "{}", answer.text);
    }
}
