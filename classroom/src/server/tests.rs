//! The server as its clients meet it, over real sockets.

use std::sync::atomic::{AtomicI64, Ordering};

use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::*;
use crate::agent::{Agent, AgentError};
use crate::course::{CourseLab, CourseStep};
use crate::desk::Desk;
use crate::outbox::{Membership, Outbox};
use crate::protocol::{Cause, Join, Verdict, What};
use crate::secrets;
use lab_checks::language::Text;

const PASSWORD: &str = "correct horse";

fn clock() -> Timestamp {
    static SECOND: AtomicI64 = AtomicI64::new(1_000_000);
    Timestamp::from_second(SECOND.fetch_add(1, Ordering::Relaxed)).unwrap()
}

struct Classroom {
    dir: tempfile::TempDir,
    url: String,
    end: CancellationToken,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Full<bytes::Bytes>>,
}

/// What a server answered.
struct Said {
    status: u16,
    headers: http::HeaderMap,
    body: Value,
    text: String,
}

impl Classroom {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("class.db")).unwrap();
        let class = Class {
            title: "DevOps <1>".into(),
            code: "k7mw-pq2x".into(),
            password: secrets::hash(PASSWORD).unwrap(),
            begun: clock(),
        };
        store.begin(&class).unwrap();
        Self::serve(dir, store).await
    }

    async fn serve(dir: tempfile::TempDir, store: Store) -> Self {
        let class = store.class().unwrap().unwrap();
        let step = |id: &str| CourseStep {
            id: id.into(),
            heading: Text::default(),
        };
        let course = Course {
            labs: vec![CourseLab {
                name: "canary".into(),
                title: Text::default(),
                minutes: 10,
                steps: vec![step("one"), step("two")],
            }],
        };
        let server = Server::new(store, class, course, "1.0.0", clock).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let end = CancellationToken::new();
        let ended = end.clone();
        tokio::spawn(async move { server.serve(listener, ended).await });
        Self {
            dir,
            url,
            end,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Said {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = request.body(Full::from(body)).unwrap();
        let answer = self.client.request(request).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        Said {
            status,
            headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    async fn join(&self, name: &str) -> (Agent, Outbox, Membership) {
        let join = Join {
            code: "K7MW PQ2X".into(),
            name: name.into(),
            client: name.into(),
            version: "1.0.0".into(),
        };
        let joined = Agent::join(&self.url, &join).await.unwrap();
        let membership = Membership {
            server: self.url.clone(),
            class: joined.class,
            student: joined.student,
            name: name.into(),
            token: joined.token,
            client: name.into(),
            faults: false,
        };
        let outbox = Outbox::new(&self.dir.path().join(name));
        outbox.join(&membership).unwrap();
        (Agent::of(&membership), outbox, membership)
    }

    /// The cookie of a teacher's session and its word.
    async fn log_in(&self, name: &str) -> (String, String) {
        let login = json!({"password": PASSWORD, "name": name});
        let said = self.ask(Method::POST, "/teacher/login", &[], login).await;
        assert_eq!(said.status, 200);
        let cookie = said.headers[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
            "{cookie}"
        );
        let pair = cookie.split(';').next().unwrap().to_owned();
        (pair, said.body["csrf"].as_str().unwrap().to_owned())
    }

    async fn class(&self, cookie: &str) -> Value {
        let said = self
            .ask(
                Method::GET,
                "/teacher/api/class",
                &[("cookie", cookie)],
                Value::Null,
            )
            .await;
        assert_eq!(said.status, 200, "{}", said.text);
        said.body
    }
}

fn failed(step: &str) -> What {
    What::Checked {
        lab: "canary".into(),
        step: step.into(),
        verdict: Verdict::NotYet,
        diagnosis: Some(Cause {
            id: "weights-swapped".into(),
            text: Text::default(),
        }),
    }
}

fn hand() -> What {
    What::HandRaised {
        lab: "canary".into(),
        step: "one".into(),
        diagnosis: None,
        note: "help".into(),
    }
}

#[tokio::test]
async fn what_a_student_does_offline_arrives_once_and_is_seen() {
    let class = Classroom::open().await;
    let (agent, outbox, _) = class.join("Ada").await;
    for _ in 0..3 {
        outbox.push(failed("one"), clock()).unwrap();
    }
    assert_eq!(agent.deliver(&outbox).await.unwrap(), 3);
    assert_eq!(agent.deliver(&outbox).await.unwrap(), 0);
    let (cookie, _) = class.log_in("Grace").await;
    let seen = class.class(&cookie).await;
    let ada = &seen["students"][0];
    assert_eq!(
        (ada["name"].as_str(), ada["again"].as_u64()),
        (Some("Ada"), Some(3))
    );
    assert_eq!(ada["trouble"][0], "same-cause");
    assert_eq!(seen["common"][0]["cause"]["id"], "weights-swapped");
}

#[tokio::test]
async fn a_server_that_was_killed_goes_on_where_it_was() {
    let class = Classroom::open().await;
    let (agent, outbox, membership) = class.join("Ada").await;
    outbox.push(failed("one"), clock()).unwrap();
    agent.deliver(&outbox).await.unwrap();
    class.end.cancel();
    outbox.push(failed("two"), clock()).unwrap();
    // The port is another one, as only this test cares.
    let store = Store::open(&class.dir.path().join("class.db")).unwrap();
    let again = Classroom::serve(class.dir, store).await;
    let membership = Membership {
        server: again.url.clone(),
        ..membership
    };
    let agent = Agent::of(&membership);
    assert_eq!(agent.deliver(&outbox).await.unwrap(), 1);
    let (cookie, _) = again.log_in("Grace").await;
    let seen = again.class(&cookie).await;
    assert_eq!(seen["students"][0]["step"], "two");
}

#[tokio::test]
async fn a_wrong_code_lets_nobody_in_and_cannot_be_guessed() {
    let class = Classroom::open().await;
    let join = Join {
        code: "aaaa-aaaa".into(),
        name: "Mallory".into(),
        client: "m".into(),
        version: "1".into(),
    };
    let mut last = String::new();
    for _ in 0..11 {
        let error = Agent::join(&class.url, &join).await.unwrap_err();
        assert!(matches!(error, AgentError::Refused { .. }), "{error}");
        last = error.to_string();
    }
    assert!(last.contains("too many wrong tries"), "{last}");
}

#[tokio::test]
async fn a_token_opens_its_own_door_only() {
    let class = Classroom::open().await;
    let (_, _, ada) = class.join("Ada").await;
    let bearer = format!("Bearer {}", ada.token);
    for path in [
        "/teacher/api/class",
        "/teacher/export.json",
        "/teacher/api/students/1",
    ] {
        let said = class
            .ask(
                Method::GET,
                path,
                &[("authorization", &bearer)],
                Value::Null,
            )
            .await;
        assert_eq!(said.status, 401, "{path}");
        assert!(!said.text.contains("Ada"), "{}", said.text);
    }
    let said = class
        .ask(Method::GET, "/api/orders", &[], Value::Null)
        .await;
    assert_eq!(said.status, 401);
}

#[tokio::test]
async fn a_change_needs_the_sessions_own_word() {
    let class = Classroom::open().await;
    let (agent, outbox, _) = class.join("Ada").await;
    let (cookie, csrf) = class.log_in("Grace").await;
    let message = json!({"wish": "message", "text": "break at ten"});
    let path = "/teacher/api/wish";
    let said = class
        .ask(Method::POST, path, &[("cookie", &cookie)], message.clone())
        .await;
    assert_eq!(said.status, 403, "{}", said.text);
    let said = class
        .ask(
            Method::POST,
            path,
            &[("cookie", &cookie), ("x-csrf", &csrf)],
            message,
        )
        .await;
    assert_eq!(said.status, 200, "{}", said.text);
    assert_eq!(agent.orders(&outbox, false).await.unwrap(), 1);
    assert_eq!(outbox.told().unwrap().unread, ["break at ten"]);
}

#[tokio::test]
async fn a_hand_is_taken_by_one_of_two_teachers_and_the_student_hears_of_it() {
    let class = Classroom::open().await;
    let (agent, outbox, _) = class.join("Ada").await;
    outbox.push(hand(), clock()).unwrap();
    agent.deliver(&outbox).await.unwrap();
    let (grace, word) = class.log_in("Grace").await;
    let (edsger, other) = class.log_in("Edsger").await;
    let seen = class.class(&grace).await;
    assert_eq!(seen["hands"][0]["note"], "help");
    let take = |cookie: String, csrf: String| {
        let class = &class;
        async move {
            let headers = [("cookie", cookie.as_str()), ("x-csrf", csrf.as_str())];
            let path = "/teacher/api/hands/1/1/take";
            class
                .ask(Method::POST, path, &headers, Value::Null)
                .await
                .status
        }
    };
    assert_eq!(take(grace.clone(), word).await, 204);
    assert_eq!(take(edsger, other).await, 409);
    agent.orders(&outbox, false).await.unwrap();
    assert_eq!(outbox.told().unwrap().coming.as_deref(), Some("Grace"));
}

#[tokio::test]
async fn faults_are_for_those_who_agreed() {
    let class = Classroom::open().await;
    let (agent, outbox, _) = class.join("Ada").await;
    let (cookie, csrf) = class.log_in("Grace").await;
    let fault = || json!({"student": 1, "wish": "fault", "fault": "node-kill"});
    let headers = [("cookie", cookie.as_str()), ("x-csrf", csrf.as_str())];
    let said = class
        .ask(Method::POST, "/teacher/api/wish", &headers, fault())
        .await;
    assert_eq!(said.status, 400);
    assert!(said.text.contains("has not agreed"), "{}", said.text);
    outbox.push(What::Faults { agreed: true }, clock()).unwrap();
    agent.deliver(&outbox).await.unwrap();
    let said = class
        .ask(Method::POST, "/teacher/api/wish", &headers, fault())
        .await;
    assert_eq!(said.status, 200, "{}", said.text);
    agent.orders(&outbox, false).await.unwrap();
    assert_eq!(outbox.told().unwrap().faults.len(), 1);
}

#[tokio::test]
async fn those_who_wait_for_orders_hear_of_them_at_once() {
    let class = Classroom::open().await;
    let (agent, outbox, _) = class.join("Ada").await;
    let (cookie, csrf) = class.log_in("Grace").await;
    let waiting = {
        let (agent, outbox) = (agent.clone(), outbox.clone());
        tokio::spawn(async move { agent.orders(&outbox, true).await })
    };
    let headers = [("cookie", cookie.as_str()), ("x-csrf", csrf.as_str())];
    let point = json!({"wish": "point", "lab": "canary", "step": "two"});
    class
        .ask(Method::POST, "/teacher/api/wish", &headers, point)
        .await;
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert_eq!(outbox.told().unwrap().point.as_deref(), Some("canary/two"));
}

#[tokio::test]
async fn every_page_forbids_what_it_does_not_need_and_escapes_what_it_shows() {
    let class = Classroom::open().await;
    for (path, status) in [
        ("/", 200),
        ("/teacher/", 200),
        ("/assets/dashboard.js", 200),
        ("/nowhere", 404),
    ] {
        let said = class.ask(Method::GET, path, &[], Value::Null).await;
        assert_eq!(said.status, status, "{path}");
        let policy = said.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!said.text.contains("<1>"), "{}", said.text);
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_nonsense_is_refused() {
    let class = Classroom::open().await;
    let (_, _, ada) = class.join("Ada").await;
    let bearer = format!("Bearer {}", ada.token);
    let headers = [("authorization", bearer.as_str())];
    let huge = json!({"events": [], "more": "x".repeat(BODY_MAX)});
    let said = class.ask(Method::POST, "/api/events", &headers, huge).await;
    assert_eq!(said.status, 413);
    let event = |number: u64, note: &str| json!({"number": number, "at": "2026-01-01T00:00:00Z", "kind": "hand-raised", "note": note});
    for events in [
        vec![event(2, ""), event(1, "")],
        vec![event(0, "")],
        vec![event(1, &"x".repeat(10_000))],
    ] {
        let body = json!({"events": events});
        let said = class.ask(Method::POST, "/api/events", &headers, body).await;
        assert_eq!(said.status, 400, "{}", said.text);
    }
}

#[tokio::test]
async fn who_leaves_shares_nothing_more() {
    let class = Classroom::open().await;
    let (agent, outbox, ada) = class.join("Ada").await;
    let bearer = format!("Bearer {}", ada.token);
    let headers = [("authorization", bearer.as_str())];
    let said = class
        .ask(Method::POST, "/api/leave", &headers, Value::Null)
        .await;
    assert_eq!(said.status, 204);
    outbox.push(failed("one"), clock()).unwrap();
    let error = agent.deliver(&outbox).await.unwrap_err();
    assert!(error.to_string().contains("not in the class"), "{error}");
}

#[tokio::test]
async fn a_program_of_a_teacher_leads_the_class_to_a_lab() {
    let class = Classroom::open().await;
    let (agent, outbox, _) = class.join("Ada").await;
    let wrong = Desk::log_in(&class.url, "hunter2", "").await.unwrap_err();
    assert!(wrong.to_string().contains("password"), "{wrong}");
    let desk = Desk::log_in(&class.url, PASSWORD, "Grace").await.unwrap();
    assert_eq!(desk.lead_to("canary", "one").await.unwrap(), 1);
    agent.orders(&outbox, false).await.unwrap();
    assert_eq!(outbox.told().unwrap().point.as_deref(), Some("canary/one"));
    let nowhere = desk.lead_to("canary", "three").await.unwrap_err();
    assert!(nowhere.to_string().contains("canary/three"), "{nowhere}");
    let nobody = Desk::log_in("http://127.0.0.1:1", PASSWORD, "").await;
    let nobody = nobody.unwrap_err().to_string();
    assert!(
        nobody.starts_with("no class server answers at http://127.0.0.1:1"),
        "{nobody}"
    );
}
