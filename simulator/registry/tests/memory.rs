//! A large push must not need large memory. Alone in its program, because it measures it.
#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]
#![cfg(target_os = "linux")]

mod support;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use sha2::{Digest, Sha256};
use support::Lab;

const PIECE: usize = 64 * 1024;
const PIECES: usize = 1600;

/// Most memory this process ever had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

#[tokio::test]
async fn a_push_of_a_hundred_megabytes_keeps_memory_flat() {
    let lab = Lab::new();
    let piece = Bytes::from(vec![7; PIECE]);
    let mut hasher = Sha256::new();
    for _ in 0..PIECES {
        hasher.update(&piece);
    }
    let digest = format!("sha256:{:x}", hasher.finalize());
    lab.push_blob("warm", b"up").await;
    let before = peak();
    let pieces = (0..PIECES).map(move |_| Ok::<_, std::io::Error>(piece.clone()));
    let body = Body::from_stream(stream::iter(pieces));
    let path = format!("/v2/hello/blobs/uploads/?digest={digest}");
    lab.send("POST", &path, &[], body).await.is(201, "");
    let grown = peak() - before;
    assert!(grown < 16 * 1024 * 1024, "memory grew by {grown} bytes");
}
