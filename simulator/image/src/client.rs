//! A client of one registry, over plain HTTP: made for registries on this machine.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LINK, LOCATION};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::Digest;
use crate::spec::{self, Descriptor, Index};

/// Largest manifest or list that is read, in bytes; registries accept 4 MiB.
const MAX_DOCUMENT: usize = 8 * 1024 * 1024;
/// Longest wait for a connection. A registry on this machine answers at once or never.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for the head of an answer; a push of a large layer ends with a sync to disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Longest silence in the middle of a blob.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Pieces of a blob.
pub type BlobStream = BoxStream<'static, io::Result<Bytes>>;

/// A client of one registry. Clones share its connections.
#[derive(Clone, Debug)]
pub struct RegistryClient {
    host: String,
    pulls_through: bool,
    http: Client<HttpConnector, Body>,
}

/// A manifest or index as the registry has it.
#[derive(Clone, Debug)]
pub struct FetchedManifest {
    /// Its digest, computed here.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub content: Bytes,
}

/// Why a registry could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers, or not with HTTP.
    #[error(
        "no answer from the registry at {host}; is the cluster running? try: devops-lab status"
    )]
    Connect {
        /// The registry.
        host: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The registry took too long.
    #[error("the registry at {host} did not answer within {} s", seconds)]
    Timeout {
        /// The registry.
        host: String,
        /// How long was waited.
        seconds: u64,
    },
    /// What was asked for is not in the registry.
    #[error("{what} is not in the registry at {host}")]
    NotFound {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// The registry refused.
    #[error("the registry at {host} refused {what}: {message} ({status})")]
    Refused {
        /// The registry.
        host: String,
        /// What was asked.
        what: String,
        /// HTTP status.
        status: StatusCode,
        /// The registry's own words.
        message: String,
    },
    /// The transfer broke off.
    #[error("the transfer of {what} broke off")]
    Transfer {
        /// What was transferred.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The content is not what its digest says.
    #[error(
        "{what} came with the digest {actual} instead of {expected}; it was damaged on its way or in the registry"
    )]
    DigestMismatch {
        /// What was transferred.
        what: String,
        /// What it should have been.
        expected: Digest,
        /// What it was.
        actual: Digest,
    },
    /// The answer makes no sense.
    #[error("the registry's answer about {what} is not valid")]
    Malformed {
        /// What was asked.
        what: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An image for other machines only.
    #[error("{what} has no variant for linux on {}", spec::host_architecture())]
    NoPlatform {
        /// The image.
        what: String,
    },
}

/// A blob is not what its digest says; inside the `io::Error` of a [`BlobStream`].
#[derive(Debug, thiserror::Error)]
#[error("content has the digest {actual} instead of {expected}")]
struct StreamMismatch {
    expected: Digest,
    actual: Digest,
}

impl RegistryClient {
    /// A client of the registry at `host_port` (`localhost:5001`). Nothing is sent yet.
    #[must_use]
    pub fn new(host_port: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        Self {
            host: host_port.to_owned(),
            pulls_through: false,
            http: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    /// The same client, which is content with images that the registry gets from elsewhere first.
    /// Without it, only what the registry has itself is found (`Cache-Control: only-if-cached`).
    #[must_use]
    pub fn pulling_through(mut self) -> Self {
        self.pulls_through = true;
        self
    }

    /// Host and port of the registry.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The manifest or index behind a tag or digest; the content of a digest is verified.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] where there is none, others where the registry cannot be used.
    pub async fn manifest(
        &self,
        repository: &str,
        tag_or_digest: &str,
    ) -> Result<FetchedManifest, ClientError> {
        let what = self.image_name(repository, tag_or_digest);
        let accept = [
            spec::MANIFEST,
            spec::INDEX,
            spec::DOCKER_MANIFEST,
            spec::DOCKER_LIST,
        ];
        let path = format!("/v2/{repository}/manifests/{tag_or_digest}");
        let request = self
            .request(Method::GET, &path)
            .header(ACCEPT, accept.join(", "));
        let response = self.send(&what, request, empty()).await?;
        let media_type = header(&response, CONTENT_TYPE.as_str());
        let content = self.document(&what, response).await?;
        let actual = Digest::of(&content);
        match Digest::parse(tag_or_digest) {
            Ok(expected) if expected != actual => Err(ClientError::DigestMismatch {
                what,
                expected,
                actual,
            }),
            Ok(_) | Err(_) => Ok(FetchedManifest {
                digest: actual,
                media_type,
                content,
            }),
        }
    }

    /// Like [`Self::manifest`], and goes on from an index to the manifest for this machine.
    ///
    /// # Errors
    /// As [`Self::manifest`], and [`ClientError::NoPlatform`].
    pub async fn image_manifest(
        &self,
        repository: &str,
        tag_or_digest: &str,
    ) -> Result<(FetchedManifest, spec::Manifest), ClientError> {
        let what = self.image_name(repository, tag_or_digest);
        let mut fetched = self.manifest(repository, tag_or_digest).await?;
        if spec::is_index(&fetched.media_type) {
            let index: Index = parse(&what, &fetched.content)?;
            let Some(found) = spec::for_this_machine(&index) else {
                return Err(ClientError::NoPlatform { what });
            };
            fetched = self.manifest(repository, found.digest.as_str()).await?;
        }
        let manifest = parse(&what, &fetched.content)?;
        Ok((fetched, manifest))
    }

    /// A blob in pieces. After the last one the stream fails unless digest and length are those
    /// of the descriptor, so what is made of it must not be used before its end.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] where it is not in the repository, others where the registry
    /// cannot be used.
    pub async fn blob(
        &self,
        repository: &str,
        descriptor: &Descriptor,
    ) -> Result<BlobStream, ClientError> {
        let raw = self.blob_unverified(repository, &descriptor.digest).await?;
        Ok(verified(raw, descriptor.digest.clone()))
    }

    /// A small blob as a whole, verified.
    ///
    /// # Errors
    /// As [`Self::blob`], and where it is larger than 8 MiB or not what its digest says.
    pub async fn blob_bytes(
        &self,
        repository: &str,
        descriptor: &Descriptor,
    ) -> Result<Bytes, ClientError> {
        let what = format!("blob {}", descriptor.digest);
        let response = self.get_blob(repository, &descriptor.digest, &what).await?;
        let content = self.document(&what, response).await?;
        let actual = Digest::of(&content);
        if actual == descriptor.digest {
            Ok(content)
        } else {
            Err(ClientError::DigestMismatch {
                what,
                expected: descriptor.digest.clone(),
                actual,
            })
        }
    }

    /// A blob in pieces, for readers that verify it themselves.
    pub(crate) async fn blob_unverified(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<BlobStream, ClientError> {
        let what = format!("blob {digest}");
        let response = self.get_blob(repository, digest, &what).await?;
        let pieces = response.into_body().into_data_stream();
        let pieces = pieces.map_err(io::Error::other).boxed();
        Ok(stream::unfold(pieces, async |mut pieces| {
            let piece = match tokio::time::timeout(STALL_TIMEOUT, pieces.next()).await {
                Ok(piece) => piece?,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            };
            Some((piece, pieces))
        })
        .boxed())
    }

    async fn get_blob(
        &self,
        repository: &str,
        digest: &Digest,
        what: &str,
    ) -> Result<Response<Incoming>, ClientError> {
        let path = format!("/v2/{repository}/blobs/{digest}");
        self.send(what, self.request(Method::GET, &path), empty())
            .await
    }

    /// True where the repository has the blob already.
    ///
    /// # Errors
    /// Where the registry cannot be used.
    pub async fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, ClientError> {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let request = self.request(Method::HEAD, &path);
        match self.send(&format!("blob {digest}"), request, empty()).await {
            Ok(_) => Ok(true),
            Err(ClientError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Pushes a blob from a stream, in one piece after asking for an upload.
    ///
    /// # Errors
    /// Where the registry refuses (the digest is wrong, its disk is full) or cannot be used, or
    /// `content` fails.
    pub async fn push_blob(
        &self,
        repository: &str,
        descriptor: &Descriptor,
        content: BlobStream,
    ) -> Result<(), ClientError> {
        let digest = &descriptor.digest;
        let what = format!("blob {digest}");
        let path = format!("/v2/{repository}/blobs/uploads/");
        let begin = self.request(Method::POST, &path).header(CONTENT_LENGTH, 0);
        let response = self.send(&what, begin, empty()).await?;
        let location = header(&response, LOCATION.as_str());
        let target = self.upload_target(&what, &location, digest)?;
        let request = Request::builder()
            .method(Method::PUT)
            .uri(target)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, descriptor.size);
        let body = StreamBody::new(content.map_ok(Frame::data)).boxed_unsync();
        self.send(&what, request, body).await.map(drop)
    }

    /// Pushes a manifest under a tag or its digest and returns its digest.
    ///
    /// # Errors
    /// Where the registry refuses (a blob is missing) or cannot be used.
    pub async fn push_manifest(
        &self,
        repository: &str,
        tag_or_digest: &str,
        media_type: &str,
        content: Bytes,
    ) -> Result<Digest, ClientError> {
        let what = self.image_name(repository, tag_or_digest);
        let digest = Digest::of(&content);
        let path = format!("/v2/{repository}/manifests/{tag_or_digest}");
        let request = self
            .request(Method::PUT, &path)
            .header(CONTENT_TYPE, media_type);
        self.send(&what, request, full(content)).await?;
        Ok(digest)
    }

    /// Every tag of a repository, sorted.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] for an unknown repository, others where the registry cannot be
    /// used.
    pub async fn tags(&self, repository: &str) -> Result<Vec<String>, ClientError> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let path = format!("/v2/{repository}/tags/list");
        let page = |page: Page| page.tags.unwrap_or_default();
        self.list(&format!("repository {repository}"), path, page)
            .await
    }

    /// Every repository, sorted.
    ///
    /// # Errors
    /// Where the registry cannot be used.
    pub async fn catalog(&self) -> Result<Vec<String>, ClientError> {
        #[derive(Deserialize)]
        struct Page {
            repositories: Option<Vec<String>>,
        }
        let page = |page: Page| page.repositories.unwrap_or_default();
        self.list("the catalog", "/v2/_catalog".to_owned(), page)
            .await
    }

    /// Deletes a tag, or by digest a manifest with all its tags.
    ///
    /// # Errors
    /// [`ClientError::NotFound`] where there is none, others where the registry cannot be used.
    pub async fn delete(&self, repository: &str, tag_or_digest: &str) -> Result<(), ClientError> {
        let what = self.image_name(repository, tag_or_digest);
        let path = format!("/v2/{repository}/manifests/{tag_or_digest}");
        let request = self.request(Method::DELETE, &path);
        self.send(&what, request, empty()).await.map(drop)
    }

    /// Reads a list page by page.
    async fn list<P: for<'de> Deserialize<'de>>(
        &self,
        what: &str,
        first: String,
        entries: impl Fn(P) -> Vec<String>,
    ) -> Result<Vec<String>, ClientError> {
        let mut all = Vec::new();
        let mut next = Some(first);
        while let Some(path) = next {
            let response = self
                .send(what, self.request(Method::GET, &path), empty())
                .await?;
            let link = header(&response, LINK.as_str());
            let content = self.document(what, response).await?;
            all.extend(entries(parse(what, &content)?));
            // A page that leads to itself would never end.
            next = next_page(&link).filter(|next| *next != path);
        }
        all.sort();
        Ok(all)
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.host));
        if self.pulls_through {
            request
        } else {
            request.header(CACHE_CONTROL, "only-if-cached")
        }
    }

    /// Where to send an upload's content: the location with the digest in its query.
    fn upload_target(
        &self,
        what: &str,
        location: &str,
        digest: &Digest,
    ) -> Result<Uri, ClientError> {
        let absolute = if location.starts_with('/') {
            format!("http://{}{location}", self.host)
        } else {
            location.to_owned()
        };
        let separator = if absolute.contains('?') { '&' } else { '?' };
        let target = format!("{absolute}{separator}digest={digest}");
        target
            .parse()
            .map_err(|source: http::uri::InvalidUri| ClientError::Malformed {
                what: what.to_owned(),
                source: source.into(),
            })
    }

    async fn send(
        &self,
        what: &str,
        request: http::request::Builder,
        body: Body,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = request
            .body(body)
            .map_err(|source| ClientError::Malformed {
                what: what.to_owned(),
                source: source.into(),
            })?;
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.http.request(request)).await;
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(source)) if source.is_connect() => {
                return Err(ClientError::Connect {
                    host: self.host.clone(),
                    source: source.into(),
                });
            }
            Ok(Err(source)) => {
                return Err(ClientError::Transfer {
                    what: what.to_owned(),
                    source: source.into(),
                });
            }
            Err(_) => {
                return Err(ClientError::Timeout {
                    host: self.host.clone(),
                    seconds: ANSWER_TIMEOUT.as_secs(),
                });
            }
        };
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(what, response).await)
        }
    }

    async fn refusal(&self, what: &str, response: Response<Incoming>) -> ClientError {
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return ClientError::NotFound {
                host: self.host.clone(),
                what: what.to_owned(),
            };
        }
        let content = self.document(what, response).await.unwrap_or_default();
        let parsed: serde_json::Value = serde_json::from_slice(&content).unwrap_or_default();
        let message = parsed["errors"][0]["message"].as_str();
        let message = message.unwrap_or("it gave no reason");
        ClientError::Refused {
            host: self.host.clone(),
            what: what.to_owned(),
            status,
            message: message.to_owned(),
        }
    }

    async fn document(
        &self,
        what: &str,
        response: Response<Incoming>,
    ) -> Result<Bytes, ClientError> {
        let limited = Limited::new(response.into_body(), MAX_DOCUMENT);
        match tokio::time::timeout(STALL_TIMEOUT, limited.collect()).await {
            Ok(Ok(content)) => Ok(content.to_bytes()),
            Ok(Err(source)) => Err(ClientError::Transfer {
                what: what.to_owned(),
                source,
            }),
            Err(_) => Err(ClientError::Timeout {
                host: self.host.clone(),
                seconds: STALL_TIMEOUT.as_secs(),
            }),
        }
    }

    fn image_name(&self, repository: &str, tag_or_digest: &str) -> String {
        let separator = if tag_or_digest.contains(':') {
            '@'
        } else {
            ':'
        };
        format!("image {}/{repository}{separator}{tag_or_digest}", self.host)
    }
}

