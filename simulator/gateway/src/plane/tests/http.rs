//! Requests that go well.

use ::http::{Method, Request, Response, Version, header};
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::lab::{Backend, Body, Lab, Reply, text};
use crate::testing::{route, service, slice};

fn to(service: &str) -> Value {
    json!([{"backendRefs": [{"name": service, "port": 80}]}])
}

async fn serving(backend: &Backend, rules: Value) -> Lab {
    Lab::start([
        route("r", &[], rules),
        service("a"),
        slice("a", 0, backend.address),
    ])
    .await
}

/// A body whose frames are sent by hand.
fn streamed() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let frames = futures::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let frames = futures::StreamExt::map(frames, |bytes| Ok(Frame::data(bytes)));
    (sender, BodyExt::boxed(StreamBody::new(frames)))
}

/// Answers with the method, the path and the headers it got.
async fn mirror(request: Request<Incoming>) -> Response<Body> {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    let told = json!({"method": request.method().as_str(), "path": request.uri().to_string(), "headers": headers});
    Response::new(text(told.to_string()))
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let backend = Backend::saying("hello").await;
    let lab = serving(&backend, to("a")).await;
    let mut client = lab.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.body, "hello");
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn the_backend_learns_who_asked_and_what_for() {
    let backend = Backend::start(mirror).await;
    let lab = serving(&backend, to("a")).await;
    let request = Request::get("/path?query=1")
        .header("host", "Lab.test:8080")
        .header("x-forwarded-for", "10.9.8.7")
        .header("connection", "keep-alive, x-private")
        .header("x-private", "1")
        .body(text(""))
        .unwrap();
    let reply = Reply::of(lab.client().await.send(request).await).await;
    let told: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(told["path"], "/path?query=1");
    let headers: Vec<_> = told["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|h| h.as_str().unwrap())
        .collect();
    for expected in [
        "host: Lab.test:8080",
        "x-forwarded-for: 10.9.8.7, 127.0.0.1",
        "x-forwarded-proto: http",
        "x-forwarded-host: Lab.test:8080",
    ] {
        assert!(headers.contains(&expected), "{expected}: {headers:?}");
    }
    assert!(
        !headers
            .iter()
            .any(|h| h.starts_with("x-private") || h.starts_with("connection")),
        "{headers:?}"
    );
}

#[tokio::test]
async fn filters_change_requests_and_responses() {
    let backend = Backend::start(mirror).await;
    let rules = json!([
        {"matches": [{"path": {"value": "/old"}}], "filters": [
            {"type": "URLRewrite", "urlRewrite": {"hostname": "new.test", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}}},
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-rule", "value": "1"}]}},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "x-seen", "value": "yes"}]}},
        ], "backendRefs": [{"name": "a", "port": 80, "filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-backend", "value": "2"}]}}]}]},
        {"matches": [{"path": {"value": "/moved"}}], "filters": [
            {"type": "RequestRedirect", "requestRedirect": {"hostname": "example.com", "statusCode": 301}}]},
    ]);
    let lab = serving(&backend, rules).await;
    let reply = lab.get("/old/page?x=1").await;
    let told: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(told["path"], "/new/page?x=1");
    let headers = told["headers"].to_string();
    for expected in [
        "host: new.test",
        "x-rule: 1",
        "x-backend: 2",
        "x-forwarded-host: lab.test",
    ] {
        assert!(headers.contains(expected), "{expected}: {headers}");
    }
    assert_eq!(reply.headers["x-seen"], "yes");

    let reply = lab.get("/moved/on").await;
    assert_eq!(reply.status, 301);
    let expected = format!("http://example.com:{}/moved/on", lab.address.port());
    assert_eq!(reply.headers["location"], expected.as_str());
}

#[tokio::test]
async fn a_response_is_passed_on_while_it_is_made() {
    let (frames, body) = streamed();
    let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
    let backend = Backend::start(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body) }
    })
    .await;
    let lab = serving(&backend, to("a")).await;
    frames.send("first".into()).await.unwrap();
    let request = Request::get("/")
        .header("host", "x")
        .body(text(""))
        .unwrap();
    let mut response = lab.client().await.send(request).await;
    let first = response
        .body_mut()
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    assert_eq!(first, "first");
    frames.send("second".into()).await.unwrap();
    drop(frames);
    let rest = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(rest, "second");
}

#[tokio::test]
async fn a_request_is_passed_on_while_it_comes() {
    let (seen, mut saw) = mpsc::channel(4);
    let backend = Backend::start(move |mut request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            while let Some(Ok(frame)) = request.body_mut().frame().await {
                seen.send(frame.into_data().unwrap()).await.unwrap();
            }
            Response::new(text("done"))
        }
    })
    .await;
    let lab = serving(&backend, to("a")).await;
    let (frames, body) = streamed();
    let mut client = lab.client().await;
    let request = Request::post("/").header("host", "x").body(body).unwrap();
    let sending =
        tokio::spawn(async move { (Reply::of(client.send(request).await).await, client) });
    frames.send("first".into()).await.unwrap();
    assert_eq!(saw.recv().await.unwrap(), "first");
    frames.send("second".into()).await.unwrap();
    assert_eq!(saw.recv().await.unwrap(), "second");
    drop(frames);
    let (reply, mut client) = sending.await.unwrap();
    assert_eq!(reply.body, "done");
    assert_eq!(client.get("/").await.body, "done");
    assert_eq!(
        backend.connections(),
        1,
        "the connection is kept after a request with a body"
    );
}

