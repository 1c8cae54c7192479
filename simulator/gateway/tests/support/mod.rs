//! An API server small enough to read: objects in memory, lists, watches and merge patches of
//! status. The real one is tried with the gateway in the test kit.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;

type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

/// The server; clones share its objects.
#[derive(Clone)]
pub(crate) struct FakeApi {
    state: Arc<watch::Sender<State>>,
    writes: Arc<Mutex<Vec<String>>>,
}

#[derive(Default)]
struct State {
    revision: u64,
    /// By path, such as `gateways/default/devops-lab`.
    objects: BTreeMap<String, Value>,
    /// Every change: plural and event.
    log: Vec<(String, Value)>,
}

impl State {
    fn put(&mut self, plural: &str, mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let path = path(plural, &object["metadata"]);
        let type_ = if self.objects.contains_key(&path) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        self.objects.insert(path, object.clone());
        self.log
            .push((plural.to_owned(), json!({"type": type_, "object": object})));
        object
    }
}

fn path(plural: &str, meta: &Value) -> String {
    let name = meta["name"].as_str().expect("an object has a name");
    match meta["namespace"].as_str() {
        Some(namespace) => format!("{plural}/{namespace}/{name}"),
        None => format!("{plural}/{name}"),
    }
}

impl FakeApi {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::default()),
            writes: Arc::default(),
        }
    }

    pub(crate) fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// Creates or replaces an object.
    pub(crate) fn put(&self, plural: &str, mut object: Value) {
        object["metadata"]["uid"] = "uid".into();
        object["metadata"]["generation"] = 1.into();
        self.state.send_modify(|state| {
            state.put(plural, object);
        });
    }

    /// Waits until the object at this path is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) {
        let mut changes = self.state.subscribe();
        let found = changes.wait_for(|state| state.objects.get(path).is_some_and(&wanted));
        let waiting = tokio::time::timeout(std::time::Duration::from_secs(10), found).await;
        if waiting.is_err() {
            panic!(
                "{path} never became so: {:#?}",
                self.state.borrow().objects.get(path)
            );
        }
    }

    /// The path of every write to status, in order.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.writes.lock().unwrap().clone()
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Response<StreamBody<Frames>> {
        let (parts, body) = request.into_parts();
        let path: Vec<_> = parts
            .uri
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        // Without `api/v1` or `apis/group/version`, and without `namespaces/` before a name.
        let mut path = if path[0] == "api" {
            path[2..].to_vec()
        } else {
            path[3..].to_vec()
        };
        if path.len() > 2 && path[0] == "namespaces" {
            let namespace = path[1];
            path.drain(..2);
            path.insert(1, namespace);
        }
        let query = parts.uri.query().unwrap_or_default();
        match parts.method {
            Method::GET if query.contains("watch=true") => self.watch(path[0], query),
            Method::GET => self.list(path[0]),
            Method::PATCH if path.last() == Some(&"status") => {
                let patch: Value =
                    serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
                self.patch(path[0], &path[..path.len() - 1].join("/"), &patch)
            }
            method => panic!("{method} {path:?} is not faked"),
        }
    }

    fn list(&self, plural: &str) -> Response<StreamBody<Frames>> {
        let state = self.state.borrow();
        let prefix = format!("{plural}/");
        let items: Vec<_> = state
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(&prefix))
            .map(|(_, item)| item)
            .collect();
        whole(&json!({"apiVersion": "v1", "kind": "List", "items": items,
                      "metadata": {"resourceVersion": state.revision.to_string()}}))
    }

    fn watch(&self, plural: &str, query: &str) -> Response<StreamBody<Frames>> {
        let since = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="));
        let since: usize = since.and_then(|text| text.parse().ok()).unwrap_or_default();
        let (changes, plural) = (self.state.subscribe(), plural.to_owned());
        // The log has one entry per revision, so a revision is also a place in it.
        let events = futures::stream::unfold((changes, since), move |(mut changes, at)| {
            let plural = plural.clone();
            async move {
                let line = {
                    let state = changes.wait_for(|state| state.log.len() > at).await.ok()?;
                    let (kind, event) = &state.log[at];
                    if *kind == plural {
                        format!("{event}\n")
                    } else {
                        String::new()
                    }
                };
                Some((Ok(Frame::data(Bytes::from(line))), (changes, at + 1)))
            }
        });
        Response::new(StreamBody::new(events.boxed()))
    }

    fn patch(&self, plural: &str, path: &str, patch: &Value) -> Response<StreamBody<Frames>> {
        self.writes.lock().unwrap().push(path.to_owned());
        let mut patched = Value::Null;
        self.state.send_modify(|state| {
            let mut object = state.objects[path].clone();
            object["status"] = patch["status"].clone();
            patched = state.put(plural, object);
        });
        whole(&patched)
    }
}

fn whole(value: &Value) -> Response<StreamBody<Frames>> {
    let frame = Ok(Frame::data(Bytes::from(value.to_string())));
    Response::new(StreamBody::new(futures::stream::iter([frame]).boxed()))
}
