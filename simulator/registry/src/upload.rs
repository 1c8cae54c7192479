//! Uploads in progress.
//!
//! An upload is a file in its repository's `_uploads`, and the file's length is the truth about
//! how far it got. What is remembered in memory, the running hash, saves reading the file again
//! and can be lost at any moment: after a restart the file is hashed anew.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWriteExt, BufWriter};

use crate::digest::{Algorithm, Digest, feed_file};
use crate::disk::{self, Disk};
use crate::error::Refusal;
use crate::names::{RepositoryName, UploadId};

/// How long an upload that nobody continues is kept.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Bytes collected before they are handed to a thread that writes: large enough for few
/// hand-overs, small enough for many uploads at once.
const WRITE_BUFFER: usize = 256 * 1024;

/// One upload, in the hands of the one request that works on it.
#[derive(Debug)]
pub(crate) struct Upload {
    path: PathBuf,
    size: u64,
    hasher: Sha256,
}

/// What is known about uploads beyond their files. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uploads(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    /// Uploads that a request works on now: a second one has to be refused.
    busy: HashSet<PathBuf>,
    /// Running hashes of the others, as far as they are known.
    idle: HashMap<PathBuf, Upload>,
}

/// The right to work on an upload, given back when dropped.
#[derive(Debug)]
struct Turn {
    uploads: Uploads,
    path: PathBuf,
}

/// An upload and the right to work on it.
#[derive(Debug)]
pub(crate) struct Checkout {
    upload: Upload,
    turn: Turn,
}

impl Uploads {
    /// Begins an upload. Blocks.
    pub(crate) fn begin(disk: &Disk, name: &RepositoryName) -> Result<UploadId, Refusal> {
        let directory = disk.uploads(name);
        let created = std::fs::create_dir_all(&directory).and_then(|()| {
            tempfile::Builder::new()
                .prefix("")
                .rand_bytes(UploadId::LENGTH)
                .tempfile_in(&directory)?
                .keep()
                .map_err(|failure| failure.error)
        });
        let (_, path) = created.map_err(|error| Refusal::disk(&directory, error))?;
        let id = path.file_name().and_then(|name| name.to_str());
        UploadId::parse(id.unwrap_or_default())
    }

    /// Takes an upload to work on. Blocks where its file has to be read after a restart.
    pub(crate) fn check_out(
        &self,
        disk: &Disk,
        name: &RepositoryName,
        id: &UploadId,
    ) -> Result<Checkout, Refusal> {
        let path = disk.uploads(name).join(id.as_str());
        let remembered = {
            let mut memory = self.memory();
            if !memory.busy.insert(path.clone()) {
                return Err(Refusal::BlobUploadInvalid {
                    reason: "another request is writing to this upload".to_owned(),
                });
            }
            memory.idle.remove(&path)
        };
        let turn = Turn {
            uploads: self.clone(),
            path,
        };
        let upload = Upload::resume(&turn.path, remembered)?;
        Ok(Checkout { upload, turn })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.uploads.memory().busy.remove(&self.path);
    }
}

