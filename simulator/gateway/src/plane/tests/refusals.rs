//! Calls that a backend of HTTP/2 refuses: it says that it did nothing with them, so they may be
//! made again, whatever they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::Response;
use bytes::Bytes;
use h2::Reason;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::http2::{call, client, frame};
use super::lab::{Lab, text};
use crate::testing::{route, service, slice};

const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;

/// A backend that may refuse calls, and echoes those that it takes.
struct Refuser {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

/// How a connection begins.
#[derive(Clone, Copy)]
enum Opening {
    /// As usual.
    Well,
    /// After the first call: the connection ends, with this for the last stream that counted.
    GoAway(u32),
}

impl Refuser {
    /// The first `refused` calls are refused once the beginning of their body has come.
    async fn start(refused: usize) -> Self {
        Self::opening(refused, 1, |_| Opening::Well).await
    }

    /// The same, once this many bytes of their body have come.
    async fn opening(refused: usize, after: usize, opening: fn(usize) -> Opening) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refuser = Self {
            address: listener.local_addr().unwrap(),
            calls: Arc::default(),
            connections: Arc::default(),
        };
        let (calls, connections) = (Arc::clone(&refuser.calls), Arc::clone(&refuser.connections));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = connections.fetch_add(1, Ordering::Relaxed);
                match opening(number) {
                    Opening::Well => {
                        tokio::spawn(serve(stream, refused, after, Arc::clone(&calls)));
                    }
                    Opening::GoAway(last) => {
                        tokio::spawn(go_away(stream, last));
                    }
                }
            }
        });
        refuser
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

async fn serve(stream: TcpStream, refused: usize, after: usize, calls: Arc<AtomicUsize>) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let number = calls.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let mut body = request.into_body();
            if number < refused {
                let mut read = 0;
                while read < after {
                    let Some(Ok(data)) = body.data().await else {
                        break;
                    };
                    let _ = body.flow_control().release_capacity(data.len());
                    read += data.len();
                }
                respond.send_reset(Reason::REFUSED_STREAM);
                return;
            }
            let mut echo = respond.send_response(Response::new(()), false).unwrap();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                echo.send_data(data, false).unwrap();
            }
            echo.send_data(Bytes::new(), true).unwrap();
        });
    }
}

/// Waits for a call and its body, and ends the connection without an answer.
async fn go_away(mut stream: TcpStream, last: u32) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == DATA {
            break;
        }
    }
    let payload = [last.to_be_bytes(), 0_u32.to_be_bytes()].concat();
    let bytes = frame(GO_AWAY, 0, 0, &payload);
    stream.write_all(&bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

async fn lab(backends: &[&Refuser]) -> Lab {
    let mut objects = Vec::new();
    let mut target = service("a");
    target["spec"]["ports"][0]["appProtocol"] = "kubernetes.io/h2c".into();
    objects.push(target);
    for (number, backend) in backends.iter().enumerate() {
        objects.push(slice("a", number, backend.address));
    }
    objects.push(route(
        "r",
        &[],
        json!([{"backendRefs": [{"name": "a", "port": 80}]}]),
    ));
    Lab::start(objects).await
}

/// The answer to a call with this body, or the status of gRPC that stands for none.
async fn answer(lab: &Lab, body: impl Into<Bytes>) -> Result<String, String> {
    let asking = async {
        let mut sender = client(lab).await;
        let response = sender.send_request(call(text(body))).await.unwrap();
        let (parts, body) = response.into_parts();
        if let Some(status) = parts.headers.get("grpc-status") {
            return Err(status.to_str().unwrap().to_owned());
        }
        let body = body.collect().await.unwrap().to_bytes();
        Ok(String::from_utf8(body.to_vec()).unwrap())
    };
    tokio::time::timeout(Duration::from_secs(10), asking)
        .await
        .expect("there is an answer")
}

#[tokio::test]
async fn a_refused_call_is_made_elsewhere_with_its_whole_body() {
    let (never, always) = (Refuser::start(usize::MAX).await, Refuser::start(0).await);
    let lab = lab(&[&never, &always]).await;
    for number in 0..6 {
        let words = format!("call {number}");
        assert_eq!(answer(&lab, words.clone()).await, Ok(words));
    }
    assert!(never.calls() > 0, "some calls were refused");
    assert_eq!(always.calls(), 6);
}

#[tokio::test]
async fn a_call_that_the_only_backend_refuses_is_made_there_once_more() {
    let busy = Refuser::start(1).await;
    let lab = lab(&[&busy]).await;
    assert_eq!(answer(&lab, "again").await, Ok("again".into()));
    assert_eq!(busy.calls(), 2);
    assert_eq!(busy.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_call_that_everybody_refuses_fails_before_long() {
    let (one, two) = (
        Refuser::start(usize::MAX).await,
        Refuser::start(usize::MAX).await,
    );
    let lab = lab(&[&one, &two]).await;
    assert_eq!(answer(&lab, "x").await, Err("14".into()));
    assert_eq!(
        one.calls() + two.calls(),
        3,
        "each once, and the first again"
    );
}

#[tokio::test]
async fn a_body_that_is_too_long_to_keep_is_not_sent_again() {
    let long = "a".repeat(100_000);
    let busy = Refuser::opening(1, long.len(), |_| Opening::Well).await;
    let lab = lab(&[&busy]).await;
    assert_eq!(answer(&lab, long.clone()).await, Err("14".into()));
    assert_eq!(busy.calls(), 1);
    assert_eq!(answer(&lab, long.clone()).await, Ok(long));
}

#[tokio::test]
async fn a_call_beyond_the_last_stream_of_a_closing_connection_goes_over_a_new_one() {
    let first_goes = |number| match number {
        0 => Opening::GoAway(0),
        _ => Opening::Well,
    };
    let restarting = Refuser::opening(0, 1, first_goes).await;
    let lab = lab(&[&restarting]).await;
    assert_eq!(answer(&lab, "still here").await, Ok("still here".into()));
    assert_eq!(restarting.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_call_that_a_closing_connection_counts_is_not_made_twice() {
    let loses = Refuser::opening(0, 1, |_| Opening::GoAway(1)).await;
    let lab = lab(&[&loses]).await;
    assert_eq!(answer(&lab, "once").await, Err("14".into()));
    assert_eq!(loses.connections.load(Ordering::Relaxed), 1);
}
