//! What a class has said and done, in one SQLite file.
//!
//! Events are kept before they are acknowledged, and a number is kept once: `INSERT OR IGNORE` on
//! `(student, number)`. The file is written through a log (WAL), so a killed server loses nothing
//! that it acknowledged. <https://www.sqlite.org/wal.html>

mod rows;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

pub use rows::{Hand, Member, Record};

use crate::protocol::{Event, Order, What, Wish};
use crate::secrets::digest;

/// Version of the file's tables that this program reads and writes.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE class (title TEXT NOT NULL, code TEXT NOT NULL, password TEXT NOT NULL, begun INTEGER NOT NULL);
CREATE TABLE student (
    id INTEGER PRIMARY KEY, client TEXT NOT NULL UNIQUE, name TEXT NOT NULL, token TEXT NOT NULL UNIQUE,
    version TEXT NOT NULL, joined INTEGER NOT NULL, seen INTEGER NOT NULL, acknowledged INTEGER NOT NULL DEFAULT 0,
    has_left INTEGER NOT NULL DEFAULT 0);
CREATE TABLE event (
    student INTEGER NOT NULL REFERENCES student, number INTEGER NOT NULL, at INTEGER NOT NULL,
    received INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (student, number)) WITHOUT ROWID;
CREATE TABLE wish (number INTEGER PRIMARY KEY, student INTEGER REFERENCES student, at INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE hand (
    student INTEGER NOT NULL REFERENCES student, number INTEGER NOT NULL, taken_by TEXT, taken INTEGER,
    closed INTEGER, PRIMARY KEY (student, number)) WITHOUT ROWID;
CREATE TABLE session (token TEXT PRIMARY KEY, teacher TEXT NOT NULL, csrf TEXT NOT NULL, ends INTEGER NOT NULL) WITHOUT ROWID;
";

/// Why the class cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused.
    #[error("the class in {path} cannot be read or written")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// A newer program wrote it.
    #[error("{path} was written by a newer devops-lab (version {found}, this one reads {VERSION})")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// Something in it is not what this program writes.
    #[error("{path} is damaged: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In words.
        problem: String,
    },
}

/// The class as it was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its title.
    pub title: String,
    /// Its join code.
    pub code: String,
    /// Hash of the teachers' password.
    pub password: String,
    /// When it was begun.
    pub begun: Timestamp,
}

/// A teacher's session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The teacher's name.
    pub teacher: String,
    /// What each of her changes must carry.
    pub csrf: String,
}

