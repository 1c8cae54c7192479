//! Pushing blobs: at once, in a stream, in chunks, or by mounting what another repository has.

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::{CONTENT_DIGEST, Params, UPLOAD_ID, send};
use crate::Registry;
use crate::digest::Digest;
use crate::error::Refusal;
use crate::names::{RepositoryName, UploadId};
use crate::ranges::{self, Part};
use crate::upload::{Checkout, Uploads};

/// `POST`: mounts, takes the whole blob, or begins a session, by the query.
pub(super) async fn begin(
    registry: &Registry,
    name: RepositoryName,
    params: &Params,
    request: Request,
) -> Result<Response, Refusal> {
    if let Some(mount) = &params.mount {
        let digest = Digest::parse(mount)?;
        if mounted(registry, &name, &digest, params.from.as_deref()).await? {
            return created(&name, &digest);
        }
    }
    let digest = params.digest.as_deref().map(Digest::parse).transpose()?;
    let repository = name.clone();
    let id = registry
        .on_disk(move |disk| Uploads::begin(disk, &repository))
        .await?;
    match digest {
        Some(digest) => {
            let checkout = check_out(registry, &name, &id).await?;
            complete(registry, name, checkout, digest, request).await
        }
        None => accepted(StatusCode::ACCEPTED, &name, &id, 0),
    }
}

/// `PATCH`: appends a chunk, or a stream where no `Content-Range` is given.
pub(super) async fn append(
    registry: &Registry,
    name: RepositoryName,
    id: UploadId,
    request: Request,
) -> Result<Response, Refusal> {
    let checkout = check_out(registry, &name, &id).await?;
    let checkout = append_in_order(&name, &id, checkout, request).await?;
    let size = checkout.size();
    checkout.check_in();
    accepted(StatusCode::ACCEPTED, &name, &id, size)
}

/// `PUT`: appends the last chunk, if any, and makes the upload a blob.
pub(super) async fn finish(
    registry: &Registry,
    name: RepositoryName,
    id: UploadId,
    params: &Params,
    request: Request,
) -> Result<Response, Refusal> {
    let digest = Digest::parse(params.digest.as_deref().unwrap_or_default())?;
    let checkout = check_out(registry, &name, &id).await?;
    let checkout = append_in_order(&name, &id, checkout, request).await?;
    publish(registry, name, checkout, digest).await
}

/// `GET`: how far the upload got.
pub(super) async fn status(
    registry: &Registry,
    name: RepositoryName,
    id: UploadId,
) -> Result<Response, Refusal> {
    let checkout = check_out(registry, &name, &id).await?;
    let size = checkout.size();
    checkout.check_in();
    accepted(StatusCode::NO_CONTENT, &name, &id, size)
}

/// `DELETE`: throws the upload away.
pub(super) async fn cancel(
    registry: &Registry,
    name: RepositoryName,
    id: UploadId,
) -> Result<Response, Refusal> {
    let checkout = check_out(registry, &name, &id).await?;
    registry.on_disk(move |_| checkout.discard()).await?;
    send(
        Response::builder().status(StatusCode::NO_CONTENT),
        Body::empty(),
    )
}

async fn check_out(
    registry: &Registry,
    name: &RepositoryName,
    id: &UploadId,
) -> Result<Checkout, Refusal> {
    let (uploads, name, id) = (registry.uploads.clone(), name.clone(), id.clone());
    registry
        .on_disk(move |disk| uploads.check_out(disk, &name, &id))
        .await
}

/// Where `from` is left out, any repository that has the blob will do: there are no secrets
/// between repositories here, and it saves the upload.
async fn mounted(
    registry: &Registry,
    name: &RepositoryName,
    digest: &Digest,
    from: Option<&str>,
) -> Result<bool, Refusal> {
    let from = from.map(RepositoryName::parse).transpose()?;
    let (name, digest) = (name.clone(), digest.clone());
    registry
        .on_disk(move |disk| {
            let there = from.is_none_or(|from| disk.blob_size(&from, &digest).is_ok());
            Ok(there && disk.mount_blob(&name, &digest)?)
        })
        .await
}

/// A whole blob in one request. Where it fails, its client knows no session to go on with, so
/// nothing is left.
async fn complete(
    registry: &Registry,
    name: RepositoryName,
    checkout: Checkout,
    digest: Digest,
    request: Request,
) -> Result<Response, Refusal> {
    let remains = checkout.path().to_owned();
    match checkout.append(request.into_body()).await {
        Ok(checkout) => publish(registry, name, checkout, digest).await,
        Err(refusal) => {
            registry
                .on_disk(move |_| crate::disk::remove(&remains))
                .await?;
            Err(refusal)
        }
    }
}

async fn append_in_order(
    name: &RepositoryName,
    id: &UploadId,
    checkout: Checkout,
    request: Request,
) -> Result<Checkout, Refusal> {
    let size = checkout.size();
    if let Some(part) = announced(request.headers())? {
        let length = header(request.headers(), &CONTENT_LENGTH).and_then(|it| it.parse().ok());
        let problem = if part.start != size {
            Some(Refusal::ChunkOutOfOrder {
                location: location(name, id),
                size,
            })
        } else {
            length
                .filter(|length| *length != part.end - part.start)
                .map(|received| Refusal::SizeInvalid {
                    stated: part.end - part.start,
                    received,
                })
        };
        if let Some(problem) = problem {
            checkout.check_in();
            return Err(problem);
        }
    }
    checkout.append(request.into_body()).await
}

fn announced(headers: &HeaderMap) -> Result<Option<Part>, Refusal> {
    header(headers, &CONTENT_RANGE)
        .map(ranges::chunk)
        .transpose()
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

async fn publish(
    registry: &Registry,
    name: RepositoryName,
    checkout: Checkout,
    digest: Digest,
) -> Result<Response, Refusal> {
    let (repository, expected) = (name.clone(), digest.clone());
    registry
        .on_disk(move |disk| checkout.publish(disk, &repository, &expected))
        .await?;
    created(&name, &digest)
}

fn location(name: &RepositoryName, id: &UploadId) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

fn accepted(
    status: StatusCode,
    name: &RepositoryName,
    id: &UploadId,
    size: u64,
) -> Result<Response, Refusal> {
    let builder = Response::builder()
        .status(status)
        .header(LOCATION, location(name, id))
        .header(RANGE, ranges::received(size))
        .header(UPLOAD_ID, id.as_str());
    send(builder, Body::empty())
}

fn created(name: &RepositoryName, digest: &Digest) -> Result<Response, Refusal> {
    let builder = Response::builder()
        .status(StatusCode::CREATED)
        .header(LOCATION, format!("/v2/{name}/blobs/{digest}"))
        .header(CONTENT_DIGEST, digest.to_string());
    send(builder, Body::empty())
}
