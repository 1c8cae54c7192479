//! Lists: repositories, tags, and what refers to a manifest.

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, LINK};
use axum::response::Response;
use serde_json::{Value, json};

use super::{Params, send};
use crate::Registry;
use crate::digest::Digest;
use crate::disk::{Disk, Link, StoredManifest};
use crate::error::Refusal;
use crate::manifest::{Facts, IMAGE_INDEX};
use crate::names::{Reference, RepositoryName};
use crate::page::{self, Page};

/// Says which filters the answer has gone through.
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Repositories with at least one manifest.
pub(super) async fn catalog(registry: &Registry, params: &Params) -> Result<Response, Refusal> {
    let names = registry.on_disk(repositories_with_manifests).await?;
    let page = page::cut(
        names,
        "/v2/_catalog",
        params.n.as_deref(),
        params.last.as_deref(),
    )?;
    let Page { entries, link } = page;
    list(&json!({"repositories": entries}), link)
}

pub(super) async fn tags(
    registry: &Registry,
    name: RepositoryName,
    params: &Params,
) -> Result<Response, Refusal> {
    let repository = name.clone();
    let tags = registry
        .on_disk(move |disk| {
            if disk.linked(&repository, Link::Manifest)?.is_empty() {
                return Err(Refusal::NameUnknown {
                    name: repository.to_string(),
                });
            }
            disk.tags(&repository)
        })
        .await?;
    let page = page::cut(
        tags.iter().map(ToString::to_string).collect(),
        &format!("/v2/{name}/tags/list"),
        params.n.as_deref(),
        params.last.as_deref(),
    )?;
    let Page { entries, link } = page;
    list(&json!({"name": name.as_str(), "tags": entries}), link)
}

/// Manifests whose subject is `digest`, as an image index. An unknown repository or digest has
/// none; that is no error. All manifests of the repository are read: there are few, they are
/// small, and a second record of the same facts could be wrong.
pub(super) async fn referrers(
    registry: &Registry,
    name: RepositoryName,
    digest: Digest,
    params: &Params,
) -> Result<Response, Refusal> {
    let wanted = params.artifact_type.clone();
    let filtered = wanted.is_some();
    let descriptors = registry
        .on_disk(move |disk| describe_referrers(disk, &name, &digest, wanted.as_deref()))
        .await?;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": IMAGE_INDEX,
        "manifests": descriptors,
    });
    let mut builder = Response::builder().header(CONTENT_TYPE, IMAGE_INDEX);
    if filtered {
        builder = builder.header(FILTERS_APPLIED, "artifactType");
    }
    send(builder, Body::from(index.to_string()))
}

fn repositories_with_manifests(disk: &Disk) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    for name in disk.repositories()? {
        if !disk.linked(&name, Link::Manifest)?.is_empty() {
            names.push(name.to_string());
        }
    }
    Ok(names)
}

fn describe_referrers(
    disk: &Disk,
    name: &RepositoryName,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Value>, Refusal> {
    let mut digests = disk.linked(name, Link::Manifest)?;
    digests.sort_unstable();
    let mut descriptors = Vec::new();
    for digest in digests {
        let manifest = disk.manifest(name, &Reference::Digest(digest))?;
        let facts = Facts::read(&manifest.content, Some(&manifest.media_type))?;
        let wanted = artifact_type.is_none_or(|kind| facts.artifact_type.as_deref() == Some(kind));
        if wanted && facts.subject.as_ref() == Some(subject) {
            descriptors.push(describe(&manifest, &facts));
        }
    }
    Ok(descriptors)
}

fn describe(manifest: &StoredManifest, facts: &Facts) -> Value {
    let mut descriptor = json!({
        "mediaType": manifest.media_type,
        "digest": manifest.digest.to_string(),
        "size": manifest.content.len(),
    });
    if let Some(kind) = &facts.artifact_type {
        descriptor["artifactType"] = json!(kind);
    }
    if !facts.annotations.is_empty() {
        descriptor["annotations"] = json!(facts.annotations);
    }
    descriptor
}

fn list(content: &Value, link: Option<String>) -> Result<Response, Refusal> {
    let mut builder = Response::builder()
        .status(StatusCode::OK)
        .header(CONTENT_TYPE, "application/json");
    if let Some(link) = link {
        builder = builder.header(LINK, link);
    }
    send(builder, Body::from(content.to_string()))
}
