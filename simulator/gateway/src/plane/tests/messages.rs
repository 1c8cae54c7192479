//! Messages that two servers could read differently: none may reach a backend in doubt.

use std::sync::{Arc, Mutex};

use ::http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::lab::{Backend, Lab, text};
use crate::testing::{route, service, slice};

/// A backend that notes each request as `METHOD path body`.
async fn noting() -> (Lab, Backend, Arc<Mutex<Vec<String>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&notes);
    let backend = Backend::start(move |request: Request<Incoming>| {
        let notes = Arc::clone(&kept);
        async move {
            let (parts, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map(|body| body.to_bytes())
                .unwrap_or_default();
            let body = String::from_utf8_lossy(&body).into_owned();
            notes
                .lock()
                .unwrap()
                .push(format!("{} {} {body}", parts.method, parts.uri.path()));
            Response::new(text("ok"))
        }
    })
    .await;
    let rules = json!([{"backendRefs": [{"name": "a", "port": 80}]}]);
    let lab = Lab::start([
        route("r", &[], rules),
        service("a"),
        slice("a", 0, backend.address),
    ])
    .await;
    (lab, backend, notes)
}

/// Statuses of all responses in what a connection said.
fn statuses(said: &str) -> Vec<&str> {
    said.match_indices("HTTP/1.1 ")
        .map(|(at, _)| &said[at + 9..at + 12])
        .collect()
}

#[tokio::test]
async fn a_message_of_doubtful_length_is_refused() {
    let (lab, _backend, notes) = noting().await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\n";
    for (name, rest) in [
        (
            "two lengths",
            "Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
        ),
        ("a list of lengths", "Content-Length: 3, 5\r\n\r\nabcde"),
        ("a signed length", "Content-Length: +3\r\n\r\nabc"),
        ("a negative length", "Content-Length: -3\r\n\r\nabc"),
        ("a length in hexadecimal", "Content-Length: 0x3\r\n\r\nabc"),
        (
            "the same length twice",
            "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            "a length and a coding",
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: x\r\n\r\n",
        ),
        (
            "a coding and a length",
            "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: x\r\n\r\n",
        ),
        (
            "chunked twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "a coding before chunked",
            "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        ("a bare line feed at the end", "X-A: 1\n\n"),
        ("a bare carriage return", "X-A: 1\rX-B: 2\r\n\r\n"),
        (
            "chunked not last",
            "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        ),
        (
            "an unknown coding",
            "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        ),
        ("a folded header", "X-A: 1\r\n  folded\r\n\r\n"),
        (
            "a space before the colon",
            "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        ),
        ("a bare line feed in a name", "X-A\n: 1\r\n\r\n"),
        ("a null byte in a value", "X-A: a\0b\r\n\r\n"),
        ("a second host", "Host: y\r\nConnection: close\r\n\r\n"),
    ] {
        let said = lab.raw(format!("{head}{rest}").as_bytes()).await;
        assert_eq!(statuses(&said), ["400"], "{name}: {said}");
    }
    assert_eq!(*notes.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_broken_chunk_ends_the_connection() {
    let (lab, _backend, notes) = noting().await;
    for chunk in [
        "zz\r\n",
        "3;\n\r\nabc\r\n0\r\n\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "0\r\nX : 1\r\n\r\n",
    ] {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let said = lab.raw(format!("{head}{chunk}").as_bytes()).await;
        assert!(
            statuses(&said).iter().all(|status| *status != "200"),
            "{chunk:?}: {said}"
        );
    }
    assert!(
        notes
            .lock()
            .unwrap()
            .iter()
            .all(|note| note.starts_with("POST / "))
    );
}

#[tokio::test]
async fn heads_have_a_limit() {
    let (lab, _backend, notes) = noting().await;
    let large = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n",
        "a".repeat(40 * 1024)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
        "X-Many: 1\r\n".repeat(200)
    );
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(40 * 1024));
    for (message, status) in [(large, "431"), (many, "431"), (long, "414")] {
        assert_eq!(statuses(&lab.raw(message.as_bytes()).await), [status]);
    }
    assert!(notes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_request_to_a_server_is_refused() {
    let (lab, _backend, notes) = noting().await;
    for (message, status) in [
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        (
            "GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n",
            "400",
        ),
        (
            "CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\nConnection: close\r\n\r\n",
            "501",
        ),
        (
            "GET http://x/ HTTP/1.1\r\nHost: y\r\nConnection: close\r\n\r\n",
            "400",
        ),
        (
            "GET http://user@x/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            "400",
        ),
        (
            "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        ("GET / HTTP/3.0\r\nHost: x\r\n\r\n", "505"),
        ("NOT HTTP\r\n\r\n", "400"),
        ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
    ] {
        let said = lab.raw(message.as_bytes()).await;
        assert_eq!(statuses(&said), [status], "{message:?}: {said}");
    }
    assert!(notes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (lab, _backend, notes) = noting().await;
    let one = "POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let two = "GET http://x/2 HTTP/1.1\r\nHost: X\r\nConnection: close\r\n\r\n";
    let said = lab.raw(format!("{one}{two}").as_bytes()).await;
    assert_eq!(statuses(&said), ["200", "200"], "{said}");
    assert_eq!(*notes.lock().unwrap(), ["POST /1 abc", "GET /2 "]);
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let (lab, _backend, notes) = noting().await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
    let mut stream = tokio::net::TcpStream::connect(lab.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut word = [0; 25];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(statuses(&said), ["200"], "{said}");
    assert_eq!(*notes.lock().unwrap(), ["POST / abc"]);
}

#[tokio::test]
async fn nobody_is_asked_to_send_a_body_that_has_no_place() {
    let (lab, _backend, notes) = noting().await;
    let head =
        "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n";
    let mut stream = tokio::net::TcpStream::connect(lab.address).await.unwrap();
    stream
        .write_all(format!("{head}\r\n").as_bytes())
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(statuses(&said), ["400"], "there is no host: {said}");
    assert!(notes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bodies_have_a_limit_told_or_not() {
    let backend = Backend::start(|request: Request<Incoming>| async move {
        let body = request.into_body().collect().await;
        Response::new(text(if body.is_ok() { "whole" } else { "cut" }))
    })
    .await;
    let rules = json!([{"backendRefs": [{"name": "a", "port": 80}]}]);
    let objects = [
        route("r", &[], rules),
        service("a"),
        slice("a", 0, backend.address),
    ];
    let lab = Lab::with(0, 5, objects).await;
    let post = |rest: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{rest}");
    for (rest, status) in [
        ("Connection: close\r\nContent-Length: 5\r\n\r\nabcde", "200"),
        (
            "Connection: close\r\nContent-Length: 6\r\n\r\nabcdef",
            "413",
        ),
        (
            "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n",
            "200",
        ),
        (
            "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
            "413",
        ),
    ] {
        let said = lab.raw(post(rest).as_bytes()).await;
        assert_eq!(statuses(&said), [status], "{rest:?}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_is_not_waited_for() {
    let (lab, _backend, _notes) = noting().await;
    let head = "POST / HTTP/1.1\r\nHost: x\r\n";
    for (message, statuses_told) in [
        (String::new(), &[][..]),
        (head.to_owned(), &["408"]),
        (format!("{head}Content-Length: 3\r\n\r\na"), &["408"]),
    ] {
        let mut stream = tokio::net::TcpStream::connect(lab.address).await.unwrap();
        stream.write_all(message.as_bytes()).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(statuses(&said), statuses_told, "{message:?}: {said}");
    }
}