/// The file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens the file, making it where there is none.
    ///
    /// # Errors
    /// Where it cannot be opened, or is another program's.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Sqlite {
            path: path.to_owned(),
            source,
        };
        let connection = Connection::open(path).map_err(failed)?;
        let store = Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
        };
        store.prepare()?;
        Ok(store)
    }

    fn prepare(&self) -> Result<(), StoreError> {
        let version = self.with(|connection| {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
        })?;
        match version {
            0 => self.transaction(|transaction| {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", VERSION)
            }),
            VERSION => Ok(()),
            found => Err(StoreError::Newer {
                path: self.path.clone(),
                found,
            }),
        }
    }

    /// The class, where it was begun.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn class(&self) -> Result<Option<Class>, StoreError> {
        self.with(|connection| {
            let read = |row: &rusqlite::Row<'_>| {
                Ok(Class {
                    title: row.get(0)?,
                    code: row.get(1)?,
                    password: row.get(2)?,
                    begun: rows::time(row.get(3)?),
                })
            };
            let query = "SELECT title, code, password, begun FROM class";
            connection.query_row(query, [], read).optional()
        })
    }

    /// Begins the class, or changes its title, code and password.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn begin(&self, class: &Class) -> Result<(), StoreError> {
        let Class {
            title,
            code,
            password,
            begun,
        } = class;
        self.transaction(|transaction| {
            transaction.execute("DELETE FROM class", [])?;
            let begun = begun.as_millisecond();
            let insert = "INSERT INTO class (title, code, password, begun) VALUES (?1, ?2, ?3, ?4)";
            transaction.execute(insert, params![title, code, password, begun])?;
            Ok(())
        })
    }

    /// Lets a student in, or back in: the same machine is the same student. Answers her number.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn admit(
        &self,
        client: &str,
        name: &str,
        version: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.with(|connection| {
            let insert = "INSERT INTO student (client, name, token, version, joined, seen) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
                ON CONFLICT (client) DO UPDATE SET name = ?2, token = ?3, version = ?4, seen = ?5, has_left = 0
                RETURNING id";
            let now = now.as_millisecond();
            connection.query_row(
                insert,
                params![client, name, digest(token), version, now],
                |row| rows::number(row, 0),
            )
        })
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn student_of(&self, token: &str) -> Result<Option<u64>, StoreError> {
        self.with(|connection| {
            let query = "SELECT id FROM student WHERE token = ?1 AND has_left = 0";
            connection
                .query_row(query, [digest(token)], |row| rows::number(row, 0))
                .optional()
        })
    }

    /// Keeps events of a student; answers up to which number all are kept, and those that are new
    /// here.
    ///
    /// # Errors
    /// Where the file cannot be written: then none is kept.
    pub fn keep(
        &self,
        student: u64,
        events: &[Event],
        now: Timestamp,
    ) -> Result<(u64, Vec<Event>), StoreError> {
        let student = rows::id(student);
        self.transaction(|transaction| {
            let mut fresh = Vec::new();
            let insert = "INSERT OR IGNORE INTO event (student, number, at, received, body) VALUES (?1, ?2, ?3, ?4, ?5)";
            for event in events {
                let body = serde_json::to_string(&event.what).unwrap_or_default();
                let (number, at) = (rows::id(event.number), event.at.as_millisecond());
                let values = params![student, number, at, now.as_millisecond(), body];
                if transaction.prepare_cached(insert)?.execute(values)? == 1 {
                    keep_effect(transaction, student, number, &event.what)?;
                    fresh.push(event.clone());
                }
            }
            let acknowledged = acknowledged(transaction, student)?;
            let update = "UPDATE student SET acknowledged = ?2, seen = ?3 WHERE id = ?1";
            let values = params![student, acknowledged, now.as_millisecond()];
            transaction.prepare_cached(update)?.execute(values)?;
            Ok((u64::try_from(acknowledged).unwrap_or_default(), fresh))
        })
    }

    /// Notes that a student was heard of.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn heard_of(&self, student: u64, now: Timestamp) -> Result<(), StoreError> {
        self.with(|connection| {
            let update = "UPDATE student SET seen = ?2 WHERE id = ?1";
            let values = params![rows::id(student), now.as_millisecond()];
            connection.prepare_cached(update)?.execute(values)?;
            Ok(())
        })
    }

    /// Keeps a wish, of one student or of all; answers the order that it became.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn wish(
        &self,
        student: Option<u64>,
        wish: Wish,
        now: Timestamp,
    ) -> Result<Order, StoreError> {
        let number = self.with(|connection| {
            let body = serde_json::to_string(&wish).unwrap_or_default();
            let insert =
                "INSERT INTO wish (student, at, body) VALUES (?1, ?2, ?3) RETURNING number";
            let values = params![student.map(rows::id), now.as_millisecond(), body];
            connection.query_row(insert, values, |row| rows::number(row, 0))
        })?;
        Ok(Order {
            number,
            at: now,
            wish,
        })
    }

    /// The orders of a student after a number.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn orders(&self, student: u64, after: u64) -> Result<Vec<Order>, StoreError> {
        self.with(|connection| {
            let query = "SELECT number, at, body FROM wish
                WHERE number > ?2 AND (student IS NULL OR student = ?1) ORDER BY number LIMIT 100";
            let mut statement = connection.prepare_cached(query)?;
            let rows =
                statement.query_map(params![rows::id(student), rows::id(after)], rows::order)?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// The number of the last order of all.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn last_order(&self) -> Result<u64, StoreError> {
        self.with(|connection| {
            let query = "SELECT coalesce(max(number), 0) FROM wish";
            connection.query_row(query, [], |row| rows::number(row, 0))
        })
    }

    /// A student leaves: her token opens nothing any more, and her hand is down. What she shared
    /// before stays.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn forget_token(&self, student: u64) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            let student = rows::id(student);
            transaction.execute("UPDATE student SET has_left = 1 WHERE id = ?1", [student])?;
            let settle = "UPDATE hand SET closed = taken WHERE student = ?1 AND closed IS NULL AND taken IS NOT NULL";
            transaction.execute(settle, [student])?;
            let drop = "DELETE FROM hand WHERE student = ?1 AND closed IS NULL";
            transaction.execute(drop, [student])?;
            Ok(())
        })
    }

    /// Every student.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn members(&self) -> Result<Vec<Member>, StoreError> {
        self.with(|connection| {
            let query =
                "SELECT id, client, name, version, joined, seen, has_left FROM student ORDER BY id";
            let mut statement = connection.prepare_cached(query)?;
            let rows = statement.query_map([], rows::member)?;
            rows.collect()
        })
    }

    /// Every event of one student or of all, each student's in the order of their numbers.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn records(&self, student: Option<u64>) -> Result<Vec<Record>, StoreError> {
        self.with(|connection| {
            let query = "SELECT student, number, at, received, body FROM event
                WHERE ?1 IS NULL OR student = ?1 ORDER BY student, number";
            let mut statement = connection.prepare_cached(query)?;
            let rows = statement.query_map([student.map(rows::id)], rows::record)?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// Raised hands that are not settled, the oldest first.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn hands(&self) -> Result<Vec<Hand>, StoreError> {
        self.with(|connection| {
            let query =
                "SELECT hand.student, hand.number, event.at, event.body, hand.taken_by, hand.taken
                FROM hand JOIN event ON event.student = hand.student AND event.number = hand.number
                WHERE hand.closed IS NULL ORDER BY event.at, hand.student";
            let mut statement = connection.prepare_cached(query)?;
            let rows = statement.query_map([], rows::hand)?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// A teacher takes a raised hand; false where another has, or it is settled.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn take_hand(
        &self,
        student: u64,
        number: u64,
        teacher: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.with(|connection| {
            let update = "UPDATE hand SET taken_by = ?3, taken = ?4
                WHERE student = ?1 AND number = ?2 AND closed IS NULL AND (taken_by IS NULL OR taken_by = ?3)";
            let now = now.as_millisecond();
            let values = params![rows::id(student), rows::id(number), teacher, now];
            Ok(connection.execute(update, values)? == 1)
        })
    }

    /// A raised hand is settled; false where it was already.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn close_hand(
        &self,
        student: u64,
        number: u64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.with(|connection| {
            let update =
                "UPDATE hand SET closed = ?3 WHERE student = ?1 AND number = ?2 AND closed IS NULL";
            let values = params![rows::id(student), rows::id(number), now.as_millisecond()];
            Ok(connection.execute(update, values)? == 1)
        })
    }

    /// Begins a teacher's session.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn log_in(
        &self,
        token: &str,
        session: &Session,
        ends: Timestamp,
    ) -> Result<(), StoreError> {
        self.with(|connection| {
            let Session { teacher, csrf } = session;
            let insert = "INSERT INTO session (token, teacher, csrf, ends) VALUES (?1, ?2, ?3, ?4)";
            let values = params![digest(token), teacher, csrf, ends.as_millisecond()];
            connection.execute(insert, values)?;
            Ok(())
        })
    }

    /// The session of a token, unless it has ended.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn session(&self, token: &str, now: Timestamp) -> Result<Option<Session>, StoreError> {
        self.with(|connection| {
            let query = "SELECT teacher, csrf FROM session WHERE token = ?1 AND ends > ?2";
            let read = |row: &rusqlite::Row<'_>| {
                Ok(Session {
                    teacher: row.get(0)?,
                    csrf: row.get(1)?,
                })
            };
            connection
                .query_row(query, params![digest(token), now.as_millisecond()], read)
                .optional()
        })
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn log_out(&self, token: &str) -> Result<(), StoreError> {
        self.with(|connection| {
            connection.execute("DELETE FROM session WHERE token = ?1", [digest(token)])?;
            Ok(())
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&self.lock()).map_err(|source| self.failed(source))
    }

    fn transaction<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = self.lock();
        let done = connection.transaction().and_then(|transaction| {
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        });
        done.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        match source {
            rusqlite::Error::FromSqlConversionFailure(_, _, problem) => StoreError::Damaged {
                path: self.path.clone(),
                problem: problem.to_string(),
            },
            source => StoreError::Sqlite {
                path: self.path.clone(),
                source,
            },
        }
    }
}

