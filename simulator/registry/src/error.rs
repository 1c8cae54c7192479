//! Everything that a request can be refused for, and how that is said over HTTP.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>

use std::io;
use std::path::{Path, PathBuf};

use axum::http::StatusCode;
use axum::http::header::{CONTENT_RANGE, LOCATION, RANGE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::digest::Digest;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("blob {digest} is not in this repository")]
    BlobUnknown { digest: Digest },
    #[error("{reason}")]
    BlobUploadInvalid { reason: String },
    #[error("no such upload; it was finished, cancelled or left alone for a day")]
    UploadUnknown,
    #[error("chunk out of order: the next byte is {size}")]
    ChunkOutOfOrder { location: String, size: u64 },
    #[error("{digest:?} is not a digest; it is sha256: and 64 lower-case hexadecimal digits")]
    DigestInvalid { digest: String },
    #[error("content has the digest {actual}, not {expected}")]
    DigestMismatch { expected: Digest, actual: Digest },
    #[error("{stated} bytes were announced and {received} came")]
    SizeInvalid { stated: u64, received: u64 },
    #[error("the range starts after the blob's end")]
    RangeNotSatisfiable { size: u64 },
    #[error("manifest is not valid: {reason}")]
    ManifestInvalid { reason: String },
    #[error("manifest is larger than {limit} bytes")]
    ManifestTooLarge { limit: usize },
    #[error("manifest {reference} is not in this repository")]
    ManifestUnknown { reference: String },
    #[error("manifest names blob {digest}, which was not pushed to this repository")]
    ManifestBlobUnknown { digest: Digest },
    #[error(
        "{name:?} is not a repository name; it is lower-case letters, digits, and single . _ or - between them, in parts joined by /"
    )]
    NameInvalid { name: String },
    #[error("repository {name:?} is not in this registry; push an image to it first")]
    NameUnknown { name: String },
    #[error(
        "{tag:?} is not a tag; it is up to 128 letters, digits, _ . and -, not starting with . or -"
    )]
    TagInvalid { tag: String },
    #[error("query is not valid: {reason}")]
    QueryInvalid { reason: String },
    #[error("this path does not have that method")]
    MethodNotAllowed,
    #[error("no such path; the registry's interface starts at /v2/")]
    PathUnknown,
    #[error("requests from web pages are refused")]
    FromWebPage,
    #[error(
        "the disk with {} is full; free some space there, or remove unused images with devops-lab registry gc",
        path.display()
    )]
    DiskFull {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read or write {}", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Refusal {
    /// Tells a full disk from other failures on `path`.
    pub(crate) fn disk(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source }
            }
            _ => Self::Disk { path, source },
        }
    }

    /// HTTP status and the specification's error code.
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BlobUnknown { .. } => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            Self::BlobUploadInvalid { .. } => (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
            Self::UploadUnknown => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            Self::ChunkOutOfOrder { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID")
            }
            Self::DigestInvalid { .. } | Self::DigestMismatch { .. } => {
                (StatusCode::BAD_REQUEST, "DIGEST_INVALID")
            }
            Self::SizeInvalid { .. } => (StatusCode::BAD_REQUEST, "SIZE_INVALID"),
            Self::RangeNotSatisfiable { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID"),
            Self::ManifestInvalid { .. } => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
            Self::ManifestTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID"),
            Self::ManifestUnknown { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            Self::ManifestBlobUnknown { .. } => (StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN"),
            Self::NameInvalid { .. } => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            Self::NameUnknown { .. } => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            Self::TagInvalid { .. } => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
            Self::QueryInvalid { .. } => (StatusCode::BAD_REQUEST, "UNSUPPORTED"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            Self::PathUnknown => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            Self::FromWebPage => (StatusCode::FORBIDDEN, "DENIED"),
            Self::DiskFull { .. } => (StatusCode::INSUFFICIENT_STORAGE, "UNKNOWN"),
            Self::Disk { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        }
    }

    /// Says in the log what the client is not told: the operating system's own words.
    fn log(&self) {
        match self {
            Self::DiskFull { source, .. } | Self::Disk { source, .. } => {
                tracing::error!(error = %source, "{self}");
            }
            Self::BlobUnknown { .. }
            | Self::BlobUploadInvalid { .. }
            | Self::UploadUnknown
            | Self::ChunkOutOfOrder { .. }
            | Self::DigestInvalid { .. }
            | Self::DigestMismatch { .. }
            | Self::SizeInvalid { .. }
            | Self::RangeNotSatisfiable { .. }
            | Self::ManifestInvalid { .. }
            | Self::ManifestTooLarge { .. }
            | Self::ManifestUnknown { .. }
            | Self::ManifestBlobUnknown { .. }
            | Self::NameInvalid { .. }
            | Self::NameUnknown { .. }
            | Self::TagInvalid { .. }
            | Self::QueryInvalid { .. }
            | Self::MethodNotAllowed
            | Self::PathUnknown
            | Self::FromWebPage => tracing::debug!("refused: {self}"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.log();
        let (status, code) = self.status_and_code();
        let body = json!({"errors": [{"code": code, "message": self.to_string(), "detail": null}]});
        let mut response = (status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if let Self::ChunkOutOfOrder { location, size } = &self {
            // The client learns from these where to go on.
            if let Ok(location) = location.parse() {
                headers.insert(LOCATION, location);
            }
            if let Ok(range) = crate::ranges::received(*size).parse() {
                headers.insert(RANGE, range);
            }
        }
        if let Self::RangeNotSatisfiable { size } = &self
            && let Ok(range) = format!("bytes */{size}").parse()
        {
            headers.insert(CONTENT_RANGE, range);
        }
        response
    }
}
