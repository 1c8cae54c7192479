//! Images as the process engine needs them: unpacked directories with a description.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::records;
use crate::{EngineError, Image};

/// What an image says about how its containers start.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageConfig {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments where a container names none.
    pub cmd: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// The working directory; empty for `/`.
    pub working_dir: String,
    /// The user, by name or number; empty for root.
    pub user: String,
    /// The signal that asks a container to end; SIGTERM where absent.
    pub stop_signal: Option<String>,
}

/// An image that lies unpacked on this machine.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LocalImage {
    /// Digest of the image's configuration (`sha256:…`).
    pub id: String,
    /// The repository digest (`host/name@sha256:…`) where known.
    pub repo_digest: Option<String>,
    /// Unpacked size in bytes.
    pub size_bytes: u64,
    /// The directory that holds the image's files. It is shared and never written to.
    pub rootfs: PathBuf,
    /// How its containers start.
    pub config: ImageConfig,
}

impl LocalImage {
    /// The image in the words of the engine's trait.
    pub(super) fn to_image(&self) -> Image {
        Image {
            id: self.id.clone(),
            repo_digest: self.repo_digest.clone(),
            size_bytes: self.size_bytes,
        }
    }
}

/// Where unpacked images come from.
#[async_trait]
pub trait ImageSource: Send + Sync + 'static {
    /// Brings the image to this machine, or finds it there.
    ///
    /// # Errors
    /// `ImageNotFound`, `InvalidImageName` or `PullFailed`, with a text for the pod's author.
    async fn pull(&self, image: &str) -> Result<LocalImage, EngineError>;
}

/// Which images this node has pulled, by the reference that was used; outlives the node.
#[derive(Debug)]
pub(super) struct ImageIndex {
    path: PathBuf,
    images: Mutex<BTreeMap<String, LocalImage>>,
}

impl ImageIndex {
    /// Reads the index of an earlier life; one that cannot be read is taken as empty, since
    /// every image can be pulled again.
    pub(super) fn open(path: PathBuf) -> Self {
        let images = records::read(&path).unwrap_or_default();
        Self {
            path,
            images: Mutex::new(images),
        }
    }

    /// The image, if it was pulled by this reference and is still there.
    pub(super) fn get(&self, image: &str) -> Option<LocalImage> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images
            .get(image)
            .filter(|image| image.rootfs.is_dir())
            .cloned()
    }

    /// Notes a pull.
    pub(super) fn put(&self, image: &str, pulled: LocalImage) -> io::Result<()> {
        // Written under the lock, so that a later pull is never overwritten by an earlier one.
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.insert(image.to_owned(), pulled);
        records::write(&self.path, &*images)
    }
}

/// Refuses an image that would run as root although the pod's author has ruled that out, in the
/// kubelet's words. A process of this engine always runs as the user of the node, so nothing
/// else follows from the user that an image or a container names.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>
pub(super) fn check_user(
    image: &ImageConfig,
    run_as_user: Option<i64>,
    run_as_non_root: bool,
) -> Result<(), EngineError> {
    let refuse = |message: String| Err(EngineError::InvalidContainer(message));
    let user = image.user.split(':').next().unwrap_or_default();
    match run_as_user {
        _ if !run_as_non_root => Ok(()),
        Some(0) => refuse("container's runAsUser breaks non-root policy".into()),
        Some(_) => Ok(()),
        None if user.is_empty() || user == "0" => {
            refuse("container has runAsNonRoot and image will run as root".into())
        }
        None if user.parse::<u32>().is_err() => refuse(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root"
        )),
        None => Ok(()),
    }
}

/// The directory in which one node keeps its own index.
pub(super) fn index_path(state_dir: &Path) -> PathBuf {
    state_dir.join("images.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        image_user: &str,
        run_as_user: Option<i64>,
        run_as_non_root: bool,
        expected: Option<&str>,
    ) {
        let image = ImageConfig {
            user: image_user.into(),
            ..ImageConfig::default()
        };
        let refused = check_user(&image, run_as_user, run_as_non_root)
            .err()
            .map(|error| error.to_string());
        assert_eq!(refused.as_deref(), expected, "image user {image_user:?}");
    }

    #[test]
    fn an_image_that_runs_as_root_is_refused_where_the_author_ruled_it_out() {
        let root = Some("container has runAsNonRoot and image will run as root");
        check("", None, true, root);
        check("0", None, true, root);
        check("0:0", None, true, root);
        check(
            "",
            Some(0),
            true,
            Some("container's runAsUser breaks non-root policy"),
        );
        check(
            "app",
            None,
            true,
            Some(
                "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root",
            ),
        );
    }

    #[test]
    fn everything_else_runs() {
        check("", None, false, None);
        check("", Some(0), false, None);
        check("10001", None, true, None);
        check("10001:10001", None, true, None);
        check("", Some(1000), true, None);
    }
}
