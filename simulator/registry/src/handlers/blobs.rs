//! Getting and deleting blobs.

use std::io::SeekFrom;

use axum::body::Body;
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use axum::http::{HeaderMap, StatusCode, response};
use axum::response::Response;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::{CONTENT_DIGEST, send};
use crate::Registry;
use crate::digest::Digest;
use crate::error::Refusal;
use crate::names::RepositoryName;
use crate::ranges::{self, Part};

/// Bytes read at once from a blob that is being sent.
const READ_BUFFER: usize = 128 * 1024;

pub(super) async fn get(
    registry: &Registry,
    name: RepositoryName,
    digest: Digest,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let wanted = digest.clone();
    let size = registry
        .on_disk(move |disk| disk.blob_size(&name, &wanted))
        .await?;
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let part = range
        .map(|range| ranges::requested(range, size))
        .transpose()?;
    match part.flatten() {
        Some(part) => {
            let Part { start, end } = part;
            let builder = described(StatusCode::PARTIAL_CONTENT, &digest, end - start)
                .header(CONTENT_RANGE, format!("bytes {start}-{}/{size}", end - 1));
            send(builder, read(registry, &digest, part).await?)
        }
        None => {
            let whole = Part {
                start: 0,
                end: size,
            };
            let body = read(registry, &digest, whole).await?;
            send(described(StatusCode::OK, &digest, size), body)
        }
    }
}

pub(super) async fn head(
    registry: &Registry,
    name: RepositoryName,
    digest: Digest,
) -> Result<Response, Refusal> {
    let wanted = digest.clone();
    let size = registry
        .on_disk(move |disk| {
            let _publishing = disk.publishing();
            let size = disk.blob_size(&name, &wanted)?;
            disk.rejuvenate(&name, &wanted);
            Ok(size)
        })
        .await?;
    send(described(StatusCode::OK, &digest, size), Body::empty())
}

pub(super) async fn delete(
    registry: &Registry,
    name: RepositoryName,
    digest: Digest,
) -> Result<Response, Refusal> {
    registry
        .on_disk(move |disk| disk.remove_blob(&name, &digest))
        .await?;
    send(
        Response::builder().status(StatusCode::ACCEPTED),
        Body::empty(),
    )
}

fn described(status: StatusCode, digest: &Digest, length: u64) -> response::Builder {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, length)
        .header(ACCEPT_RANGES, "bytes")
        .header(CONTENT_DIGEST, digest.to_string())
}

async fn read(registry: &Registry, digest: &Digest, part: Part) -> Result<Body, Refusal> {
    let path = registry.disk.content(digest);
    let opened = async {
        let mut file = tokio::fs::File::open(&path).await?;
        file.seek(SeekFrom::Start(part.start)).await?;
        Ok(file)
    };
    let file = opened.await.map_err(|error| Refusal::disk(&path, error))?;
    let piece = file.take(part.end - part.start);
    Ok(Body::from_stream(ReaderStream::with_capacity(
        piece,
        READ_BUFFER,
    )))
}
