//! What can go wrong.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::Revision;

/// Why a write did not happen. After any of these the store is as it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The write asked for another revision than the present one. Read again and retry.
    #[error("the value is at revision {current:?}")]
    Conflict {
        /// The present revision; `None` where nothing has that name.
        current: Option<Revision>,
    },
    /// Nothing has that name.
    #[error("not found")]
    NotFound,
    /// The name is taken.
    #[error("already exists")]
    AlreadyExists,
    /// The disk refused. Later writes may succeed.
    #[error("the write could not be saved")]
    Storage(#[source] StorageError),
    /// The store has stopped taking writes.
    #[error("the store is closed")]
    Closed,
}

/// What the disk said.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot write to {}{}", path.display(), if self.is_full() { ": no space left, free some and try again" } else { "" })]
pub struct StorageError {
    path: Arc<Path>,
    #[source]
    cause: Arc<rusqlite::Error>,
}

impl StorageError {
    pub(crate) fn new(path: Arc<Path>, cause: rusqlite::Error) -> Self {
        Self {
            path,
            cause: Arc::new(cause),
        }
    }

    /// True where the disk is full, so that deleting something helps.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.cause.sqlite_error_code() == Some(ErrorCode::DiskFull)
    }

    /// The store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Why a store could not be opened. The file is left as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another program (or another handle in this one) has it open.
    #[error("store {} is in use by another program; stop that one first", path.display())]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// The content is damaged, or was never a store.
    #[error("store {} is damaged or is not a store; put back a copy, or delete it to start empty", path.display())]
    Corrupt {
        /// The store's file.
        path: PathBuf,
        /// What does not fit, where the database told.
        #[source]
        source: Option<Box<rusqlite::Error>>,
    },
    /// A newer release wrote it.
    #[error("store {} has format {found}, and this release reads up to {supported}; use the newer release", path.display())]
    NewerVersion {
        /// The store's file.
        path: PathBuf,
        /// Format of the file.
        found: i64,
        /// Newest format that this release reads.
        supported: i64,
    },
    /// The file could not be created, locked or read.
    #[error("cannot open store {}", path.display())]
    Io {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn database(path: &Path, cause: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match cause.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt {
                path,
                source: Some(Box::new(cause)),
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path },
            Some(_) => Self::Io {
                path,
                source: io::Error::other(cause),
            },
            // Not an answer of SQLite itself: a column of another type, a missing row.
            None => Self::Corrupt {
                path,
                source: Some(Box::new(cause)),
            },
        }
    }
}

/// The events after the wanted revision are not (or no longer) all in memory: list again and
/// watch from that list's revision. Kubernetes calls this 410 Gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history before revision {oldest} is no longer kept")]
pub struct Compacted {
    /// The oldest revision after which a watch of this collection can start.
    pub oldest: Revision,
}
