//! An OCI registry in a directory: what `docker push localhost:5001/…` talks to.
//!
//! It follows the OCI distribution specification (all four workflow categories: pull, push,
//! content discovery, content management) and sends the headers that dockerd expects of the
//! older Docker Registry API. Blobs are streamed to disk while they are hashed and appear under
//! their digest only when they are whole and right, so that a kill at any instant leaves a
//! consistent directory.
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>
//!
//! It must not know Kubernetes, clusters or image contents: a manifest is bytes of which it
//! reads the digests. It has no users and no passwords; it is meant for loopback, and turns web
//! pages away by refusing requests that carry an `Origin`.
//!
//! Two processes may have the same directory open for a short while (a restart with a slow
//! exit), but garbage collection is only safe against the pushes of its own process.
//!
//! Start reading at [`Registry`], then `route.rs` (what a path means), `handlers/` (what is
//! answered) and `disk.rs` (what lies where).

mod admin;
mod digest;
mod disk;
mod error;
mod garbage;
mod handlers;
mod manifest;
mod names;
mod page;
mod ranges;
mod route;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::disk::Disk;
use crate::error::Refusal;
use crate::upload::Uploads;

pub use crate::garbage::{GcError, GcReport};

/// How long an unreferenced blob or an untagged manifest is kept: a push uploads blobs first and
/// the manifest that needs them last, and an hour is longer than any push to loopback takes.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(3600);

/// Pushes that a slow listener of [`Registry::on_push`] may fall behind before it is told that
/// it missed some.
const PUSH_BACKLOG: usize = 64;

/// A manifest arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Repository, such as `team/hello`.
    pub repository: String,
    /// Tag, where the manifest was pushed under one.
    pub tag: Option<String>,
    /// Digest of the manifest.
    pub digest: String,
}

/// Why a registry could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or written to.
    #[error(
        "cannot use {} as the image registry's directory; check that it is a directory you may write to, on a disk with free space",
        dir.display()
    )]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Remains of an earlier run could not be looked through.
    #[error("cannot clean up unfinished uploads in {}", dir.display())]
    Cleanup {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A registry on a directory. Clones share it.
#[derive(Clone, Debug)]
pub struct Registry {
    disk: Arc<Disk>,
    uploads: Uploads,
    pushed: broadcast::Sender<Pushed>,
    cluster: Arc<str>,
    grace: Duration,
}

impl Registry {
    /// Opens the registry in `dir`, which is made where it is missing, and removes uploads that
    /// nobody has continued for a day. Blocks for a few file operations.
    ///
    /// # Errors
    /// Where the directory cannot be made, written to or read.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let disk = Disk::open(dir).map_err(|source| OpenError::Directory {
            dir: dir.to_owned(),
            source,
        })?;
        upload::remove_stale(&disk).map_err(|source| OpenError::Cleanup {
            dir: dir.to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self {
            disk: Arc::new(disk),
            uploads: Uploads::default(),
            pushed: broadcast::Sender::new(PUSH_BACKLOG),
            cluster: Arc::from(""),
            grace: DEFAULT_GRACE,
        })
    }

    /// The same registry, saying `cluster` when it is asked whose it is.
    #[must_use]
    pub fn with_cluster_name(mut self, cluster: &str) -> Self {
        self.cluster = Arc::from(cluster);
        self
    }

    /// The same registry with another grace period for garbage (see [`DEFAULT_GRACE`]).
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The whole HTTP interface: `/v2/…` of the specification and `/devops-lab/…` of ours.
    pub fn router(&self) -> axum::Router {
        handlers::router(self.clone())
    }

    /// Every manifest pushed from now on. A receiver that falls behind gets
    /// [`broadcast::error::RecvError::Lagged`] and should list the tags again.
    #[must_use]
    pub fn on_push(&self) -> broadcast::Receiver<Pushed> {
        self.pushed.subscribe()
    }

    /// Removes what no tag leads to and is older than the grace period; with `dry_run` only says
    /// what it would remove.
    ///
    /// # Errors
    /// Where the directory cannot be read or a manifest in it is damaged; then nothing that may
    /// be in use has been removed.
    pub async fn collect_garbage(&self, dry_run: bool) -> Result<GcReport, GcError> {
        self.collect_garbage_older_than(self.grace, dry_run).await
    }

    async fn collect_garbage_older_than(
        &self,
        grace: Duration,
        dry_run: bool,
    ) -> Result<GcReport, GcError> {
        let disk = Arc::clone(&self.disk);
        on_blocking_thread(move || garbage::collect(&disk, grace, dry_run)).await
    }

    /// Runs file work away from the threads that serve connections.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Disk) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let disk = Arc::clone(&self.disk);
        on_blocking_thread(move || work(&disk)).await
    }
}

/// Runs `work` on a thread that may block, and passes a panic on.
async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(failure) => std::panic::resume_unwind(failure.into_panic()),
    }
}
