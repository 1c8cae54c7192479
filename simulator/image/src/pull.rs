//! From a registry into the local store.

use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::client::{ClientError, RegistryClient};
use crate::layout::{Layout, LayoutError, LocalImage};
use crate::spec::{self, Descriptor};
use crate::{Digest, ImageRef, on_blocking_thread};

/// Why an image could not be brought into the local store.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry does not have it or cannot be used.
    #[error("cannot pull image {image}")]
    Registry {
        /// The image.
        image: String,
        /// The cause.
        #[source]
        source: ClientError,
    },
    /// A blob came damaged.
    #[error(
        "blob {expected} of image {image} came with the digest {actual}; it was damaged on its way or in the registry"
    )]
    DigestMismatch {
        /// The image.
        image: String,
        /// What it should have been.
        expected: Digest,
        /// What it was.
        actual: Digest,
    },
    /// The local store failed, or the transfer into it broke off.
    #[error("cannot store image {image}")]
    Store {
        /// The image.
        image: String,
        /// The cause.
        #[source]
        source: LayoutError,
    },
}

/// Copies an image, for this machine's architecture, into the local store under its name. Blobs
/// that are there already are not fetched.
///
/// # Errors
/// Where the registry does not have it or cannot be used, or the store fails. The name then
/// stands for what it stood for before.
pub async fn pull(
    client: &RegistryClient,
    image: &ImageRef,
    layout: &Layout,
) -> Result<LocalImage, PullError> {
    let registry = |source| PullError::Registry {
        image: image.to_string(),
        source,
    };
    let store = |source| PullError::Store {
        image: image.to_string(),
        source,
    };
    let repository = image.repository();
    let pulled = client
        .image_manifest(repository, image.tag_or_digest())
        .await;
    let (fetched, manifest) = pulled.map_err(registry)?;
    for descriptor in manifest.layers.iter().chain([&manifest.config]) {
        if !layout.has_blob(&descriptor.digest) {
            copy_blob(client, image, descriptor, layout).await?;
        }
    }
    let media_type = if fetched.media_type.is_empty() {
        spec::MANIFEST
    } else {
        &fetched.media_type
    };
    let descriptor = layout
        .put_blob(media_type, &fetched.content)
        .map_err(store)?;
    layout.set(image, descriptor).map_err(store)?;
    layout.require(image).map_err(store)
}

async fn copy_blob(
    client: &RegistryClient,
    image: &ImageRef,
    descriptor: &Descriptor,
    layout: &Layout,
) -> Result<(), PullError> {
    let blob = client
        .blob_unverified(image.repository(), &descriptor.digest)
        .await;
    let blob = blob.map_err(|source| PullError::Registry {
        image: image.to_string(),
        source,
    })?;
    let mut content = SyncIoBridge::new(StreamReader::new(blob));
    let (store, media_type) = (layout.clone(), descriptor.media_type.clone());
    let stored = on_blocking_thread(move || {
        store.write_blob(&media_type, |writer| {
            std::io::copy(&mut content, writer).map(drop)
        })
    });
    let stored = stored.await.map_err(|source| PullError::Store {
        image: image.to_string(),
        source,
    })?;
    if stored.digest == descriptor.digest {
        Ok(())
    } else {
        // It lies under its own digest, where nothing asks for it.
        Err(PullError::DigestMismatch {
            image: image.to_string(),
            expected: descriptor.digest.clone(),
            actual: stored.digest,
        })
    }
}
