//! Finer points of HTTP/1.1, byte by byte.

use std::sync::Arc;

use ::http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::lab::{Backend, Lab, scripted, text};
use crate::testing::{route, service, slice};

async fn before(address: std::net::SocketAddr) -> Lab {
    let rules = json!([{"backendRefs": [{"name": "a", "port": 80}]}]);
    Lab::start([route("r", &[], rules), service("a"), slice("a", 0, address)]).await
}

/// What a lab answers to this request when its backend says that.
async fn through(request: &str, answer: &'static str) -> String {
    let lab = before(scripted(answer).await).await;
    lab.raw(request.as_bytes()).await
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_client_that_has_said_everything_still_gets_its_answer() {
    let backend = Backend::saying("late").await;
    let lab = before(backend.address).await;
    let mut stream = TcpStream::connect(lab.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.ends_with("late"), "{said}");
}

#[tokio::test]
async fn trailers_of_requests_reach_the_backend() {
    let backend = Backend::start(|request: Request<Incoming>| async move {
        let body = request.into_body().collect().await.unwrap();
        let sum = body.trailers().map(|trailers| trailers["x-sum"].clone());
        let words = format!("{sum:?} {}", String::from_utf8_lossy(&body.to_bytes()));
        Response::new(text(words))
    })
    .await;
    let lab = before(backend.address).await;
    let said = lab
        .raw(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n")
        .await;
    assert!(said.ends_with("Some(\"7\") abc"), "{said}");
}

#[tokio::test]
async fn trailers_of_responses_reach_the_client() {
    let said = through(
        GET,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\nContent-Length: 9\r\n\r\n",
    )
    .await;
    assert!(said.contains("transfer-encoding: chunked\r\n"), "{said}");
    assert!(
        said.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"),
        "{said}"
    );
}

#[tokio::test]
async fn a_response_without_a_length_ends_with_its_connection() {
    let said = through(GET, "HTTP/1.1 200 OK\r\n\r\nto the end").await;
    assert!(said.ends_with("a\r\nto the end\r\n0\r\n\r\n"), "{said}");
    // A client of HTTP/1.0 knows no chunks.
    let said = through(
        "GET / HTTP/1.0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nto the end",
    )
    .await;
    assert!(said.ends_with("\r\n\r\nto the end"), "{said}");
    assert!(said.contains("connection: close"), "{said}");
}

#[tokio::test]
async fn a_client_of_http_1_0_keeps_its_connection_when_it_asks_to() {
    let backend = Backend::saying("ok").await;
    let lab = before(backend.address).await;
    let one = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let said = lab
        .raw(format!("{one}GET / HTTP/1.0\r\n\r\n").as_bytes())
        .await;
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 2, "{said}");
    assert!(said.contains("connection: keep-alive"), "{said}");
}

#[tokio::test]
async fn words_before_the_response_are_passed_on_and_are_not_the_response() {
    let backend = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let said = through(GET, backend).await;
    let expected = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n";
    assert!(said.starts_with(expected), "{said}");
    assert!(said.ends_with("\r\n\r\nok"), "{said}");
    // Whoever speaks HTTP/1.0 would take them for the response.
    let said = through("GET / HTTP/1.0\r\nHost: x\r\n\r\n", backend).await;
    assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
}

#[tokio::test]
async fn an_early_hint_does_not_wait_for_the_response() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lab = before(listener.local_addr().unwrap()).await;
    let mut client = TcpStream::connect(lab.address).await.unwrap();
    client.write_all(GET.as_bytes()).await.unwrap();
    let (mut backend, _) = listener.accept().await.unwrap();
    let hint = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    backend.write_all(hint).await.unwrap();
    let mut said = [0; 40];
    client.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, hint);
    // The response comes only now that the client has the hint.
    let response = b"HTTP/1.1 204 No Content\r\n\r\n";
    backend.write_all(response).await.unwrap();
    let mut said = [0; 12];
    client.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 204");
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_reaches_the_client() {
    let lab =
        before(scripted("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno").await).await;
    let mut stream = TcpStream::connect(lab.address).await.unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nsome")
        .await
        .unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    assert!(said.ends_with("no"), "{said}");
}

#[tokio::test]
async fn a_response_that_makes_no_sense_is_an_error_of_the_backend() {
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 2",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "",
    ] {
        let said = through(GET, answer).await;
        assert!(said.starts_with("HTTP/1.1 502 "), "{answer:?}: {said}");
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_is_seen_to_break_off() {
    let said = through(GET, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").await;
    assert!(
        said.contains("content-length: 9") && said.ends_with("part"),
        "{said}"
    );
    let said = through(
        GET,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
    )
    .await;
    assert!(said.ends_with("4\r\npart\r\n"), "no last chunk: {said}");
}

#[tokio::test]
async fn a_date_is_added_where_there_is_none_and_kept_where_there_is_one() {
    let said = through(GET, "HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(
        said.contains("\r\ndate: ") && said.contains(" GMT\r\n"),
        "{said}"
    );
    assert!(!said.contains("content-length"), "{said}");
    let kept = "Date: Sun, 06 Nov 1994 08:49:37 GMT";
    let said = through(
        GET,
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(said.matches("ate: ").count(), 1, "{said}");
    assert!(said.to_lowercase().contains(&kept.to_lowercase()), "{said}");
}

#[tokio::test]
async fn a_body_that_is_sent_before_it_is_answered_does_not_block() {
    // More than all buffers on the way hold: who only sends and who only answers would wait for
    // each other forever.
    const SIZE: usize = 8 * 1024 * 1024;
    let backend = Backend::start(|request: Request<Incoming>| async move {
        Response::new(request.into_body().boxed())
    })
    .await;
    let lab = before(backend.address).await;
    let stream = TcpStream::connect(lab.address).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let sending = tokio::spawn(async move {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {SIZE}\r\n\r\n"
        );
        writing.write_all(head.as_bytes()).await.unwrap();
        writing.write_all(&vec![b'a'; SIZE]).await.unwrap();
        writing
    });
    let mut said = Vec::new();
    reading.read_to_end(&mut said).await.unwrap();
    sending.await.unwrap();
    let letters = said.iter().filter(|byte| **byte == b'a').count();
    assert!(letters >= SIZE, "{letters} of {SIZE}");
}

#[tokio::test]
async fn every_header_is_passed_on_as_often_as_it_came() {
    let backend = Backend::start(|request: Request<Incoming>| async move {
        let count = request.headers().get_all("x-many").iter().count();
        let mut response = Response::new(text(count.to_string()));
        let headers: &mut HeaderMap = response.headers_mut();
        headers.append("set-cookie", "a=1".parse().unwrap());
        headers.append("set-cookie", "b=2".parse().unwrap());
        response
    })
    .await;
    let lab = before(backend.address).await;
    let said = lab
        .raw(b"GET / HTTP/1.1\r\nHost: x\r\nX-Many: 1\r\nConnection: close\r\nX-Many: 2\r\n\r\n")
        .await;
    assert!(said.ends_with("\r\n\r\n2"), "{said}");
    assert!(
        said.contains("set-cookie: a=1\r\nset-cookie: b=2\r\n"),
        "{said}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_left_is_not_served_for_ever() {
    struct Dropped(Arc<Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (arrived, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, ends) = (Arc::clone(&arrived), Arc::clone(&gone));
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
    let lab = before(backend.address).await;
    let mut stream = TcpStream::connect(lab.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    arrived.notified().await;
    drop(stream);
    gone.notified().await;
}
