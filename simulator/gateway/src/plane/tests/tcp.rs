//! Services as plain TCP.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::lab::{Backend, Client, Lab, nobody};
use crate::testing::{service, slice};

/// A Service whose clusterIP is a loopback address, and its socket.
async fn at(name: &str) -> (Value, TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.21.128.9:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut service = service(name);
    service["spec"]["clusterIP"] = address.ip().to_string().into();
    service["spec"]["ports"][0]["port"] = address.port().into();
    (service, listener, address)
}

/// A server that waits for the end of what the client says before it answers.
async fn counting() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut said = Vec::new();
                stream.read_to_end(&mut said).await.unwrap();
                stream
                    .write_all(format!("{} bytes", said.len()).as_bytes())
                    .await
                    .unwrap();
            });
        }
    });
    address
}

#[tokio::test]
async fn a_service_carries_any_protocol_and_each_direction_ends_by_itself() {
    let (service, listener, address) = at("a").await;
    let mut lab = Lab::start([service, slice("a", 0, counting().await)]).await;
    lab.add(listener);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[7; 100_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "100000 bytes");
}

#[tokio::test]
async fn a_service_passes_dead_endpoints_over() {
    let backend = Backend::saying("alive").await;
    let (service, listener, address) = at("a").await;
    let mut lab = Lab::start([
        service,
        slice("a", 0, nobody().await),
        slice("a", 1, nobody().await),
        slice("a", 2, backend.address),
    ])
    .await;
    lab.add(listener);
    for _ in 0..10 {
        assert_eq!(Client::connect(address).await.get("/").await.body, "alive");
    }
}

#[tokio::test]
async fn a_service_without_endpoints_resets_the_connection() {
    let (service, listener, address) = at("a").await;
    let mut lab = Lab::start([service]).await;
    lab.add(listener);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let error = stream.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_stop_ends_quiet_connections_and_carries_busy_ones_on() {
    let (service, listener, address) = at("a").await;
    let mut lab = Lab::start([service, slice("a", 0, counting().await)]).await;
    lab.add(listener);
    let mut busy = TcpStream::connect(address).await.unwrap();
    let mut quiet = TcpStream::connect(address).await.unwrap();
    busy.write_all(b"some").await.unwrap();
    quiet.write_all(b"some").await.unwrap();
    let closing = tokio::spawn(lab.close());
    let mut said = 4;
    let pause = Duration::from_millis(200);
    let mut byte = [0; 1];
    while tokio::time::timeout(pause, quiet.read(&mut byte))
        .await
        .is_err()
    {
        busy.write_all(b"more").await.unwrap();
        said += 4;
    }
    busy.shutdown().await.unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, format!("{said} bytes"));
    closing.await.unwrap();
}
