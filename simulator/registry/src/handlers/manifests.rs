//! Getting, pushing and deleting manifests.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use super::{CONTENT_DIGEST, send};
use crate::digest::{Algorithm, Digest};
use crate::disk::StoredManifest;
use crate::error::Refusal;
use crate::manifest::{Facts, MAX_BYTES};
use crate::names::{Reference, RepositoryName};
use crate::{Pushed, Registry};

/// Tells the client that the manifest's subject was understood, so that it need not keep a
/// referrers list of its own under a tag.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

pub(super) async fn get(
    registry: &Registry,
    name: RepositoryName,
    reference: Reference,
    method: &Method,
) -> Result<Response, Refusal> {
    let manifest = registry
        .on_disk(move |disk| disk.manifest(&name, &reference))
        .await?;
    let StoredManifest {
        digest,
        media_type,
        content,
    } = manifest;
    let builder = Response::builder()
        .header(CONTENT_TYPE, media_type)
        .header(CONTENT_LENGTH, content.len())
        .header(CONTENT_DIGEST, digest.to_string());
    let body = if *method == Method::HEAD {
        Body::empty()
    } else {
        Body::from(content)
    };
    send(builder, body)
}

pub(super) async fn put(
    registry: &Registry,
    name: RepositoryName,
    reference: Reference,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let content = receive(body).await?;
    let facts = Facts::read(&content, content_type)?;
    let digest = digest_of(&content, &reference)?;
    let subject = facts.subject.clone();
    let pushed = Pushed {
        repository: name.to_string(),
        tag: match &reference {
            Reference::Tag(tag) => Some(tag.to_string()),
            Reference::Digest(_) => None,
        },
        digest: digest.to_string(),
    };
    let manifest = StoredManifest {
        digest: digest.clone(),
        media_type: facts.media_type.clone(),
        content: content.into(),
    };
    let location = format!("/v2/{name}/manifests/{digest}");
    registry
        .on_disk(move |disk| {
            let tag = match &reference {
                Reference::Tag(tag) => Some(tag),
                Reference::Digest(_) => None,
            };
            disk.put_manifest(&name, &manifest, &facts, tag)
        })
        .await?;
    // Nobody listening is not an error.
    let _ = registry.pushed.send(pushed);
    let mut builder = Response::builder()
        .status(StatusCode::CREATED)
        .header(LOCATION, location)
        .header(CONTENT_DIGEST, digest.to_string());
    if let Some(subject) = subject {
        builder = builder.header(SUBJECT, subject.to_string());
    }
    send(builder, Body::empty())
}

/// Deletes a tag, or by digest the manifest with all its tags.
pub(super) async fn delete(
    registry: &Registry,
    name: RepositoryName,
    reference: Reference,
) -> Result<Response, Refusal> {
    registry
        .on_disk(move |disk| match &reference {
            Reference::Tag(tag) => disk.remove_tag(&name, tag),
            Reference::Digest(digest) => disk.remove_manifest(&name, digest),
        })
        .await?;
    send(
        Response::builder().status(StatusCode::ACCEPTED),
        Body::empty(),
    )
}

/// Reads a manifest's body up to the limit.
async fn receive(body: Body) -> Result<Bytes, Refusal> {
    to_bytes(body, MAX_BYTES).await.map_err(|error| {
        let over = std::error::Error::source(&error)
            .is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
        if over {
            Refusal::ManifestTooLarge { limit: MAX_BYTES }
        } else {
            Refusal::ManifestInvalid {
                reason: "the connection broke in the middle".to_owned(),
            }
        }
    })
}

/// The manifest's digest, by the algorithm that the client used; a stated digest must be right.
fn digest_of(content: &[u8], reference: &Reference) -> Result<Digest, Refusal> {
    match reference {
        Reference::Tag(_) => Ok(Digest::of(Algorithm::Sha256, content)),
        Reference::Digest(expected) => {
            let actual = Digest::of(expected.algorithm(), content);
            if actual == *expected {
                Ok(actual)
            } else {
                Err(Refusal::DigestMismatch {
                    expected: expected.clone(),
                    actual,
                })
            }
        }
    }
}
