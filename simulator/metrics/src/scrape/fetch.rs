//! Asking one target.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Source, Target};
use crate::exposition::{self, Exposition, Format, LONGEST};

/// Formats that are read, the plainer one first.
const FORMATS: &str =
    "text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1";

/// Asks a target within its time.
///
/// # Errors
/// What a student reads as the target's error.
pub(super) async fn fetch(target: &Target) -> Result<Exposition, String> {
    match &target.source {
        Source::Refused(problem) => Err(problem.clone()),
        Source::Own(expose) => read(&expose(), Format::Text),
        Source::Http { address, path } => {
            let timeout = target.timeout;
            match tokio::time::timeout(timeout, get(*address, path, timeout)).await {
                Ok(answer) => {
                    let (format, body) = answer?;
                    let text = std::str::from_utf8(&body)
                        .map_err(|error| format!("the answer is not UTF-8: {error}"))?;
                    read(text, format)
                }
                Err(_) => Err(format!("no answer within {} s", timeout.as_secs_f64())),
            }
        }
    }
}

fn read(text: &str, format: Format) -> Result<Exposition, String> {
    exposition::parse(text, format).map_err(|error| error.to_string())
}

async fn get(
    address: SocketAddr,
    path: &str,
    timeout: Duration,
) -> Result<(Format, Bytes), String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("cannot connect to {address}: {error}"))?;
    let said = |error: hyper::Error| format!("{address} did not answer in HTTP: {error}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(said)?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, "devops-lab")
        .header(ACCEPT, FORMATS)
        .header(
            "X-Prometheus-Scrape-Timeout-Seconds",
            timeout.as_secs_f64().to_string(),
        )
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("{path:?} is not a path: {error}"))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(said)?;
        if response.status() != StatusCode::OK {
            return Err(format!("server returned HTTP status {}", response.status()));
        }
        let type_ = response.headers().get(CONTENT_TYPE);
        let type_ = type_.and_then(|value| value.to_str().ok()).unwrap_or("");
        let format = Format::of(type_);
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| {
            format!("the answer broke off, or is longer than {LONGEST} bytes: {error}")
        })?;
        Ok((format, body.to_bytes()))
    }
    .await;
    connection.abort();
    answer
}
