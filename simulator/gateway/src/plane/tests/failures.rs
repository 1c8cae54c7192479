//! Requests that cannot go well, and what clients are told; and those that are saved.

use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::lab::{Backend, Lab, Reply, nobody, text};
use crate::testing::{route, service, slice};

fn to(service: &str) -> Value {
    json!([{"backendRefs": [{"name": service, "port": 80}]}])
}

#[tokio::test]
async fn each_reason_for_no_answer_is_told() {
    let lab = Lab::start([
        route("r", &["lab.test"], json!([
            {"matches": [{"path": {"value": "/none"}}]},
            {"matches": [{"path": {"value": "/zero"}}], "backendRefs": [{"name": "empty", "port": 80, "weight": 0}]},
            {"matches": [{"path": {"value": "/missing"}}], "backendRefs": [{"name": "missing", "port": 80}]},
            {"matches": [{"path": {"value": "/empty"}}], "backendRefs": [{"name": "empty", "port": 80}]},
            {"matches": [{"path": {"value": "/dead"}}], "backendRefs": [{"name": "dead", "port": 80}]},
        ])),
        service("empty"),
        service("dead"),
        slice("dead", 0, nobody().await),
    ])
    .await;
    let port = lab.address.port();
    let unrouted = format!("404 no route for GET lab.test/other on port {port}\n");
    lab.get("/other").await.is(404, "no-route", &unrouted);
    lab.get("/none").await.is(
        500,
        "no-backends",
        "rule 0 of route default/r has no backend",
    );
    lab.get("/zero").await.is(
        500,
        "no-backends",
        "rule 1 of route default/r has no backend",
    );
    lab.get("/missing").await.is(
        500,
        "invalid-backend",
        "Service default/missing does not exist",
    );
    lab.get("/empty").await.is(
        503,
        "no-endpoints",
        "503 no ready endpoints for service default/empty:80\n",
    );
    lab.get("/dead").await.is(
        502,
        "connect-failed",
        "no endpoint of service default/dead:80 takes connections",
    );
    let text = lab.plane.metrics_text();
    for line in [
        "gateway_requests_total{route=\"\",rule=\"\",backend=\"\",code=\"4xx\"} 1",
        "gateway_requests_total{route=\"default/r\",rule=\"0\",backend=\"\",code=\"5xx\"} 1",
        "gateway_requests_total{route=\"default/r\",rule=\"3\",backend=\"default/empty:80\",code=\"5xx\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn an_invalid_backend_fails_for_its_share_only() {
    let backend = Backend::saying("good").await;
    let rules = json!([{"backendRefs": [{"name": "a", "port": 80, "weight": 3}, {"name": "missing", "port": 80, "weight": 1}]}]);
    let lab = Lab::start([
        route("r", &[], rules),
        service("a"),
        slice("a", 0, backend.address),
    ])
    .await;
    let mut client = lab.client().await;
    let mut failed = 0;
    for _ in 0..200 {
        failed += usize::from(client.get("/").await.status == 500);
    }
    assert!((46..=54).contains(&failed), "{failed}");
}

#[tokio::test]
async fn a_dead_endpoint_costs_no_client_an_error() {
    let backend = Backend::saying("alive").await;
    let lab = Lab::start([
        route("r", &[], to("a")),
        service("a"),
        slice("a", 0, nobody().await),
        slice("a", 1, backend.address),
    ])
    .await;
    let mut client = lab.client().await;
    for _ in 0..40 {
        assert_eq!(client.get("/").await.body, "alive");
        let post = Request::post("/")
            .header("host", "x")
            .body(text("body"))
            .unwrap();
        assert_eq!(Reply::of(client.send(post).await).await.body, "alive");
    }
}

/// A backend that promises to keep the connection and then drops it after one answer, as a
/// process that is killed does.
async fn fickle() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await;
                // Takes in the next request and ends without an answer.
                let _ = stream.read(&mut buffer).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_kept_connection_that_dies_before_the_answer_is_replaced() {
    let lab = Lab::start([
        route("r", &[], to("a")),
        service("a"),
        slice("a", 0, fickle().await),
    ])
    .await;
    let mut client = lab.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.body, "ok");
    }
}

#[tokio::test]
async fn a_request_with_a_body_is_never_sent_twice() {
    let lab = Lab::start([
        route("r", &[], to("a")),
        service("a"),
        slice("a", 0, fickle().await),
    ])
    .await;
    let mut client = lab.client().await;
    assert_eq!(client.get("/").await.body, "ok");
    let post = Request::post("/")
        .header("host", "x")
        .body(text("pay 100"))
        .unwrap();
    let reply = Reply::of(client.send(post).await).await;
    reply.is(
        502,
        "upstream-closed",
        "closed the connection without an answer",
    );
}

#[tokio::test]
async fn a_backend_that_takes_too_long_is_given_up() {
    let backend = Backend::start(|_| async {
        std::future::pending::<()>().await;
        Response::new(text(""))
    })
    .await;
    let rules = json!([
        {"matches": [{"path": {"value": "/request"}}], "timeouts": {"request": "50ms"}, "backendRefs": [{"name": "a", "port": 80}]},
        {"matches": [{"path": {"value": "/try"}}], "timeouts": {"backendRequest": "50ms"}, "backendRefs": [{"name": "a", "port": 80}]},
    ]);
    let lab = Lab::start([
        route("r", &[], rules),
        service("a"),
        slice("a", 0, backend.address),
    ])
    .await;
    lab.get("/request").await.is(
        504,
        "timeout",
        "route default/r did not answer within 50 ms",
    );
    lab.get("/try").await.is(
        504,
        "timeout",
        "service default/a:80 did not answer within 50 ms",
    );
}

#[tokio::test]
async fn a_stop_lets_requests_in_flight_finish() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&arrived), Arc::clone(&go));
    let backend = Backend::start(move |_| {
        let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
        async move {
            tell.notify_one();
            wait.notified().await;
            Response::new(text("finished"))
        }
    })
    .await;
    let lab = Lab::start([
        route("r", &[], to("a")),
        service("a"),
        slice("a", 0, backend.address),
    ])
    .await;
    let address = lab.address;
    let (mut client, _idle) = (lab.client().await, lab.client().await);
    let asking = tokio::spawn(async move { client.get("/").await });
    arrived.notified().await;
    let closing = tokio::spawn(lab.close());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    let reply = asking.await.unwrap();
    assert_eq!(reply.body, "finished");
    assert_eq!(reply.headers["connection"], "close");
    tokio::time::timeout(Duration::from_secs(2), closing)
        .await
        .expect("nothing else is open")
        .unwrap();
}

#[tokio::test]
async fn a_request_in_flight_outlives_its_endpoint_in_the_table() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&arrived), Arc::clone(&go));
    let old = Backend::start(move |_| {
        let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
        async move {
            tell.notify_one();
            wait.notified().await;
            Response::new(text("old"))
        }
    })
    .await;
    let new = Backend::saying("new").await;
    let mut lab = Lab::start([
        route("r", &[], to("a")),
        service("a"),
        slice("a", 0, old.address),
    ])
    .await;
    let mut client = lab.client().await;
    let asking = tokio::spawn(async move { client.get("/").await });
    arrived.notified().await;
    lab.put([slice("a", 0, new.address)]);
    for _ in 0..10 {
        assert_eq!(lab.get("/").await.body, "new");
    }
    go.notify_one();
    assert_eq!(asking.await.unwrap().body, "old");
}
