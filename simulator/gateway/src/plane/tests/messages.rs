//! Messages that two servers could read differently: none may reach a backend in doubt.

use std::sync::{Arc, Mutex};

use ::http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;

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

/// RFC 9112 §6.1 leaves the choice between refusing such a message and reading it as chunked
/// alone and closing the connection after it; hyper does the latter. Either way a request that
/// hides in the body stays a body.
#[tokio::test]
async fn nothing_hides_behind_a_length_and_a_coding_together() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    for (first, second) in [
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 4"),
    ] {
        let (lab, _backend, notes) = noting().await;
        let message =
            format!("POST / HTTP/1.1\r\nHost: x\r\n{first}\r\n{second}\r\n\r\n0\r\n\r\n{hidden}");
        let said = lab.raw(message.as_bytes()).await;
        assert_eq!(statuses(&said).len(), 1, "{first}: {said}");
        let notes = notes.lock().unwrap();
        assert!(
            notes.iter().all(|note| note == "POST / "),
            "{first}: {notes:?}"
        );
    }
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
    for message in [large, many] {
        assert_eq!(statuses(&lab.raw(message.as_bytes()).await), ["431"]);
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
    let two = "GET http://x/2 HTTP/1.1\r\nHost: y\r\nConnection: close\r\n\r\n";
    let said = lab.raw(format!("{one}{two}").as_bytes()).await;
    assert_eq!(statuses(&said), ["200", "200"], "{said}");
    assert_eq!(*notes.lock().unwrap(), ["POST /1 abc", "GET /2 "]);
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let (lab, _backend, notes) = noting().await;
    let message = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    let said = lab.raw(message.as_bytes()).await;
    assert_eq!(statuses(&said), ["100", "200"], "{said}");
    assert_eq!(*notes.lock().unwrap(), ["POST / abc"]);
}