/// Lets `pieces` through and fails at the end where they are not `expected`.
fn verified(pieces: BlobStream, expected: Digest) -> BlobStream {
    let start = (pieces, Some(Sha256::new()), expected);
    stream::try_unfold(start, async |(mut pieces, hasher, expected)| {
        let Some(mut hasher) = hasher else {
            return Ok(None);
        };
        if let Some(piece) = pieces.next().await {
            let piece = piece?;
            hasher.update(&piece);
            return Ok(Some((piece, (pieces, Some(hasher), expected))));
        }
        let actual = Digest::finish(hasher);
        if actual == expected {
            Ok(None)
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                StreamMismatch { expected, actual },
            ))
        }
    })
    .boxed()
}

fn parse<T: for<'de> Deserialize<'de>>(what: &str, content: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(content).map_err(|source| ClientError::Malformed {
        what: what.to_owned(),
        source: source.into(),
    })
}

fn header(response: &Response<Incoming>, name: &str) -> String {
    let value = response.headers().get(name);
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default().to_owned()
}

/// The path in `<…>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let relative = target.starts_with('/') && parameters.contains("next");
    relative.then(|| target.to_owned())
}

fn empty() -> Body {
    full(Bytes::new())
}

fn full(content: Bytes) -> Body {
    Full::new(content)
        .map_err(|never| match never {})
        .boxed_unsync()
}
