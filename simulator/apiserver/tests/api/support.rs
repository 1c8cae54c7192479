//! A server in memory, requests to it, and objects to send.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use lab_apiserver::{ApiServer, ApiServerConfig, Version};
use lab_context::Context;
use lab_store::Store;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A server with the namespaces that every cluster has.
pub(crate) struct Api {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) stop: CancellationToken,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Api {
    pub(crate) async fn new() -> Self {
        Self::with_nodes(None).await
    }

    pub(crate) async fn with_nodes(
        nodes: Option<std::sync::Arc<dyn lab_apiserver::NodeConnection>>,
    ) -> Self {
        let store = Store::in_memory();
        let stop = CancellationToken::new();
        let config = ApiServerConfig {
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
            version: Version::default(),
            node_connection: nodes,
            context: Context::simulated(1, 1.0),
            stop: stop.clone(),
        };
        let server = ApiServer::new(store.clone(), config);
        server.ensure_namespaces().await.unwrap();
        let router = server.router();
        Self {
            router,
            store,
            stop,
        }
    }

    pub(crate) fn client(&self) -> kube::Client {
        kube::Client::new(self.router.clone(), "default")
    }

    /// Sends a request as given.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Answer {
            code,
            headers,
            text,
            body,
        }
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        uri: &str,
        content_type: &str,
        body: &Value,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", content_type)
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(request).await
    }

    pub(crate) async fn get(&self, uri: &str) -> Answer {
        self.get_as(uri, "application/json").await
    }

    pub(crate) async fn get_as(&self, uri: &str, accept: &str) -> Answer {
        let request = Request::get(uri)
            .header("accept", accept)
            .body(Body::empty())
            .unwrap();
        self.send(request).await
    }

    pub(crate) async fn post(&self, uri: &str, body: &Value) -> Answer {
        self.call("POST", uri, "application/json", body).await
    }

    pub(crate) async fn put(&self, uri: &str, body: &Value) -> Answer {
        self.call("PUT", uri, "application/json", body).await
    }

    pub(crate) async fn merge(&self, uri: &str, body: &Value) -> Answer {
        self.call("PATCH", uri, "application/merge-patch+json", body)
            .await
    }

    pub(crate) async fn strategic(&self, uri: &str, body: &Value) -> Answer {
        self.call("PATCH", uri, "application/strategic-merge-patch+json", body)
            .await
    }

    pub(crate) async fn delete(&self, uri: &str, options: &Value) -> Answer {
        self.call("DELETE", uri, "application/json", options).await
    }

    /// Creates an object that must be accepted.
    #[track_caller]
    pub(crate) fn created<'a>(
        &'a self,
        uri: &'a str,
        body: &'a Value,
    ) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.post(uri, body).await;
            assert_eq!(answer.code, 201, "at {caller}: {}", answer.text);
            answer.body
        }
    }

    /// Opens a watch that must be accepted.
    pub(crate) async fn watch(&self, uri: &str) -> Events {
        self.watch_as(uri, "application/json").await
    }

    pub(crate) async fn watch_as(&self, uri: &str, accept: &str) -> Events {
        let request = Request::get(uri)
            .header("accept", accept)
            .body(Body::empty())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200, "{uri}");
        Events(response.into_body().into_data_stream())
    }
}

/// An open watch.
pub(crate) struct Events(BodyDataStream);

impl Events {
    /// The next event; `None` once the server ended the watch.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let frame = self.0.next().await?.unwrap();
        assert!(frame.ends_with(b"\n"), "events end in a newline");
        Some(serde_json::from_slice(&frame).unwrap())
    }

    /// The next event's type and name.
    pub(crate) async fn brief(&mut self) -> (String, String) {
        let event = self.next().await.expect("the watch goes on");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }

    /// Asserts that nothing comes for a while.
    #[track_caller]
    pub(crate) fn silent(&mut self) -> impl Future<Output = ()> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let waited = tokio::time::timeout(Duration::from_secs(20), self.next()).await;
            assert!(waited.is_err(), "at {caller}: unexpected {waited:?}");
        }
    }
}

pub(crate) const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

pub(crate) fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"key": "value"},
    })
}

pub(crate) fn labelled(name: &str, key: &str, value: &str) -> Value {
    let mut object = config_map(name);
    object["metadata"]["labels"] = json!({ key: value });
    object
}

pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "localhost:5001/hello:1.0.0"}]},
    })
}

pub(crate) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "hello:1"}]},
            },
        },
    })
}

/// The names of a list, in order.
pub(crate) fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list has items");
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}
