//! Images on the daemon, and pulls.

use std::net::SocketAddr;
use std::time::Duration;

use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptions;
use futures::TryStreamExt;
use lab_image::ImageRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pull_error::{self, Holdings};
use super::{Shared, errors};
use crate::{EngineError, Image};

/// A message must not wait long for the names it would like to mention.
const HOLDINGS_TIMEOUT: Duration = Duration::from_secs(2);
/// More of a listing than any message shows.
const HOLDINGS_BYTES: u64 = 64 * 1024;

impl Shared {
    pub(super) async fn image_status(&self, image: &str) -> Result<Option<Image>, EngineError> {
        let reference = parse(image)?;
        match self.docker.inspect_image(image).await {
            Ok(found) if self.is_foreign(&reference, &found).await => Ok(None),
            Ok(found) => Ok(Some(describe(&found))),
            Err(error) if errors::is_missing(&error) => Ok(None),
            Err(error) if errors::status_code(&error) == Some(400) => {
                Err(EngineError::InvalidImageName {
                    image: image.to_owned(),
                    reason: errors::message(&error),
                })
            }
            Err(error) => Err(EngineError::runtime(
                format!("looking for image {image:?}"),
                error,
            )),
        }
    }

    /// True where the image bears a name of our registry, and the registry answers that it has
    /// never heard of it. The daemon outlives clusters: an image of that name may be that of a
    /// deleted cluster on the same port, or was built here and never pushed.
    async fn is_foreign(&self, reference: &ImageRef, found: &ImageInspect) -> bool {
        let host = &self.config.registry_host;
        let Some(address) = self.config.registry_address else {
            return false;
        };
        if !pull_error::is_same_registry(reference.registry(), host) {
            return false;
        }
        let digests = found.repo_digests.iter().flatten();
        for digest in digests.filter_map(|name| Some(name.split_once('@')?.1)) {
            let path = format!("/v2/{}/manifests/{digest}", reference.repository());
            let asked = tokio::time::timeout(HOLDINGS_TIMEOUT, get(address, &path)).await;
            match asked.ok().flatten() {
                // A registry that is away for a moment must not stop what was pulled before.
                None => return false,
                Some(answer) if answer["errors"].is_null() => return false,
                Some(_) => {}
            }
        }
        true
    }

    pub(super) async fn pull_image(&self, image: &str) -> Result<Image, EngineError> {
        let reference = parse(image)?;
        let options = CreateImageOptions {
            from_image: Some(format!(
                "{}/{}",
                reference.registry(),
                reference.repository()
            )),
            // Without one, the daemon would pull every tag.
            tag: Some(reference.tag_or_digest().to_owned()),
            ..CreateImageOptions::default()
        };
        let pull = self.docker.create_image(Some(options), None, None);
        // The progress is read to the end because an error may come as its last line.
        if let Err(error) = pull.try_for_each(|_| async { Ok(()) }).await {
            let holdings = self.holdings(&reference).await;
            return Err(pull_error::explain(
                image,
                &reference,
                &self.config.registry_host,
                &errors::message(&error),
                holdings.as_ref(),
            ));
        }
        self.image_status(image)
            .await?
            .ok_or_else(|| EngineError::PullFailed {
                image: image.to_owned(),
                reason: "the daemon reported success, but the image is not there; pull again"
                    .to_owned(),
            })
    }

    /// What our registry has, where it can be asked. Only for a message, so that every failure
    /// is silence.
    async fn holdings(&self, reference: &ImageRef) -> Option<Holdings> {
        let address = self.config.registry_address?;
        let ask = async {
            let tags = get(
                address,
                &format!("/v2/{}/tags/list", reference.repository()),
            )
            .await;
            let repositories = get(address, "/v2/_catalog").await?;
            Some(Holdings {
                tags: tags
                    .map(|answer| names(&answer, "tags"))
                    .unwrap_or_default(),
                repositories: names(&repositories, "repositories"),
            })
        };
        tokio::time::timeout(HOLDINGS_TIMEOUT, ask)
            .await
            .ok()
            .flatten()
    }
}

/// The daemon takes the name as a part of a URL path: a valid one cannot end the path.
fn parse(image: &str) -> Result<ImageRef, EngineError> {
    ImageRef::parse(image).map_err(|error| EngineError::InvalidImageName {
        image: image.to_owned(),
        reason: error.reason.to_owned(),
    })
}

fn describe(found: &ImageInspect) -> Image {
    Image {
        id: found.id.clone().unwrap_or_default(),
        repo_digest: found
            .repo_digests
            .as_ref()
            .and_then(|digests| digests.first().cloned()),
        size_bytes: found
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or_default(),
    }
}

fn names(answer: &serde_json::Value, field: &str) -> Vec<String> {
    let names = answer[field]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    names
        .iter()
        .filter_map(|name| name.as_str().map(ToOwned::to_owned))
        .collect()
}

/// One small request in HTTP/1.0, which an answer cannot chunk: not worth a client.
async fn get(address: SocketAddr, path: &str) -> Option<serde_json::Value> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream
        .take(HOLDINGS_BYTES)
        .read_to_end(&mut answer)
        .await
        .ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}
