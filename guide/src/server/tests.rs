//! The server as a browser meets it, over a real socket, with an API server in this process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use lab_apiserver::{ApiServer, ApiServerConfig, Version};
use lab_checks::context::Addresses;
use lab_checks::language::Text;
use lab_checks::library::Labs;
use lab_checks::outcome::Verdict;
use lab_checks::progress::Progress;
use lab_checks::runner::StepReport;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;
use crate::picture::{Absence, AbsenceKind, Cluster, Reached};
use crate::tutor::{Begun, Judged, Place};

/// How long what takes a moment may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A learner whose steps hold when the test says so.
struct Learner {
    labs: Labs,
    progress: Mutex<Progress>,
    holding: Mutex<Vec<String>>,
    something: Notify,
}

impl Learner {
    fn solve(&self, step: &str) {
        self.holding.lock().unwrap().push(step.to_owned());
        self.something.notify_one();
    }
}

#[async_trait]
impl Tutor for Learner {
    fn labs(&self) -> &Labs {
        &self.labs
    }

    fn place(&self) -> Result<Place, Failed> {
        Ok(Place {
            progress: self.progress.lock().unwrap().clone(),
            addresses: Addresses::default(),
        })
    }

    async fn examine(&self, lab: &Lab, step: &Step) -> Result<Option<StepReport>, Failed> {
        let holds = self.holding.lock().unwrap().contains(&step.id);
        let verdict = if holds {
            Verdict::Holds
        } else {
            Verdict::NotYet
        };
        let mut progress = self.progress.lock().unwrap();
        progress.note(lab, &step.id, verdict, Timestamp::UNIX_EPOCH);
        Ok(Some(StepReport {
            lab: lab.name.clone(),
            step: step.id.clone(),
            verdict,
            checks: Vec::new(),
        }))
    }

    async fn changed(&self, _: &[&Step]) {
        self.something.notified().await;
    }

    async fn begin(&self, _: &Lab) -> Result<Begun, Failed> {
        Ok(Begun {
            workspace: PathBuf::from("/home/ada"),
            ..Begun::default()
        })
    }

    async fn hint(&self, lab: &Lab, step: &Step) -> Result<usize, Failed> {
        let mut progress = self.progress.lock().unwrap();
        let shown = progress.hints(&lab.name, &step.id).len();
        progress.show_hint(lab, &step.id, shown);
        Ok(step.hints.len() - shown - 1)
    }

    async fn answer(
        &self,
        lab: &Lab,
        step: &Step,
        question: &str,
        value: &str,
    ) -> Result<Judged, Failed> {
        let mut progress = self.progress.lock().unwrap();
        progress.answer(lab, &step.id, question, value);
        Ok(Judged {
            right: Some(value == "1"),
            why: Some(Text {
                en: "`Names` change.".to_owned(),
                fr: "Les `noms` changent.".to_owned(),
            }),
        })
    }
}

/// A cluster that can be taken away.
struct OneCluster {
    client: kube::Client,
    absence: Mutex<Option<Absence>>,
}

#[async_trait]
impl Cluster for OneCluster {
    async fn find(&self) -> Result<Reached, Absence> {
        match self.absence.lock().unwrap().clone() {
            Some(absence) => Err(absence),
            None => Ok(Reached {
                client: self.client.clone(),
                metrics: None,
            }),
        }
    }
}

struct Room {
    url: String,
    port: u16,
    token: String,
    learner: Arc<Learner>,
    api: kube::Client,
    client: Client<HttpConnector, Full<Bytes>>,
    _end: tokio_util::sync::DropGuard,
}

async fn api() -> kube::Client {
    let config = ApiServerConfig {
        service_cidr: ([10, 96, 0, 0].into(), 16),
        version: Version::default(),
        node_connection: None,
        context: lab_context::Context::simulated(1, 1.0),
        stop: CancellationToken::new(),
    };
    let server = ApiServer::new(lab_store::Store::in_memory(), config);
    server.ensure_namespaces().await.unwrap();
    kube::Client::new(server.router(), "default")
}

impl Room {
    async fn open(absence: Option<Absence>) -> Self {
        let api = api().await;
        let cluster = OneCluster {
            client: api.clone(),
            absence: Mutex::new(absence),
        };
        let learner = Arc::new(Learner {
            labs: Labs::embedded().unwrap(),
            progress: Mutex::default(),
            holding: Mutex::default(),
            something: Notify::new(),
        });
        let tutor: Arc<dyn Tutor> = Arc::clone(&learner) as Arc<dyn Tutor>;
        let guide = Guide::new(tutor, Watcher::start(Arc::new(cluster)), Language::Fr);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let end = CancellationToken::new();
        let (served, ended) = (guide.clone(), end.clone());
        tokio::spawn(async move { served.serve(listener, ended).await });
        Self {
            url: format!("http://127.0.0.1:{port}"),
            port,
            token: guide.0.token.clone(),
            learner,
            api,
            client: Client::builder(TokioExecutor::new()).build_http(),
            _end: end.drop_guard(),
        }
    }