/// What an event changes beside being kept.
fn keep_effect(
    transaction: &Transaction<'_>,
    student: i64,
    number: i64,
    what: &What,
) -> rusqlite::Result<()> {
    /// A hand that is raised anew replaces the one before, and one that is lowered is settled.
    const LOWER: &str =
        "UPDATE hand SET closed = (SELECT at FROM event WHERE student = ?1 AND number = ?2)
        WHERE student = ?1 AND number < ?2 AND closed IS NULL";
    match what {
        What::HandRaised { .. } => {
            transaction.execute(LOWER, params![student, number])?;
            let insert = "INSERT INTO hand (student, number) VALUES (?1, ?2)";
            transaction.execute(insert, params![student, number])?;
        }
        What::HandLowered {} => {
            transaction.execute(LOWER, params![student, number])?;
        }
        What::Left {} => {
            transaction.execute(LOWER, params![student, number])?;
            transaction.execute("UPDATE student SET has_left = 1 WHERE id = ?1", [student])?;
        }
        What::Opened { .. }
        | What::Checked { .. }
        | What::Hinted { .. }
        | What::Doctor { .. }
        | What::Faults { .. }
        | What::Recovered { .. } => {}
    }
    Ok(())
}

/// Up to which number a student's events are all kept.
fn acknowledged(transaction: &Transaction<'_>, student: i64) -> rusqlite::Result<i64> {
    let query = "SELECT acknowledged FROM student WHERE id = ?1";
    let mut known: i64 = transaction
        .prepare_cached(query)?
        .query_row([student], |row| row.get(0))?;
    let mut later = transaction.prepare_cached(
        "SELECT number FROM event WHERE student = ?1 AND number > ?2 ORDER BY number",
    )?;
    let numbers = later.query_map(params![student, known], |row| row.get::<_, i64>(0))?;
    for number in numbers {
        if number? != known + 1 {
            break;
        }
        known += 1;
    }
    Ok(known)
}

#[cfg(test)]
mod tests;