#[tokio::test]
async fn large_bodies_arrive_whole_both_ways() {
    let backend = Backend::start(|request: Request<Incoming>| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(text(body))
    })
    .await;
    let lab = serving(&backend, to("a")).await;
    let sent: String = (0..400_000)
        .map(|n| char::from(b'a' + (n % 26) as u8))
        .collect();
    let request = Request::post("/")
        .header("host", "x")
        .body(text(sent.clone()))
        .unwrap();
    let reply = Reply::of(lab.client().await.send(request).await).await;
    assert!(reply.body == sent);
}

#[tokio::test]
async fn head_and_not_modified_keep_their_headers_without_a_body() {
    let backend = Backend::start(|request: Request<Incoming>| async move {
        let status = if request.method() == Method::HEAD {
            200
        } else {
            304
        };
        let body = if status == 304 {
            text("")
        } else {
            text("hello")
        };
        Response::builder()
            .status(status)
            .header("etag", "\"1\"")
            .body(body)
            .unwrap()
    })
    .await;
    let lab = serving(&backend, to("a")).await;
    let mut client = lab.client().await;
    for method in [Method::HEAD, Method::GET, Method::HEAD] {
        let request = Request::builder()
            .method(method.clone())
            .uri("/")
            .header("host", "x");
        let reply = Reply::of(client.send(request.body(text("")).unwrap()).await).await;
        assert_eq!(
            (reply.body.as_str(), &reply.headers["etag"]),
            ("", &"\"1\"".parse().unwrap())
        );
        if method == Method::HEAD {
            assert_eq!(reply.headers["content-length"], "5");
        }
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_change_of_protocol_joins_client_and_backend() {
    let backend = Backend::start(|mut request: Request<Incoming>| async move {
        assert_eq!(request.headers()[header::CONNECTION], "upgrade");
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut word = [0; 4];
            while stream.read_exact(&mut word).await.is_ok() {
                word.reverse();
                stream.write_all(&word).await.unwrap();
            }
        });
        let response = Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "echo");
        response.body(text("")).unwrap()
    })
    .await;
    let lab = serving(&backend, to("a")).await;
    let request = Request::get("/")
        .header("host", "x")
        .header("connection", "Upgrade")
        .header("upgrade", "echo");
    let mut response = lab
        .client()
        .await
        .send(request.body(text("")).unwrap())
        .await;
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()[header::UPGRADE], "echo");
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    for (sent, expected) in [(b"abcd", b"dcba"), (b"1234", b"4321")] {
        stream.write_all(sent).await.unwrap();
        let mut got = [0; 4];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, expected);
    }
}

async fn http2(lab: &Lab) -> http2::SendRequest<Body> {
    let stream = TcpStream::connect(lab.address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn http2_clients_reach_http1_backends() {
    let backend = Backend::start(mirror).await;
    let lab = serving(&backend, to("a")).await;
    let mut client = http2(&lab).await;
    let request = Request::get("http://lab.test/two?x=1")
        .header("cookie", "a=1")
        .header("cookie", "b=2");
    let reply = Reply::of(
        client
            .send_request(request.body(text("")).unwrap())
            .await
            .unwrap(),
    )
    .await;
    let told: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(told["path"], "/two?x=1");
    let headers = told["headers"].to_string();
    assert!(
        headers.contains("host: lab.test") && headers.contains("cookie: a=1; b=2"),
        "{headers}"
    );
}

#[tokio::test]
async fn http2_backends_get_http2_and_their_trailers_arrive() {
    let backend = Backend::start(|request: Request<Incoming>| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.uri().authority().unwrap(), "lab.test");
        let mut trailers = ::http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        Response::new(
            text("data")
                .with_trailers(async move { Some(Ok(trailers)) })
                .boxed(),
        )
    })
    .await;
    let mut grpc = service("a");
    grpc["spec"]["ports"][0]["appProtocol"] = "kubernetes.io/h2c".into();
    let lab = Lab::start([
        route("r", &[], to("a")),
        grpc,
        slice("a", 0, backend.address),
    ])
    .await;
    let mut client = http2(&lab).await;
    for _ in 0..3 {
        let request = Request::post("http://lab.test/")
            .header("te", "trailers")
            .body(text("ask"))
            .unwrap();
        let response = client.send_request(request).await.unwrap();
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(collected.to_bytes(), "data");
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn idle_backends_take_turns() {
    let (one, two, three) = (
        Backend::saying("1").await,
        Backend::saying("2").await,
        Backend::saying("3").await,
    );
    let lab = Lab::start([
        route("r", &[], to("a")),
        service("a"),
        slice("a", 0, one.address),
        slice("a", 1, two.address),
        slice("a", 2, three.address),
    ])
    .await;
    let mut client = lab.client().await;
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..30 {
        *counts.entry(client.get("/").await.body).or_default() += 1;
    }
    assert_eq!(counts.values().collect::<Vec<_>>(), [&10, &10, &10]);
}