    async fn ask(&self, request: http::request::Builder, body: &Value) -> (u16, String) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = request
            .header("content-type", "application/json")
            .body(Full::from(body))
            .unwrap();
        let answer = self.client.request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let request = Request::get(format!("{}{path}", self.url));
        self.ask(request, &Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = Request::post(format!("{}{path}", self.url)).header("x-token", &self.token);
        let (status, text) = self.ask(request, &body).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    async fn live(&self, query: &str) -> Events {
        let request = Request::get(format!("{}/api/live{query}", self.url))
            .body(Full::default())
            .unwrap();
        let answer = self.client.request(request).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Events {
            body: answer.into_body(),
            text: String::new(),
        }
    }

    /// Makes an object with its status, or changes it.
    async fn put(&self, group: &str, kind: &str, object: Value) {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        let api: kube::Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => kube::Api::namespaced_with(self.api.clone(), namespace, &resource),
            None => kube::Api::all_with(self.api.clone(), &resource),
        };
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let mut whole = object.clone();
        whole["apiVersion"] = json!("v1");
        whole["kind"] = json!(kind);
        if api.get_opt(&name).await.unwrap().is_none() {
            let made = serde_json::from_value(whole).unwrap();
            api.create(&PostParams::default(), &made).await.unwrap();
        }
        if object.get("status").is_some() {
            let status = json!({"status": object["status"]});
            let params = PatchParams::default();
            api.patch_status(&name, &params, &Patch::Merge(status))
                .await
                .unwrap();
        }
    }
}

/// Server-sent events as they come.
struct Events {
    body: hyper::body::Incoming,
    text: String,
}

impl Events {
    /// The data of the next event of this name for which something is true.
    async fn until(&mut self, name: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let looking = async {
            loop {
                while let Some(end) = self.text.find("\n\n") {
                    let event: String = self.text.drain(..end + 2).collect();
                    let fields: BTreeMap<_, _> = event
                        .lines()
                        .filter_map(|line| line.split_once(": "))
                        .collect();
                    if fields.get("event") == Some(&name) {
                        last = serde_json::from_str(fields["data"]).unwrap();
                        if is(&last) {
                            return;
                        }
                    }
                }
                let frame = self
                    .body
                    .frame()
                    .await
                    .expect("the stream goes on")
                    .unwrap();
                let data = frame.into_data().unwrap();
                self.text.push_str(std::str::from_utf8(&data).unwrap());
            }
        };
        let found = timeout(SOON, looking).await.is_ok();
        assert!(found, "no such {name}; the last was {last}");
        last
    }
}

fn node(name: &str, ready: &str) -> Value {
    json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready,
        "lastTransitionTime": "2026-01-01T00:00:00Z", "lastHeartbeatTime": "2026-01-01T00:00:00Z",
        "reason": "x", "message": "x"}]}})
}

