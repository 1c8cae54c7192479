//! From the local store into a registry.

use std::io;

use futures::StreamExt;
use tokio::sync::watch;
use tokio_util::io::ReaderStream;

use crate::client::{BlobStream, ClientError, RegistryClient};
use crate::layout::{Layout, LayoutError};
use crate::spec::{self, Descriptor};
use crate::{Digest, ImageRef};

/// Bytes read at once from a blob.
const READ_BUFFER: usize = 128 * 1024;

/// What a push is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushProgress {
    /// The registry has this blob already.
    BlobExists {
        /// Which.
        digest: Digest,
        /// Its length in bytes.
        size_bytes: u64,
    },
    /// So much of this blob is sent; everything, when it is finished.
    BlobSent {
        /// Which.
        digest: Digest,
        /// How much was handed to the connection, in bytes.
        sent_bytes: u64,
        /// Its length in bytes.
        size_bytes: u64,
    },
    /// The manifest is there: the image can be pulled.
    Done {
        /// Digest of the manifest.
        digest: Digest,
    },
}

/// Why an image could not be pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The local store does not have it or cannot be used.
    #[error("cannot read image {image} from the local store")]
    Local {
        /// The image.
        image: String,
        /// The cause.
        #[source]
        source: LayoutError,
    },
    /// The registry refused or cannot be used.
    #[error("cannot push image {image}")]
    Registry {
        /// The image.
        image: String,
        /// The cause.
        #[source]
        source: ClientError,
    },
}

/// Pushes an image of the local store to the repository and tag of its name, in `client`'s
/// registry, and returns the digest of its manifest. Blobs that the registry has are not sent.
///
/// # Errors
/// Where the store does not have the image, or the registry refuses it or cannot be used. Blobs
/// that were sent before stay in the registry until its next garbage collection.
pub async fn push(
    layout: &Layout,
    image: &ImageRef,
    client: &RegistryClient,
    progress: &(dyn Fn(PushProgress) + Sync),
) -> Result<Digest, PushError> {
    let local = |source| PushError::Local {
        image: image.to_string(),
        source,
    };
    let registry = |source| PushError::Registry {
        image: image.to_string(),
        source,
    };
    let stored = layout.require(image).map_err(local)?;
    for blob in stored
        .manifest
        .layers
        .iter()
        .chain([&stored.manifest.config])
    {
        let pushed = push_blob(layout, image, blob, client, progress).await;
        pushed.map_err(registry)?;
    }
    let content = layout.read_blob(&stored.descriptor.digest).map_err(local)?;
    let media_type = stored.manifest.media_type.as_deref();
    let media_type = media_type.unwrap_or(spec::MANIFEST);
    let target = image.tag().unwrap_or(image.tag_or_digest());
    let pushed = client.push_manifest(image.repository(), target, media_type, content.into());
    let digest = pushed.await.map_err(registry)?;
    progress(PushProgress::Done {
        digest: digest.clone(),
    });
    Ok(digest)
}

async fn push_blob(
    layout: &Layout,
    image: &ImageRef,
    blob: &Descriptor,
    client: &RegistryClient,
    progress: &(dyn Fn(PushProgress) + Sync),
) -> Result<(), ClientError> {
    let Descriptor {
        digest,
        size: size_bytes,
        ..
    } = blob;
    let (digest, size_bytes) = (digest.clone(), *size_bytes);
    if client.has_blob(image.repository(), &digest).await? {
        progress(PushProgress::BlobExists { digest, size_bytes });
        return Ok(());
    }
    let report = |sent_bytes| {
        progress(PushProgress::BlobSent {
            digest: digest.clone(),
            sent_bytes,
            size_bytes,
        });
    };
    let opened = tokio::fs::File::open(layout.blob_path(&digest)).await;
    let file = opened.map_err(|source| ClientError::Transfer {
        what: format!("blob {digest}"),
        source: source.into(),
    })?;
    // The content is sent by the connection's own task, which cannot borrow `progress`.
    let (counter, mut sent) = watch::channel(0);
    let content = counted(file, counter);
    let mut push = std::pin::pin!(client.push_blob(image.repository(), blob, content));
    let outcome = loop {
        tokio::select! {
            outcome = &mut push => break outcome,
            Ok(()) = sent.changed() => {
                let sent_bytes = *sent.borrow_and_update();
                // All of it is sent only when the registry has said so, below.
                if sent_bytes < size_bytes {
                    report(sent_bytes);
                }
            }
        }
    };
    outcome?;
    report(size_bytes);
    Ok(())
}

fn counted(file: tokio::fs::File, counter: watch::Sender<u64>) -> BlobStream {
    let pieces = ReaderStream::with_capacity(file, READ_BUFFER);
    pieces
        .inspect(move |piece: &io::Result<bytes::Bytes>| {
            let length = piece.as_ref().map_or(0, |piece| piece.len() as u64);
            counter.send_modify(|sent| *sent += length);
        })
        .boxed()
}
