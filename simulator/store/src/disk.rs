//! What survives: one SQLite file with the current state, never the history.
//!
//! A heartbeat overwrites its row, so the file does not grow with time; the write-ahead log is
//! bounded by its checkpoints. <https://sqlite.org/wal.html>

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, Transaction, params};

use crate::batch::Write;
use crate::{Change, Entry, OpenError, Revision, StorageError};

/// Format of the file, kept in SQLite's `user_version`. Raise it with every change of
/// [`SCHEMA`], and teach [`Disk::open`] to migrate the one before.
const FORMAT: i64 = 1;

/// Tells our files from other programs' databases (`PRAGMA application_id`): "dlab".
const APPLICATION: i64 = 0x646c_6162;

/// A plain table with an index rather than `WITHOUT ROWID`, which suits rows that are small
/// beside a page; objects are about as large as one.
const SCHEMA: &str = "
    CREATE TABLE objects (
        collection TEXT NOT NULL,
        name TEXT NOT NULL,
        revision INTEGER NOT NULL,
        value BLOB NOT NULL,
        UNIQUE (collection, name)
    );
    CREATE TABLE counter (revision INTEGER NOT NULL);
    INSERT INTO counter VALUES (0);
";

/// FULL: a commit is on the disk when it returns, power loss included. EXCLUSIVE spares the
/// shared-memory file, as the lock file already keeps others out. A checkpoint every 1,000
/// pages (4 MB) and the size limit keep the log from growing.
const SETTINGS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 1000;
    PRAGMA journal_size_limit = 8388608;
";

/// The open file.
#[derive(Debug)]
pub(crate) struct Disk {
    connection: Connection,
    path: Arc<Path>,
    /// Held, not read: the lock goes when the file is closed, also by a kill. Last, so that
    /// the database is closed before.
    _lock: File,
}

/// What the file held.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) revision: Revision,
    pub(crate) live: Vec<(Arc<str>, Entry)>,
}

impl Disk {
    /// Opens the file at `path`, or creates it.
    pub(crate) fn open(path: &Path) -> Result<(Self, Loaded), OpenError> {
        let lock = lock(path)?;
        let mut connection = prepare(path)?;
        let loaded = load(&mut connection).map_err(|e| OpenError::database(path, e))?;
        compact(&connection, path);
        let disk = Self {
            connection,
            path: Arc::from(path),
            _lock: lock,
        };
        Ok((disk, loaded))
    }

    /// Makes `writes` durable, all or none.
    pub(crate) fn commit(&mut self, writes: &[Write]) -> Result<(), StorageError> {
        let Some(last) = writes.last() else {
            return Ok(());
        };
        write_all(&mut self.connection, writes, last.revision)
            .map_err(|error| StorageError::new(Arc::clone(&self.path), error))
    }

    /// Lets the file grow to `pages` pages and no further, as if the disk ended there.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages: u32) {
        let limit = format!("PRAGMA max_page_count = {pages}");
        self.connection
            .query_row(&limit, [], |_| Ok(()))
            .expect("the limit can be set");
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(lock_path))
        .map_err(|error| OpenError::io(path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(OpenError::io(path, error)),
    }
}

/// Opens the database, after looking whether it is one of ours that this release can read.
fn prepare(path: &Path) -> Result<Connection, OpenError> {
    let database = |error| OpenError::database(path, error);
    let connection = Connection::open(path).map_err(database)?;
    connection.set_prepared_statement_cache_capacity(8);
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(database)?;
    let format = number("user_version").map_err(database)?;
    let pages = number("page_count").map_err(database)?;
    let empty = pages == 0;
    if !empty && application != APPLICATION {
        return Err(OpenError::Corrupt {
            path: path.to_owned(),
            source: None,
        });
    }
    if format > FORMAT {
        return Err(OpenError::NewerVersion {
            path: path.to_owned(),
            found: format,
            supported: FORMAT,
        });
    }
    connection.execute_batch(SETTINGS).map_err(database)?;
    if empty {
        create(&connection).map_err(database)?;
    }
    Ok(connection)
}

/// In one transaction, so that a kill leaves an empty file or a whole one.
fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; COMMIT;"
    ))
}

fn load(connection: &mut Connection) -> rusqlite::Result<Loaded> {
    let revision = connection.query_row("SELECT revision FROM counter", [], |row| {
        row.get(0).map(i64::cast_unsigned)
    })?;
    let mut statement = connection.prepare(
        "SELECT collection, name, revision, value FROM objects ORDER BY collection, name",
    )?;
    let mut rows = statement.query([])?;
    let mut live: Vec<(Arc<str>, Entry)> = Vec::new();
    while let Some(row) = rows.next()? {
        let collection = row.get_ref(0)?.as_str()?;
        let collection = match live.last() {
            Some((last, _)) if **last == *collection => Arc::clone(last),
            Some(_) | None => Arc::from(collection),
        };
        let entry = Entry {
            name: Arc::from(row.get_ref(1)?.as_str()?),
            value: Bytes::copy_from_slice(row.get_ref(3)?.as_blob()?),
            revision: row.get(2).map(i64::cast_unsigned)?,
        };
        live.push((collection, entry));
    }
    Ok(Loaded { revision, live })
}

/// Gives the space of deleted objects back, where it is more than half of the file. Done at
/// opening, when nobody waits for a write; a failure costs nothing but space.
fn compact(connection: &Connection, path: &Path) {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (Ok(free), Ok(pages)) = (number("freelist_count"), number("page_count")) else {
        return;
    };
    if free * 2 > pages
        && let Err(error) = connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
    {
        tracing::warn!(path = %path.display(), %error, "could not compact the store");
    }
}

fn write_all(
    connection: &mut Connection,
    writes: &[Write],
    revision: Revision,
) -> rusqlite::Result<()> {
    // Dropping the transaction on an error rolls it back.
    let transaction = connection.transaction()?;
    for write in writes {
        write_one(&transaction, write)?;
    }
    transaction
        .prepare_cached("UPDATE counter SET revision = ?1")?
        .execute([revision.cast_signed()])?;
    transaction.commit()
}

fn write_one(transaction: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    let Write {
        collection,
        name,
        change,
        revision,
        value,
    } = write;
    match change {
        Change::Put => transaction
            .prepare_cached(
                "INSERT INTO objects (collection, name, revision, value) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (collection, name)
                 DO UPDATE SET revision = excluded.revision, value = excluded.value",
            )?
            .execute(params![
                &**collection,
                &**name,
                revision.cast_signed(),
                &**value
            ])?,
        Change::Delete => transaction
            .prepare_cached("DELETE FROM objects WHERE collection = ?1 AND name = ?2")?
            .execute(params![&**collection, &**name])?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(disk: &Disk, pragma: &str, expected: &str) {
        let value = disk
            .connection
            .pragma_query_value(None, pragma, |row| row.get::<_, rusqlite::types::Value>(0));
        let value = match value.unwrap() {
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        };
        assert_eq!(value, expected, "{pragma}");
    }

    /// A kill cannot show what a power loss would: these settings are the promise.
    #[test]
    fn a_commit_is_on_the_disk_when_it_returns_also_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        for _ in 0..2 {
            let (disk, _) = Disk::open(&path).unwrap();
            case(&disk, "journal_mode", "wal");
            case(&disk, "synchronous", "Integer(2)");
            case(&disk, "wal_autocheckpoint", "Integer(1000)");
            case(&disk, "journal_size_limit", "Integer(8388608)");
        }
    }
}
