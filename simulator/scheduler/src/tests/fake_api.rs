//! As much of an API server as a scheduler talks to, with a log of what it asked for.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::service_fn;

type Answer = Response<StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

/// The API's state: lists that never change, and what happens to be refused.
pub(super) struct FakeApi {
    nodes: Vec<Value>,
    pods: Vec<Value>,
    /// Pods whose next binding fails.
    refused: Mutex<Vec<String>>,
    log: mpsc::UnboundedSender<String>,
}

impl FakeApi {
    /// A client of an API with these objects, and its log.
    pub(super) fn start(
        nodes: Vec<Value>,
        pods: Vec<Value>,
        refused: &[&str],
    ) -> (kube::Client, mpsc::UnboundedReceiver<String>) {
        let (log, lines) = mpsc::unbounded_channel();
        let refused = refused.iter().map(|&name| name.to_owned()).collect();
        let api = Arc::new(Self {
            nodes,
            pods,
            refused: Mutex::new(refused),
            log,
        });
        let service = service_fn(move |request| {
            let api = Arc::clone(&api);
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        (kube::Client::new(service, "default"), lines)
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = head.uri.path().to_owned();
        let segments: Vec<&str> = path.split('/').collect();
        let watches = head.uri.query().is_some_and(|q| q.contains("watch=true"));
        match (&head.method, segments.as_slice()) {
            (&Method::GET, _) if watches => silence(),
            (&Method::GET, [.., "nodes"]) => list(&self.nodes),
            (&Method::GET, [.., "pods"]) => list(&self.pods),
            (&Method::POST, [.., "pods", name, "binding"]) => self.bind(name, &body),
            (&Method::POST, [.., "events"]) => {
                self.say(format!(
                    "event {}: {}",
                    text(&body["reason"]),
                    text(&body["message"])
                ));
                json_answer(201, &body)
            }
            (&Method::PATCH, [.., "pods", name, "status"]) => {
                let condition = &body["status"]["conditions"][0];
                let status = format!(
                    "{}={}",
                    text(&condition["type"]),
                    text(&condition["status"])
                );
                self.say(format!("{name} {status} {}", text(&condition["reason"])));
                json_answer(200, &json!({"metadata": {"name": name}}))
            }
            other => panic!("unexpected request {other:?}"),
        }
    }

    fn bind(&self, name: &str, body: &Value) -> Answer {
        let mut refused = self.refused.lock().unwrap();
        if let Some(at) = refused.iter().position(|refused| refused == name) {
            refused.remove(at);
            self.say(format!("refuse {name}"));
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "code": 500, "reason": "InternalError", "message": "disk full"});
            return json_answer(500, &status);
        }
        self.say(format!("bind {name} → {}", text(&body["target"]["name"])));
        json_answer(
            201,
            &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
        )
    }

    fn say(&self, line: String) {
        // The test may have seen enough.
        let _ = self.log.send(line);
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(items: &[Value]) -> Answer {
    json_answer(
        200,
        &json!({"metadata": {"resourceVersion": "1"}, "items": items}),
    )
}

fn json_answer(status: u16, body: &Value) -> Answer {
    let frame = Frame::data(Bytes::from(body.to_string()));
    respond(status, stream::iter([Ok(frame)]).boxed())
}

/// A watch on which nothing ever happens.
fn silence() -> Answer {
    respond(200, stream::pending().boxed())
}

fn respond(status: u16, body: BoxStream<'static, Result<Frame<Bytes>, Infallible>>) -> Answer {
    let response = Response::builder().status(status);
    response.body(StreamBody::new(body)).unwrap()
}
