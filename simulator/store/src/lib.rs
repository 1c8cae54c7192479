//! A versioned map with watch: kept in memory, logged durably before a write is acknowledged.
//!
//! Values are bytes, filed under a collection ("pods") and a name ("default/web-1"). Every
//! write gets the next [`Revision`] of one global counter that survives restarts, and a
//! [`Watch`] replays what happened to a collection after a revision, or says that it is too
//! late. The roles are those of etcd behind a Kubernetes API server:
//! <https://etcd.io/docs/v3.6/learning/api/>.
//!
//! ```text
//! put, delete ──queue──▶ writer thread ──one transaction──▶ SQLite file (current state only)
//!                             │ after the commit
//!                             ▼
//!           get, list ◀── memory (maps + recent events) ──▶ watches
//! ```
//!
//! This crate must never know a Kubernetes kind, JSON or HTTP. Reads never wait for the disk.
//!
//! Start reading at [`Store`]; then `batch` for what a write does, `memory` for what a read
//! sees, and `disk` for what survives.

mod batch;
mod disk;
mod error;
mod history;
mod memory;
mod store;
mod types;
mod watch;
mod writer;

pub use error::{Compacted, OpenError, StorageError, WriteError};
pub use store::Store;
pub use types::{Change, Entry, Event, Page, Precondition, Revision};
pub use watch::Watch;

#[cfg(test)]
mod tests;