#[tokio::test]
async fn the_picture_follows_the_objects_of_the_cluster() {
    let room = Room::open(None).await;
    let mut live = room.live("").await;
    live.until("picture", |picture| picture["cluster"]["state"] == "live")
        .await;
    room.put("", "Node", node("node-1", "True")).await;
    let ready = |picture: &Value| picture["nodes"][0]["state"] == "ready";
    live.until("picture", ready).await;
    let pod = json!({"metadata": {"name": "hello-1", "namespace": "default", "labels": {"app": "hello"}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "localhost:5001/hello:2.0.0"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    room.put("", "Pod", pod).await;
    let picture = live
        .until("picture", |picture| {
            picture["nodes"][0]["pods"][0]["state"] == "ready"
        })
        .await;
    let pod = &picture["nodes"][0]["pods"][0];
    assert_eq!(
        (&pod["app"], &pod["version"]),
        (&json!("hello"), &json!("2.0.0"))
    );
    room.put("", "Node", node("node-1", "Unknown")).await;
    let picture = live
        .until("picture", |picture| picture["nodes"][0]["state"] == "lost")
        .await;
    assert_eq!(picture["nodes"][0]["pods"][0]["state"], "lost");
    let (status, now) = room.get("/api/picture").await;
    assert_eq!(status, 200);
    let now: Value = serde_json::from_str(&now).unwrap();
    assert_eq!(now["nodes"], picture["nodes"]);
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_told_with_the_command_that_helps() {
    let absence = Absence {
        kind: AbsenceKind::Stopped,
        say: Text {
            en: "It is stopped.".to_owned(),
            fr: "Il est arrêté.".to_owned(),
        },
        command: "devops-lab start".to_owned(),
    };
    let room = Room::open(Some(absence)).await;
    let mut live = room.live("").await;
    let picture = live
        .until("picture", |picture| {
            picture["cluster"]["state"] == "stopped"
        })
        .await;
    assert_eq!(picture["cluster"]["command"], "devops-lab start");
    assert_eq!(picture["cluster"]["say"]["fr"], "Il est arrêté.");
}

#[tokio::test]
async fn steps_tick_themselves_off_one_after_the_other_while_a_page_shows_them() {
    let room = Room::open(None).await;
    let mut live = room.live("?lab=meet-the-cluster").await;
    let here = |step: &'static str| move |state: &Value| state["here"] == step;
    let state = live.until("state", here("nodes")).await;
    assert_eq!(state["steps"][0]["done"], false);
    room.learner.solve("nodes");
    let state = live.until("state", here("app")).await;
    assert_eq!(state["steps"][0]["done"], true);
    // Two at once.
    room.learner.solve("pods");
    room.learner.solve("app");
    live.until("state", here("wish")).await;
    let labs = live
        .until("labs", |labs| labs["labs"][0]["done"] == 3)
        .await;
    assert_eq!(labs["next"], "meet-the-cluster");
}

#[tokio::test]
async fn hints_and_answers_are_given_in_the_page() {
    let room = Room::open(None).await;
    let at = json!({"lab": "meet-the-cluster", "step": "app"});
    let state = room.post("/api/hint", at.clone()).await;
    let step = &state["steps"][1];
    assert_eq!(step["hints"].as_array().unwrap().len(), 1);
    assert!(
        step["hints"][0]["en"].as_str().unwrap().contains("<code>"),
        "{step}"
    );
    assert_eq!(step["hintsLeft"], 2);
    let mut answer = at;
    answer["question"] = json!("what-changes");
    answer["value"] = json!("1");
    let said = room.post("/api/answer", answer).await;
    assert_eq!(
        (&said["right"], &said["why"]["fr"]),
        (&json!(true), &json!("Les <code>noms</code> changent."))
    );
    assert_eq!(said["state"]["steps"][1]["answers"][0]["value"], "1");
    let begun = room
        .post("/api/begin", json!({"lab": "meet-the-cluster"}))
        .await;
    assert_eq!(begun["workspace"], "/home/ada");
}

#[tokio::test]
async fn only_the_page_itself_changes_anything_and_only_this_machine_is_answered() {
    let room = Room::open(None).await;
    let body = json!({"lab": "meet-the-cluster", "step": "app"});
    for token in ["", "0123456789abcdef0123456789abcdef", &room.token[..31]] {
        let request = Request::post(format!("{}/api/hint", room.url)).header("x-token", token);
        assert_eq!(room.ask(request, &body).await.0, 403, "{token:?}");
    }
    for (host, status) in [
        (format!("127.0.0.1:{}", room.port), 200),
        (format!("localhost:{}", room.port), 200),
        (format!("evil.example:{}", room.port), 421),
        ("127.0.0.1.evil.example".to_owned(), 421),
        ("evil@127.0.0.1".to_owned(), 421),
    ] {
        for path in ["/", "/api/picture", "/assets/guide.js"] {
            let request = Request::get(format!("{}{path}", room.url)).header("host", &host);
            assert_eq!(
                room.ask(request, &Value::Null).await.0,
                status,
                "{host} {path}"
            );
        }
    }
    let (_, page) = room.get("/").await;
    assert!(
        page.contains(&room.token) && page.contains("lang=\"fr\""),
        "{page}"
    );
    let request = Request::get(&room.url).body(Full::default()).unwrap();
    let answer = room.client.request(request).await.unwrap();
    let policy = answer.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    assert!(
        policy.contains("script-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let room = Room::open(None).await;
    let (status, said) = room.get("/api/labs/nothing").await;
    assert!(status == 404 && said.contains("meet-the-cluster"), "{said}");
    assert_eq!(room.get("/api/live?lab=nothing").await.0, 404);
    assert_eq!(room.get("/assets/../Cargo.toml").await.0, 404);
    let (status, lesson) = room.get("/api/labs/meet-the-cluster").await;
    assert!(
        status == 200 && lesson.contains("kubectl get nodes"),
        "{lesson}"
    );
}

#[test]
fn pages_hold_no_script_or_style_of_their_own() {
    for page in [assets::GUIDE, assets::PRESENT] {
        for part in [
            "<style",
            "style=",
            "onclick",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!page.contains(part), "{part}");
        }
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script type=\"module\" src=\"/assets/")
                .count()
        );
    }
}
