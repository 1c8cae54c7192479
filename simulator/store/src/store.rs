//! The handle that everybody holds.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::batch::{Batch, Operation, Refusal};
use crate::disk::{Disk, Loaded};
use crate::memory::Memory;
use crate::writer::Writer;
use crate::{Change, Compacted, Entry, OpenError, Page, Precondition, Revision, Watch, WriteError};

/// A versioned map with watch. Clones share one store.
///
/// Dropping the last clone of a store on disk waits for the writes that are under way and
/// closes the file. Nothing depends on that: a killed program loses no acknowledged write.
#[derive(Clone, Debug)]
pub struct Store {
    memory: Arc<Memory>,
    commits: Arc<Commits>,
}

/// How writes become durable.
#[derive(Debug)]
enum Commits {
    /// Not at all, one at a time, on the caller's thread: no other thread that a test on
    /// paused time would have to wait for.
    Inline(Mutex<()>),
    /// By the writer thread.
    Durable(Writer),
}

impl Store {
    /// An empty store without a file and without a thread, so that its behaviour is a function
    /// of the calls alone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            memory: Arc::new(Memory::new(0, [])),
            commits: Arc::new(Commits::Inline(Mutex::new(()))),
        }
    }

    /// Opens the store in the file at `path`, or creates it; its folder must exist. SQLite
    /// keeps `-wal` beside it, and `.lock` guards it against a second program.
    ///
    /// # Errors
    /// See [`OpenError`]; each names the path.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let (disk, loaded) = Disk::open(path)?;
        Self::start(path, disk, loaded)
    }

    /// As [`Store::open`], on a disk with room for `pages` pages of 4 KiB.
    #[cfg(test)]
    pub(crate) fn open_with_room_for(path: &Path, pages: u32) -> Result<Self, OpenError> {
        let (disk, loaded) = Disk::open(path)?;
        disk.limit_pages(pages);
        Self::start(path, disk, loaded)
    }

    fn start(path: &Path, disk: Disk, loaded: Loaded) -> Result<Self, OpenError> {
        let Loaded { revision, live } = loaded;
        let memory = Arc::new(Memory::new(revision, live));
        let writer =
            Writer::start(disk, Arc::clone(&memory)).map_err(|error| OpenError::io(path, error))?;
        Ok(Self {
            memory,
            commits: Arc::new(Commits::Durable(writer)),
        })
    }

    /// The revision of the latest write that reads can see.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.memory.revision()
    }

    /// The live value of this name.
    #[must_use]
    pub fn get(&self, collection: &str, name: &str) -> Option<Entry> {
        self.memory.get(collection, name)
    }

    /// The entries whose names begin with `prefix` and come after `start_after`, in name
    /// order, `limit` at most.
    ///
    /// Every page is a view of the present; one that continues an earlier page may be newer
    /// than that.
    #[must_use]
    pub fn list(
        &self,
        collection: &str,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Page {
        self.memory.list(collection, prefix, start_after, limit)
    }

    /// Creates or replaces a value, and answers once that is durable and visible.
    ///
    /// `encode` gets the write's revision. It runs while all writes wait, so it should only
    /// encode, and must not write to this store. If it panics, so does this call. A call that
    /// is dropped before it answers may or may not have written.
    ///
    /// # Errors
    /// [`WriteError::AlreadyExists`], [`WriteError::NotFound`] or [`WriteError::Conflict`]
    /// where the precondition does not hold; [`WriteError::Storage`] where the disk refused.
    pub async fn put(
        &self,
        collection: &str,
        name: &str,
        precondition: Precondition,
        encode: impl FnOnce(Revision) -> Bytes + Send + 'static,
    ) -> Result<Entry, WriteError> {
        self.write(Operation {
            collection: Arc::from(collection),
            name: Arc::from(name),
            change: Change::Put,
            precondition,
            encode: Box::new(encode),
        })
        .await
    }

    /// Removes a value, and answers with its last state at the deletion's revision, as
    /// `encode_last` makes it for the watches. Otherwise as [`Store::put`].
    ///
    /// # Errors
    /// As [`Store::put`]; without a precondition, [`WriteError::NotFound`] where there is
    /// nothing to remove.
    pub async fn delete(
        &self,
        collection: &str,
        name: &str,
        precondition: Precondition,
        encode_last: impl FnOnce(Revision) -> Bytes + Send + 'static,
    ) -> Result<Entry, WriteError> {
        self.write(Operation {
            collection: Arc::from(collection),
            name: Arc::from(name),
            change: Change::Delete,
            precondition,
            encode: Box::new(encode_last),
        })
        .await
    }

    /// Follows a collection from the first write after `after`; a collection need not exist.
    ///
    /// # Errors
    /// [`Compacted`] where that history is no longer kept, was before the last restart, or is
    /// in the future: list again, and watch from there.
    pub fn watch(&self, collection: &str, after: Revision) -> Result<Watch, Compacted> {
        Watch::start(Arc::clone(&self.memory), collection, after)
    }

    /// The collections that hold something, in order.
    #[must_use]
    pub fn collections(&self) -> Vec<String> {
        self.memory.collections()
    }

    /// Bytes of live names and values; history and bookkeeping come on top.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.memory.size_bytes()
    }

    async fn write(&self, operation: Operation) -> Result<Entry, WriteError> {
        match &*self.commits {
            Commits::Inline(turn) => self.write_inline(turn, operation),
            Commits::Durable(writer) => writer.write(operation).await,
        }
    }

    fn write_inline(&self, turn: &Mutex<()>, operation: Operation) -> Result<Entry, WriteError> {
        let turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::new(&self.memory);
        match batch.add(operation) {
            Ok(entry) => {
                batch.publish();
                Ok(entry)
            }
            Err(Refusal::Error(error)) => Err(error),
            Err(Refusal::Panic(panic)) => {
                drop(turn);
                resume_unwind(panic)
            }
        }
    }
}
