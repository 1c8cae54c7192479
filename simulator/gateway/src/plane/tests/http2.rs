//! HTTP/2, frame by frame where a client library would not do what is tested.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame as BodyFrame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use super::lab::{Backend, Body, Lab, text};
use crate::testing::{route, service, slice};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;

const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame as it came.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block without compression.
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in headers {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

const ASK: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "x"),
    (":path", "/"),
];

/// A connection that sends what it is told to.
struct Raw(TcpStream);

impl Raw {
    async fn connect(lab: &Lab) -> Self {
        let mut stream = TcpStream::connect(lab.address).await.unwrap();
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
        stream.write_all(&bytes).await.unwrap();
        Self(stream)
    }

    async fn send(&mut self, bytes: &[u8]) {
        // The other side may have had enough already.
        let _ = self.0.write_all(bytes).await;
    }

    /// A request without a body.
    async fn ask(&mut self, stream: u32, headers: &[(&str, &str)]) {
        let bytes = frame(HEADERS, 0x5, stream, &block(headers));
        self.send(&bytes).await;
    }

    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..9].try_into().unwrap()),
            payload,
        })
    }

    /// The next frame of one of these kinds.
    async fn until(&mut self, kinds: &[u8]) -> Option<Frame> {
        let waiting = async {
            loop {
                let frame = self.next().await?;
                if frame.kind == SETTINGS && frame.flags == 0 {
                    self.send(&crate::plane::tests::http2::frame(SETTINGS, 1, 0, &[]))
                        .await;
                }
                if kinds.contains(&frame.kind) {
                    return Some(frame);
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting)
            .await
            .expect("there is an answer")
    }
}

async fn lab(backend: &Backend, protocol: &str) -> Lab {
    let mut target = service("a");
    target["spec"]["ports"][0]["appProtocol"] = protocol.into();
    let rules: Value = json!([{"backendRefs": [{"name": "a", "port": 80}]}]);
    Lab::start([
        route("r", &[], rules),
        target,
        slice("a", 0, backend.address),
    ])
    .await
}

async fn counting() -> (Backend, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let backend = Backend::start(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Response::new(text("ok")) }
    })
    .await;
    (backend, seen)
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_goes_nowhere() {
    let (backend, seen) = counting().await;
    let lab = lab(&backend, "http").await;
    let [method, scheme, authority, path] = ASK;
    for (name, headers) in [
        (
            "a header of the connection",
            &[method, scheme, authority, path, ("connection", "close")][..],
        ),
        (
            "a transfer coding",
            &[
                method,
                scheme,
                authority,
                path,
                ("transfer-encoding", "chunked"),
            ],
        ),
        (
            "an upgrade",
            &[method, scheme, authority, path, ("upgrade", "websocket")],
        ),
        (
            "TE other than trailers",
            &[method, scheme, authority, path, ("te", "gzip")],
        ),
        (
            "a name in capitals",
            &[method, scheme, authority, path, ("X-A", "1")],
        ),
        (
            "a line break in a value",
            &[method, scheme, authority, path, ("x-a", "1\r\nhost: y")],
        ),
        (
            "a line break in the path",
            &[method, scheme, authority, (":path", "/ HTTP/1.1\r\nx: y")],
        ),
        (
            "a space in the method",
            &[(":method", "GET /x"), scheme, authority, path],
        ),
        (
            "a null byte in a value",
            &[method, scheme, authority, path, ("x-a", "1\0")],
        ),
        ("no path", &[method, scheme, authority]),
        ("no method", &[scheme, authority, path]),
        (
            "two paths",
            &[method, scheme, authority, path, (":path", "/b")],
        ),
        (
            "a pseudo-header after the others",
            &[method, scheme, authority, ("x-a", "1"), path],
        ),
        (
            "an unknown pseudo-header",
            &[method, scheme, authority, path, (":secret", "1")],
        ),
        (
            "a pseudo-header of responses",
            &[method, scheme, authority, path, (":status", "200")],
        ),
    ] {
        let mut raw = Raw::connect(&lab).await;
        raw.ask(1, headers).await;
        let answer = raw.until(&[HEADERS, RESET, GO_AWAY]).await;
        // A status, where there is one, is the first header of the block and never indexed 200.
        let refused = answer
            .is_none_or(|frame| frame.kind != HEADERS || frame.payload.first() != Some(&0x88));
        assert!(refused, "{name}");
    }
    assert_eq!(seen.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_request_for_two_hosts_is_refused() {
    let (backend, seen) = counting().await;
    let lab = lab(&backend, "http").await;
    let mut raw = Raw::connect(&lab).await;
    let [method, scheme, authority, path] = ASK;
    raw.ask(1, &[method, scheme, authority, path, ("host", "y")])
        .await;
    let answer = raw.until(&[HEADERS]).await.unwrap();
    // 0x8c is the entry of `:status: 400` in the static table.
    assert_eq!(answer.payload[0], 0x8c);
    assert_eq!(seen.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn headers_have_a_limit() {
    let (backend, seen) = counting().await;
    let lab = lab(&backend, "http").await;
    let mut raw = Raw::connect(&lab).await;
    let [method, scheme, authority, path] = ASK;
    let value = "a".repeat(120);
    let mut headers = vec![method, scheme, authority, path];
    headers.resize(400, ("x-large", value.as_str()));
    let bytes = block(&headers);
    let mut parts = bytes.chunks(16_000).peekable();
    let mut kind = HEADERS;
    while let Some(part) = parts.next() {
        let last = if parts.peek().is_none() { 0x4 } else { 0 };
        let end = if kind == HEADERS { 0x1 } else { 0 };
        let bytes = frame(kind, last | end, 1, part);
        raw.send(&bytes).await;
        kind = 9;
    }
    // 431 as a literal, or the end of the stream or of the connection.
    let answer = raw.until(&[HEADERS, RESET, GO_AWAY]).await;
    assert!(answer.is_none_or(|frame| frame.payload.first() != Some(&0x88)));
    assert_eq!(seen.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let (backend, seen) = counting().await;
    let lab = lab(&backend, "http").await;
    let mut raw = Raw::connect(&lab).await;
    let mut bytes = Vec::new();
    for stream in (1..4000).step_by(2) {
        bytes.extend(frame(HEADERS, 0x5, stream, &block(&ASK)));
        bytes.extend(frame(RESET, 0, stream, &8_u32.to_be_bytes()));
    }
    raw.send(&bytes).await;
    let away = raw.until(&[GO_AWAY]).await;
    if let Some(away) = away {
        assert_eq!(away.word(4), ENHANCE_YOUR_CALM);
    }
    let seen = seen.load(Ordering::Relaxed);
    assert!(seen < 200, "{seen} of 2000 requests reached the backend");
}

#[tokio::test]
async fn a_reset_stream_is_taken_from_the_backend_too() {
    struct Dropped(Arc<Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (arrived, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, ends) = (Arc::clone(&arrived), Arc::clone(&gone));
    for protocol in ["http", "kubernetes.io/h2c"] {
        let (tell, ends) = (Arc::clone(&tell), Arc::clone(&ends));
        let backend = Backend::start(move |_| {
            let guard = Dropped(Arc::clone(&ends));
            tell.notify_one();
            async move {
                let _guard = guard;
                std::future::pending::<()>().await;
                Response::new(text(""))
            }
        })
        .await;
        let lab = lab(&backend, protocol).await;
        let mut raw = Raw::connect(&lab).await;
        raw.ask(1, &ASK).await;
        arrived.notified().await;
        let reset = frame(RESET, 0, 1, &8_u32.to_be_bytes());
        raw.send(&reset).await;
        gone.notified().await;
        // The connection goes on.
        let ping = frame(PING, 0, 0, &[7; 8]);
        raw.send(&ping).await;
        assert_eq!(raw.until(&[PING]).await.unwrap().payload, [7; 8]);
    }
}

#[tokio::test]
async fn a_stop_says_so_and_lets_open_streams_finish() {
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
    let lab = lab(&backend, "http").await;
    let mut raw = Raw::connect(&lab).await;
    raw.ask(1, &ASK).await;
    arrived.notified().await;
    let closing = tokio::spawn(lab.close());
    let away = raw.until(&[GO_AWAY]).await.unwrap();
    assert_eq!(away.word(4), 0, "no error");
    go.notify_one();
    // h2 asks for a sign of life before it names the last stream.
    loop {
        let frame = raw.until(&[PING, DATA]).await.unwrap();
        if frame.kind == DATA && !frame.payload.is_empty() {
            assert_eq!((frame.stream, &frame.payload[..]), (1, &b"finished"[..]));
            break;
        }
        if frame.kind == PING && frame.flags == 0 {
            let pong = crate::plane::tests::http2::frame(PING, 1, 0, &frame.payload);
            raw.send(&pong).await;
        }
    }
    while let Some(frame) = raw.next().await {
        if frame.kind == PING && frame.flags == 0 {
            let pong = crate::plane::tests::http2::frame(PING, 1, 0, &frame.payload);
            raw.send(&pong).await;
        }
    }
    closing.await.unwrap();
}

pub(super) async fn client(lab: &Lab) -> http2::SendRequest<Body> {
    let stream = TcpStream::connect(lab.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

pub(super) fn call(body: Body) -> Request<Body> {
    Request::post("http://lab.test/shop.Cart/Add")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap()
}

#[tokio::test]
async fn a_grpc_answer_of_trailers_only_arrives_as_one() {
    let backend = Backend::start(|_| async {
        let empty = http_body_util::Empty::<Bytes>::new().map_err(|never| match never {});
        Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "12")
            .header("grpc-message", "unknown service")
            .body(empty.boxed())
            .unwrap()
    })
    .await;
    let lab = lab(&backend, "kubernetes.io/h2c").await;
    let response = client(&lab)
        .await
        .send_request(call(text("x")))
        .await
        .unwrap();
    assert!(hyper::body::Body::is_end_stream(response.body()));
    assert_eq!(response.headers()["grpc-status"], "12");
    assert_eq!(response.headers()["grpc-message"], "unknown service");
    assert!(!response.headers().contains_key("content-length"));
}

/// A body whose frames are sent by hand.
fn streamed() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let frames = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let frames = futures::StreamExt::map(frames, |bytes| Ok(BodyFrame::data(bytes)));
    (sender, BodyExt::boxed(StreamBody::new(frames)))
}

#[tokio::test]
async fn both_directions_of_a_call_flow_at_once_and_end_by_themselves() {
    let backend = Backend::start(|request: Request<Incoming>| async move {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let echo = request
            .into_body()
            .with_trailers(async move { Some(Ok(trailers)) });
        Response::new(echo.boxed())
    })
    .await;
    let lab = lab(&backend, "kubernetes.io/h2c").await;
    let (frames, body) = streamed();
    let mut sender = client(&lab).await;
    let mut response = sender.send_request(call(body)).await.unwrap();
    for word in ["one", "two", "three"] {
        frames.send(word.into()).await.unwrap();
        let echo = response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(echo.into_data().unwrap(), word);
    }
    // The client's side ends; the backend's goes on with what it still has to say.
    drop(frames);
    let rest = response.into_body().collect().await.unwrap();
    assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_backend_that_answers_before_the_end_of_a_call_is_heard() {
    let backend = Backend::start(|_| async { Response::new(text("enough")) }).await;
    let lab = lab(&backend, "kubernetes.io/h2c").await;
    let (frames, body) = streamed();
    let response = client(&lab).await.send_request(call(body)).await.unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.to_bytes(), "enough");
    drop(frames);
}

#[tokio::test]
async fn a_client_of_http1_reaches_a_backend_of_http2() {
    let backend = Backend::start(|request: Request<Incoming>| async move {
        assert_eq!(request.version(), ::http::Version::HTTP_2);
        let host = request.uri().authority().unwrap().to_string();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(text([host.as_bytes(), b" ", &body].concat()))
    })
    .await;
    let lab = lab(&backend, "kubernetes.io/h2c").await;
    let said = lab
        .raw(b"POST / HTTP/1.1\r\nHost: lab.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        .await;
    assert!(said.ends_with("lab.test abc"), "{said}");
}