impl Upload {
    fn resume(path: &Path, remembered: Option<Self>) -> Result<Self, Refusal> {
        let length = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Refusal::UploadUnknown);
            }
            Err(error) => return Err(Refusal::disk(path, error)),
        };
        match remembered {
            Some(upload) if upload.size == length => Ok(upload),
            Some(_) | None => Self::read(path).map_err(|error| Refusal::disk(path, error)),
        }
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let size = feed_file(path, |piece| hasher.update(piece))?;
        Ok(Self {
            path: path.to_owned(),
            size,
            hasher,
        })
    }

    async fn append(&mut self, body: Body) -> Result<(), Refusal> {
        let mut options = tokio::fs::File::options();
        let opened = options.append(true).open(&self.path).await;
        let file = opened.map_err(|error| self.disk_error(error))?;
        let mut file = BufWriter::with_capacity(WRITE_BUFFER, file);
        let mut pieces = body.into_data_stream();
        let received = self.copy(&mut pieces, &mut file).await;
        // What came before a broken connection is kept: the client may ask and go on from there.
        file.flush().await.map_err(|error| self.disk_error(error))?;
        received
    }

    async fn copy(
        &mut self,
        pieces: &mut BodyDataStream,
        file: &mut BufWriter<tokio::fs::File>,
    ) -> Result<(), Refusal> {
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| Refusal::BlobUploadInvalid {
                reason: format!("the connection broke in the middle: {error}"),
            })?;
            let written = file.write_all(&piece).await;
            written.map_err(|error| self.disk_error(error))?;
            self.hasher.update(&piece);
            self.size += piece.len() as u64;
        }
        Ok(())
    }

    fn disk_error(&self, error: io::Error) -> Refusal {
        Refusal::disk(&self.path, error)
    }

    /// Checks that the file is what was hashed and that its digest is `expected`.
    fn verify(self, expected: &Digest) -> Result<PathBuf, Refusal> {
        let Self { path, size, hasher } = self;
        let actual = match expected.algorithm() {
            Algorithm::Sha256 => Ok(Digest::of_hasher(hasher)),
            Algorithm::Sha512 => Digest::sha512_of_file(&path),
        };
        let actual = actual.map_err(|error| Refusal::disk(&path, error))?;
        let synced = std::fs::File::open(&path).and_then(|file| {
            file.sync_all()?;
            file.metadata()
        });
        let length = synced.map_err(|error| Refusal::disk(&path, error))?.len();
        if length != size {
            return Err(Refusal::SizeInvalid {
                stated: size,
                received: length,
            });
        }
        if actual == *expected {
            Ok(path)
        } else {
            Err(Refusal::DigestMismatch {
                expected: expected.clone(),
                actual,
            })
        }
    }
}

impl Checkout {
    /// Bytes that have come so far.
    pub(crate) fn size(&self) -> u64 {
        self.upload.size
    }

    /// The upload's file.
    pub(crate) fn path(&self) -> &Path {
        &self.turn.path
    }

    /// Appends a body. The work goes on by itself where the client hangs up and the request is
    /// dropped, so that hash and file never part; the broken body ends it soon.
    pub(crate) async fn append(self, body: Body) -> Result<Self, Refusal> {
        let mut checkout = self;
        let work = tokio::spawn(async move {
            match checkout.upload.append(body).await {
                Ok(()) => Ok(checkout),
                Err(refusal) => {
                    // The hash may be ahead of the file: forget it, the file is the truth.
                    drop(checkout);
                    Err(refusal)
                }
            }
        });
        match work.await {
            Ok(outcome) => outcome,
            Err(failure) => std::panic::resume_unwind(failure.into_panic()),
        }
    }

    /// Puts the upload back for the next request.
    pub(crate) fn check_in(self) {
        let Self { upload, turn } = self;
        let path = turn.path.clone();
        turn.uploads.memory().idle.insert(path, upload);
    }

    /// Makes the upload a blob of the repository; where it is not what `digest` says, it is
    /// thrown away, since no further chunk can make it right. Blocks.
    pub(crate) fn publish(
        self,
        disk: &Disk,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), Refusal> {
        let Self { upload, turn } = self;
        match upload.verify(digest) {
            Ok(path) => disk.publish_blob(name, digest, &path),
            Err(refusal) => {
                disk::remove(&turn.path)?;
                Err(refusal)
            }
        }
    }

    /// Throws the upload away. Blocks.
    pub(crate) fn discard(self) -> Result<(), Refusal> {
        disk::remove(&self.turn.path).map(drop)
    }
}

/// Removes uploads and temporary files that an earlier process left behind. Young ones stay: a
/// client may go on with its upload after a restart of the registry.
pub(crate) fn remove_stale(disk: &Disk) -> Result<(), Refusal> {
    let now = disk
        .now()
        .map_err(|error| Refusal::disk(&disk.temporary(), error))?;
    let mut directories = vec![disk.temporary()];
    let repositories = disk.repositories()?;
    directories.extend(repositories.iter().map(|name| disk.uploads(name)));
    for directory in directories {
        for name in disk::file_names(&directory)? {
            let path = directory.join(name);
            let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
            let age = modified.map(|modified| now.duration_since(modified).unwrap_or_default());
            // A file that went away in between needs no removal.
            if age.is_ok_and(|age| age > STALE) {
                disk::remove(&path)?;
            }
        }
    }
    Ok(())
}
