//! The load balancer as a whole: objects in, traffic and status out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lab_context::Context;
use lab_gateway::{GatewayConfig, GatewayError, run};
use serde_json::{Value, json};
use support::FakeApi;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The cluster's own waits, such as the one before a port is tried again, are short here.
const SPEED: f64 = 100.0;

struct Running {
    api: FakeApi,
    port: u16,
    admin: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), GatewayError>>,
}

/// A port that nobody has at the moment.
async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

fn gateway(port: u16) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
           "metadata": {"name": "devops-lab", "namespace": "default"},
           "spec": {"gatewayClassName": "devops-lab",
                    "listeners": [{"name": "production", "port": port, "protocol": "HTTP"}]}})
}

fn service(address: Ipv4Addr) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello", "namespace": "default"},
           "spec": {"clusterIP": address.to_string(), "ports": [{"port": 8080, "protocol": "TCP"}]}})
}

fn slice(backend: SocketAddr) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
           "metadata": {"name": "hello-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "hello"}},
           "addressType": "IPv4",
           "endpoints": [{"addresses": [backend.ip().to_string()], "conditions": {"ready": true}}],
           "ports": [{"name": "", "port": backend.port(), "protocol": "TCP"}]})
}

async fn start(cluster_ip: Ipv4Addr) -> Running {
    let api = FakeApi::new();
    api.put(
        "gatewayclasses",
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": {"name": "devops-lab"}, "spec": {"controllerName": "devops-lab.dev/gateway"}}),
    );
    let port = free().await.port();
    api.put("gateways", gateway(port));
    api.put("services", service(cluster_ip));
    api.put(
        "httproutes",
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "hello", "namespace": "default"},
        "spec": {"parentRefs": [{"name": "devops-lab"}],
                 "rules": [{"backendRefs": [{"name": "hello", "port": 8080}]}]}}),
    );
    let admin = free().await;
    let config = GatewayConfig {
        admin: Some(admin),
        ..GatewayConfig::on_loopback()
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(
        api.client(),
        config,
        Context::system(SPEED),
        stop.clone(),
    ));
    Running {
        api,
        port,
        admin,
        stop,
        task,
    }
}

/// A backend that says one word to every connection.
async fn saying(word: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
            let length = word.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{word}"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn condition<'a>(status: &'a Value, type_: &str) -> &'a Value {
    let conditions = status["conditions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    conditions
        .iter()
        .find(|condition| condition["type"] == type_)
        .unwrap_or(&Value::Null)
}

fn is_programmed(gateway: &Value) -> bool {
    condition(&gateway["status"], "Programmed")["status"] == "True"
}

const GATEWAY: &str = "gateways/default/devops-lab";

#[tokio::test]
async fn objects_become_traffic_and_traffic_ends_with_the_load_balancer() {
    let cluster_ip = Ipv4Addr::new(127, 22, 128, 1);
    let Running {
        api,
        port,
        admin,
        stop,
        task,
    } = start(cluster_ip).await;
    api.until(GATEWAY, is_programmed).await;
    let listener = SocketAddr::from(([127, 0, 0, 1], port));
    assert!(
        get(listener, "/")
            .await
            .contains("503 no ready endpoints for service default/hello:8080")
    );

    api.put("endpointslices", slice(saying("hello").await));
    while !get(listener, "/").await.ends_with("hello") {}
    assert!(get((cluster_ip, 8080).into(), "/").await.ends_with("hello"));

    assert!(get(admin, "/healthz").await.ends_with("ok\n"));
    assert!(
        get(admin, "/table")
            .await
            .contains("default/devops-lab/production")
    );
    let counted = "gateway_requests_total{route=\"default/hello\",rule=\"0\",backend=\"default/hello:8080\",code=\"2xx\"}";
    assert!(get(admin, "/metrics").await.contains(counted));

    stop.cancel();
    task.await.unwrap().unwrap();
    assert!(TcpStream::connect(listener).await.is_err());
}

#[tokio::test]
async fn status_is_written_once_and_only_when_it_changes() {
    let Running {
        api, stop, task, ..
    } = start(Ipv4Addr::new(127, 22, 128, 2)).await;
    api.until(GATEWAY, is_programmed).await;
    let accepted =
        |route: &Value| route["status"]["parents"][0]["conditions"][0]["status"] == "True";
    api.until("httproutes/default/hello", accepted).await;
    // Three changes that no status speaks of, and one at the end that one does.
    for word in ["a", "b", "c"] {
        api.put("endpointslices", slice(saying(word).await));
    }
    let mut changed = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "hello", "namespace": "default"},
        "spec": {"parentRefs": [{"name": "devops-lab"}], "rules": [{"backendRefs": [{"name": "gone", "port": 80}]}]}});
    changed["status"] = Value::Null;
    api.put("httproutes", changed);
    let unresolved = |route: &Value| {
        route["status"]["parents"][0]["conditions"][1]["reason"] == "BackendNotFound"
    };
    api.until("httproutes/default/hello", unresolved).await;
    assert_eq!(
        api.writes(),
        [
            "gatewayclasses/devops-lab",
            GATEWAY,
            "httproutes/default/hello",
            "httproutes/default/hello"
        ]
    );
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_taken_port_is_told_and_served_once_it_is_free() {
    let Running {
        api, stop, task, ..
    } = start(Ipv4Addr::new(127, 22, 128, 3)).await;
    api.until(GATEWAY, is_programmed).await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = other.local_addr().unwrap();
    api.put("gateways", gateway(taken.port()));
    let told = |gateway: &Value| {
        let listener = &gateway["status"]["listeners"][0];
        let message = condition(listener, "Accepted")["message"]
            .as_str()
            .unwrap_or_default();
        condition(listener, "Accepted")["reason"] == "PortUnavailable"
            && message.contains(&format!("{taken} is taken by another program"))
    };
    api.until(GATEWAY, told).await;
    drop(other);
    api.until(GATEWAY, is_programmed).await;
    assert!(get(taken, "/").await.contains("no ready endpoints"));
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_change_of_endpoints_takes_effect_within_50_ms() {
    let Running {
        api,
        port,
        stop,
        task,
        ..
    } = start(Ipv4Addr::new(127, 22, 128, 4)).await;
    api.until(GATEWAY, is_programmed).await;
    let listener = SocketAddr::from(([127, 0, 0, 1], port));
    let backends = [("one", saying("one").await), ("two", saying("two").await)];
    let mut times = Vec::new();
    for (word, backend) in backends.iter().cycle().take(21) {
        let changed = Instant::now();
        api.put("endpointslices", slice(*backend));
        while !get(listener, "/").await.ends_with(word) {}
        times.push(changed.elapsed());
    }
    times.sort();
    assert!(
        times[10] < Duration::from_millis(50),
        "half of the changes took longer than {:?}",
        times[10]
    );
    stop.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_admin_address_that_is_taken_is_an_error_that_names_it() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = other.local_addr().unwrap();
    let config = GatewayConfig {
        admin: Some(taken),
        ..GatewayConfig::on_loopback()
    };
    let error = run(
        FakeApi::new().client(),
        config,
        Context::system(1.0),
        CancellationToken::new(),
    )
    .await;
    let message = error.unwrap_err().to_string();
    assert_eq!(
        message,
        format!("failed to listen on {taken} for the load balancer's metrics and status")
    );
}
