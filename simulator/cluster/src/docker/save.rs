//! Images out of the Docker daemon.

use std::io;

use bollard::errors::Error;
use futures::TryStreamExt as _;
use lab_image::ImageRef;
use lab_image::layout::{Layout, LayoutError};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{Daemon, DaemonError};

/// Why an image cannot be taken out of the daemon.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// There is no daemon.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// It does not have the image.
    #[error("the Docker daemon has no image {image}; get it first: docker pull {image}")]
    NotFound {
        /// The image, as a user calls it.
        image: String,
    },
    /// It refuses.
    #[error("the Docker daemon does not hand out {image}")]
    Refused {
        /// The image.
        image: String,
        /// What it said.
        #[source]
        source: Error,
    },
    /// What it handed out cannot be stored.
    #[error("cannot store {image}")]
    Store {
        /// The image.
        image: String,
        /// The cause.
        #[source]
        source: LayoutError,
    },
}

/// Copies an image of the Docker daemon into an image store, under its full name. `room` is asked
/// with the image's length in bytes, before anything is copied.
///
/// # Errors
/// Where the daemon does not have it, the store fails, or `room` refuses.
pub async fn save<E: From<SaveError>>(
    image: &ImageRef,
    layout: &Layout,
    room: impl FnOnce(u64) -> Result<(), E>,
) -> Result<(), E> {
    let docker = Daemon::connect().await.map_err(SaveError::from)?.docker;
    let name = image.familiar();
    let inspected = docker
        .inspect_image(&name)
        .await
        .map_err(|source| match source {
            Error::DockerResponseServerError {
                status_code: 404, ..
            } => SaveError::NotFound {
                image: name.clone(),
            },
            source => SaveError::Refused {
                image: name.clone(),
                source,
            },
        })?;
    room(
        inspected
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or_default(),
    )?;
    let pieces = docker.export_image(&name).map_err(io::Error::other);
    let mut archive = SyncIoBridge::new(StreamReader::new(Box::pin(pieces)));
    let store = layout.clone();
    let imported = tokio::task::spawn_blocking(move || store.import_saved(&mut archive)).await;
    let imported = match imported {
        Ok(imported) => imported,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    imported.map_err(|source| SaveError::Store {
        image: name,
        source,
    })?;
    Ok(())
}
