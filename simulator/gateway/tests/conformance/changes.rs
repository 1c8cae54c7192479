//! No request is lost while the configuration changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::httproute::{lab, tls};
use crate::suite::{INFRA, Suite, ask_over, ports, request, secret, to};

/// Clients that ask without a pause, until they are told to stop; each tells what went wrong.
struct Clients {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    tasks: JoinSet<Vec<String>>,
}

impl Clients {
    fn start(port: u16, keep_alive: bool) -> Self {
        let (stop, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut tasks = JoinSet::new();
        for _ in 0..4 {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            tasks.spawn(async move {
                let mut wrong = Vec::new();
                let mut kept = None;
                while !stop.load(Ordering::Relaxed) {
                    let mut sender = match kept.take() {
                        Some(sender) => sender,
                        None => connect(port).await,
                    };
                    if http1::SendRequest::ready(&mut sender).await.is_err() {
                        // Closed between two requests, as a draining server may.
                        continue;
                    }
                    match sender.send_request(request("GET a.b/")).await {
                        Ok(response) if response.status() == 200 => {
                            if let Err(error) = response.into_body().collect().await {
                                wrong.push(error.to_string());
                            }
                        }
                        Ok(response) => wrong.push(response.status().to_string()),
                        Err(error) => wrong.push(error.to_string()),
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    kept = keep_alive.then_some(sender);
                }
                wrong
            });
        }
        Self { stop, asked, tasks }
    }

    /// Waits until so many more requests were answered.
    async fn answer(&self, more: usize) {
        let until = self.asked.load(Ordering::Relaxed) + more;
        while self.asked.load(Ordering::Relaxed) < until {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    async fn finish(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut wrong = Vec::new();
        while let Some(found) = self.tasks.join_next().await {
            wrong.extend(found.unwrap());
        }
        wrong
    }
}

async fn connect(port: u16) -> http1::SendRequest<http_body_util::Full<bytes::Bytes>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn weights(one: u32, two: u32) -> Value {
    json!([{"backendRefs": [
        {"name": "infra-backend-v1", "port": 8080, "weight": one},
        {"name": "infra-backend-v2", "port": 8080, "weight": two}]}])
}

#[tokio::test]
async fn swapping_weights_and_listeners_loses_no_request() {
    let (suite, port) = lab().await;
    let [other] = ports().await;
    suite
        .accepted("swapped", "same-namespace", &[], weights(100, 0))
        .await;
    let listener = |name: &str, port: u16| json!({"name": name, "port": port, "protocol": "HTTP"});
    let (kept, single) = (Clients::start(port, true), Clients::start(port, false));
    for round in 0..10_u32 {
        let rules = if round % 2 == 0 {
            weights(0, 100)
        } else {
            weights(100, 0)
        };
        suite
            .patch(
                "HTTPRoute",
                INFRA,
                "swapped",
                json!({"spec": {"rules": rules}}),
            )
            .await;
        let mut listeners = vec![listener("http", port)];
        if round % 2 == 0 {
            listeners.push(listener("other", other));
        }
        suite
            .patch(
                "Gateway",
                INFRA,
                "same-namespace",
                json!({"spec": {"listeners": listeners}}),
            )
            .await;
        suite.settled("HTTPRoute", "swapped").await;
        kept.answer(20).await;
        single.answer(20).await;
    }
    assert_eq!(kept.finish().await, Vec::<String>::new());
    assert_eq!(single.finish().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_changed_certificate_is_used_and_open_connections_go_on() {
    let suite = Suite::start().await;
    let [port] = ports().await;
    let (old, trusted_old) = secret("certificate", &["shop.test"]);
    let (new, trusted_new) = secret("certificate", &["shop.test"]);
    suite.create(INFRA, old).await;
    let listener = json!([{"name": "https", "port": port, "protocol": "HTTPS",
        "tls": {"certificateRefs": [{"name": "certificate"}]}}]);
    suite.gateway("secure", listener).await;
    suite
        .accepted(
            "shop",
            "secure",
            &[],
            json!([to("infra-backend-v1", json!([{}]))]),
        )
        .await;

    let stream = tls(port, "shop.test", &trusted_old).await.unwrap();
    let (mut open, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let patch = json!({"stringData": new["stringData"]});
    suite.patch("Secret", INFRA, "certificate", patch).await;
    let stream = loop {
        match tls(port, "shop.test", &trusted_new).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(2)).await,
        }
    };
    let reply = ask_over(stream, request("GET shop.test/")).await;
    assert_eq!(reply.backend(), "infra-backend-v1");
    let response = open.send_request(request("GET shop.test/")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(tls(port, "shop.test", &trusted_old).await.is_err());
}
