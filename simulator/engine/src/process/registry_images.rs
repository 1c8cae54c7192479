//! Images from the cluster's own registry, unpacked into a directory that the nodes share.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use async_trait::async_trait;
use lab_image::ImageRef;
use lab_image::client::{ClientError, RegistryClient};
use lab_image::unpack::{ImageStore, UnpackError, UnpackedImage};

use super::images::{ImageConfig, ImageSource, LocalImage};
use crate::EngineError;

/// How many names are listed to help with one that is not there.
const MAX_SUGGESTIONS: usize = 8;

/// Pulls from the cluster's registry only.
pub(super) struct RegistryImages {
    hosts: Vec<String>,
    client: RegistryClient,
    store: ImageStore,
}

impl RegistryImages {
    /// Opens the directory of unpacked images. Blocks.
    pub(super) fn open(
        hosts: Vec<String>,
        addr: SocketAddr,
        images_dir: &Path,
    ) -> Result<Self, EngineError> {
        let store = ImageStore::open(images_dir).map_err(|error| {
            EngineError::runtime(
                format!("opening the directory of images {}", images_dir.display()),
                error,
            )
        })?;
        Ok(Self {
            hosts,
            client: RegistryClient::new(&addr.to_string()).pulling_through(),
            store,
        })
    }

    fn is_ours(&self, image: &ImageRef) -> bool {
        self.hosts.iter().any(|host| host == image.registry())
    }

    /// What a pod's author needs to know where an image is not in the registry.
    async fn not_found(&self, image: &str, reference: &ImageRef) -> EngineError {
        let repository = reference.repository();
        let known = match self.client.tags(repository).await {
            Ok(tags) if !tags.is_empty() => format!("{repository} has the tags {}", some(&tags)),
            Ok(_) | Err(_) => match self.client.catalog().await {
                Ok(names) if !names.is_empty() => format!("it has {}", some(&names)),
                Ok(_) => "it is empty".to_owned(),
                Err(_) => "and it did not say what it has".to_owned(),
            },
        };
        let message = format!(
            "image {image:?} is not in this cluster's registry ({known}). Push it there: docker push {reference}, \
             or devops-lab image push {reference}"
        );
        EngineError::ImageNotFound { message }
    }
}

#[async_trait]
impl ImageSource for RegistryImages {
    async fn pull(&self, image: &str) -> Result<LocalImage, EngineError> {
        let reference = ImageRef::parse(image).map_err(|error| EngineError::InvalidImageName {
            image: image.into(),
            reason: error.reason.into(),
        })?;
        if !self.is_ours(&reference) {
            return Err(EngineError::ImageNotFound {
                message: elsewhere(image, &self.hosts),
            });
        }
        match self.store.pull(&self.client, &reference).await {
            Ok(unpacked) => Ok(local(unpacked)),
            Err(UnpackError::Pull {
                source: ClientError::NotFound { .. },
                ..
            }) => Err(self.not_found(image, &reference).await),
            Err(error) => Err(EngineError::PullFailed {
                image: image.into(),
                reason: with_causes(&error),
            }),
        }
    }
}

fn elsewhere(image: &str, hosts: &[String]) -> String {
    let host = hosts
        .first()
        .map_or("the cluster's registry", String::as_str);
    format!(
        "image {image:?} is not in this cluster's registry; the process engine runs images from {host} only. \
         Push it there (devops-lab image push {host}/…) or start the cluster with --engine docker"
    )
}

fn local(unpacked: UnpackedImage) -> LocalImage {
    let UnpackedImage {
        config_digest,
        rootfs,
        config,
        size_bytes,
        repo_digest,
    } = unpacked;
    let config = ImageConfig {
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        env: config.env,
        working_dir: config.working_dir,
        user: config.user,
        stop_signal: Some(config.stop_signal).filter(|signal| !signal.is_empty()),
    };
    LocalImage {
        id: config_digest.to_string(),
        repo_digest,
        size_bytes,
        rootfs,
        config,
    }
}

fn some(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(MAX_SUGGESTIONS)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > MAX_SUGGESTIONS {
        format!("{shown} and {} more", names.len() - MAX_SUGGESTIONS)
    } else {
        shown
    }
}

/// The error and what lies below it, on one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing listens on this address: port 1 of a loopback address that nobody uses.
    fn images() -> (tempfile::TempDir, RegistryImages) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let hosts = vec!["localhost:5001".to_owned(), "127.0.0.1:5001".to_owned()];
        let images = RegistryImages::open(hosts, "127.213.7.9:1".parse().unwrap(), dir.path())
            .expect("a store");
        (dir, images)
    }

    #[track_caller]
    fn check(image: &str, error: &EngineError, expected: &str) {
        assert!(error.to_string().contains(expected), "{image}: {error}");
    }

    #[tokio::test]
    async fn an_image_from_elsewhere_is_refused_with_the_way_out() {
        let (_dir, images) = images();
        for image in ["nginx:1.27", "localhost:5002/hello:1", "ghcr.io/shop/cart"] {
            let error = images.pull(image).await.unwrap_err();
            assert!(
                matches!(error, EngineError::ImageNotFound { .. }),
                "{error:?}"
            );
            check(
                image,
                &error,
                &format!("image {image:?} is not in this cluster's registry"),
            );
            check(image, &error, "runs images from localhost:5001 only");
            check(image, &error, "--engine docker");
        }
    }

    #[tokio::test]
    async fn other_failures_keep_their_causes() {
        let (_dir, images) = images();
        let error = images.pull("localhost:5001/UPPER").await.unwrap_err();
        check("UPPER", &error, "is not valid");
        let error = images.pull("127.0.0.1:5001/hello:1").await.unwrap_err();
        assert!(matches!(error, EngineError::PullFailed { .. }), "{error:?}");
        check(
            "hello",
            &error,
            "no answer from the registry at 127.213.7.9:1",
        );
    }
}
