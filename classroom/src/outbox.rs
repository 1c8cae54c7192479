//! What a student's machine has to tell, written down before it is sent.
//!
//! `membership.json` says which class she is in; `outbox.jsonl` holds an event per line until the
//! server has acknowledged it; `acknowledged.json` the number up to which it has. Numbers are
//! never given twice: the next one follows the greatest of both files. A line that a crash cut
//! short was never promised to anybody and is dropped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::protocol::{Event, Order, What, Wish};

/// Which class a student is in, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// The server, as `http://HOST:PORT`.
    pub server: String,
    /// The class's title.
    pub class: String,
    /// Her number in it.
    pub student: u64,
    /// Her name in it.
    pub name: String,
    /// Proves who she is.
    pub token: String,
    /// What her machine calls itself.
    pub client: String,
    /// True where the teacher may break things on her cluster.
    #[serde(default)]
    pub faults: bool,
}

/// What the class server has told last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Number of the last order.
    pub last: u64,
    /// The labs that are open; all where empty.
    #[serde(default)]
    pub open: Vec<String>,
    /// Where the class is, as `lab/step`.
    #[serde(default)]
    pub point: Option<String>,
    /// Messages that she has not seen yet.
    #[serde(default)]
    pub unread: Vec<String>,
    /// Faults that are to be injected.
    #[serde(default)]
    pub faults: Vec<Order>,
    /// Who is on her way to the raised hand.
    #[serde(default)]
    pub coming: Option<String>,
}

/// Why something cannot be written down.
#[derive(Debug, thiserror::Error)]
#[error("failed to {verb} {path}")]
pub struct OutboxError {
    verb: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The directory of what is to be told.
#[derive(Clone, Debug)]
pub struct Outbox {
    dir: PathBuf,
}

const EVENTS: &str = "outbox.jsonl";
const ACKNOWLEDGED: &str = "acknowledged.json";
const MEMBERSHIP: &str = "membership.json";
const TOLD: &str = "told.json";
const LAST_CHECK: &str = "last-check.json";

impl Outbox {
    /// The outbox in a directory, which need not exist.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Where it is kept.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The class that she is in, if any.
    ///
    /// # Errors
    /// Where the file is there and cannot be read.
    pub fn membership(&self) -> Result<Option<Membership>, OutboxError> {
        self.read(MEMBERSHIP)
    }

    /// Notes that she has joined. What an earlier class has not been told is forgotten with it,
    /// unless it is the same class.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn join(&self, membership: &Membership) -> Result<(), OutboxError> {
        let _lock = self.lock()?;
        let same = self.membership()?.is_some_and(|before| {
            before.server == membership.server && before.student == membership.student
        });
        if !same {
            self.forget()?;
        }
        self.write(MEMBERSHIP, membership)
    }

    /// Forgets the class and everything that it has not been told.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn leave(&self) -> Result<(), OutboxError> {
        let _lock = self.lock()?;
        self.forget()?;
        self.remove(MEMBERSHIP)
    }

    /// Writes an event down, to be sent later. Nothing happens outside a class.
    ///
    /// # Errors
    /// Where it cannot be written: the event is lost then.
    pub fn push(&self, what: What, now: Timestamp) -> Result<(), OutboxError> {
        if self.membership()?.is_none() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let (events, sound) = self.events()?;
        let path = self.dir.join(EVENTS);
        let failed = |source| failed("write", &path, source);
        let number = events
            .last()
            .map_or(self.acknowledged()?, |event| event.number)
            + 1;
        if let What::Checked { .. } = what {
            self.write(LAST_CHECK, &what)?;
        }
        let event = Event {
            number,
            at: now,
            what,
        };
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        let mut file = self.options().open(&path).map_err(failed)?;
        file.set_len(sound).map_err(failed)?;
        io::Seek::seek(&mut file, io::SeekFrom::End(0)).map_err(failed)?;
        file.write_all(&line).map_err(failed)?;
        file.sync_data().map_err(failed)
    }

    /// The oldest events that are not acknowledged, at most `limit`.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn pending(&self, limit: usize) -> Result<Vec<Event>, OutboxError> {
        let _lock = self.lock()?;
        let acknowledged = self.acknowledged()?;
        let (mut events, _) = self.events()?;
        events.retain(|event| event.number > acknowledged);
        events.truncate(limit);
        Ok(events)
    }

    /// Notes that everything up to a number is kept by the server.
    ///
    /// # Errors
    /// Where it cannot be written: the events are sent again, and counted once.
    pub fn acknowledge(&self, number: u64) -> Result<(), OutboxError> {
        let _lock = self.lock()?;
        let number = number.max(self.acknowledged()?);
        self.write(ACKNOWLEDGED, &number)?;
        let (mut events, _) = self.events()?;
        events.retain(|event| event.number > number);
        let mut text = Vec::new();
        for event in &events {
            text.extend(serde_json::to_vec(event).unwrap_or_default());
            text.push(b'\n');
        }
        self.replace(EVENTS, &text)
    }

    /// The last check, to go with a raised hand.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn last_check(&self) -> Result<Option<What>, OutboxError> {
        self.read(LAST_CHECK)
    }

    /// What the server has told.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn told(&self) -> Result<Told, OutboxError> {
        Ok(self.read(TOLD)?.unwrap_or_default())
    }

    /// Takes orders in, each once.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn take(&self, orders: Vec<Order>) -> Result<Told, OutboxError> {
        self.change(|told| {
            for order in orders {
                told.obey(order);
            }
        })
    }

    /// Changes what is remembered of what the server has told.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn change(&self, change: impl FnOnce(&mut Told)) -> Result<Told, OutboxError> {
        let _lock = self.lock()?;
        let mut told = self.told()?;
        change(&mut told);
        self.write(TOLD, &told)?;
        Ok(told)
    }

    fn acknowledged(&self) -> Result<u64, OutboxError> {
        Ok(self.read(ACKNOWLEDGED)?.unwrap_or_default())
    }

    /// The events, and how many bytes of the file are whole lines.
    fn events(&self) -> Result<(Vec<Event>, u64), OutboxError> {
        let path = self.dir.join(EVENTS);
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(failed("read", &path, source)),
        };
        let (mut events, mut sound) = (Vec::new(), 0);
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let Some(text) = line.strip_suffix(b"\n") else {
                break;
            };
            let Ok(event) = serde_json::from_slice(text) else {
                break;
            };
            events.push(event);
            sound += line.len() as u64;
        }
        Ok((events, sound))
    }

    fn forget(&self) -> Result<(), OutboxError> {
        [EVENTS, ACKNOWLEDGED, TOLD, LAST_CHECK]
            .into_iter()
            .try_for_each(|name| self.remove(name))
    }

    fn lock(&self) -> Result<File, OutboxError> {
        fs::create_dir_all(&self.dir).map_err(|source| failed("create", &self.dir, source))?;
        let path = self.dir.join("lock");
        let file = self
            .options()
            .open(&path)
            .map_err(|source| failed("open", &path, source))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| failed("lock", &path, error.into()))?;
        Ok(file)
    }

    /// For files that hold a token.
    fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        options
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, OutboxError> {
        let path = self.dir.join(name);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| failed("read", &path, error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed("read", &path, source)),
        }
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), OutboxError> {
        let text = serde_json::to_vec(value).unwrap_or_default();
        self.replace(name, &text)
    }

    /// Replaces a file as a whole.
    fn replace(&self, name: &str, content: &[u8]) -> Result<(), OutboxError> {
        let path = self.dir.join(name);
        let written = tempfile::NamedTempFile::new_in(&self.dir).and_then(|mut file| {
            file.write_all(content)?;
            file.as_file().sync_data()?;
            file.persist(&path).map_err(|error| error.error)
        });
        written
            .map(drop)
            .map_err(|source| failed("write", &path, source))
    }

    fn remove(&self, name: &str) -> Result<(), OutboxError> {
        let path = self.dir.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path, error))
            }
            _ => Ok(()),
        }
    }
}

impl Told {
    fn obey(&mut self, order: Order) {
        if order.number <= self.last {
            return;
        }
        self.last = order.number;
        match order.wish {
            Wish::Message { text } => self.unread.push(text),
            Wish::Point { lab, step } => self.point = Some(format!("{lab}/{step}")),
            Wish::Labs { open } => self.open = open,
            Wish::HandTaken { by } => self.coming = Some(by),
            Wish::HandClosed {} => self.coming = None,
            Wish::Fault { .. } => self.faults.push(order),
        }
    }
}

fn failed(verb: &'static str, path: &Path, source: io::Error) -> OutboxError {
    OutboxError {
        verb,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member() -> Membership {
        Membership {
            server: "http://10.0.0.1:8888".into(),
            class: "DevOps".into(),
            student: 7,
            name: "Ada".into(),
            token: "t".into(),
            client: "c".into(),
            faults: false,
        }
    }

    fn joined() -> (tempfile::TempDir, Outbox) {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::new(&dir.path().join("class"));
        outbox.join(&member()).unwrap();
        (dir, outbox)
    }

    fn push(outbox: &Outbox) {
        outbox
            .push(What::HandLowered {}, Timestamp::UNIX_EPOCH)
            .unwrap();
    }

    fn numbers(outbox: &Outbox) -> Vec<u64> {
        let pending = outbox.pending(100).unwrap();
        pending.iter().map(|event| event.number).collect()
    }

    #[test]
    fn outside_a_class_nothing_is_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::new(&dir.path().join("class"));
        push(&outbox);
        assert!(!outbox.dir().exists());
    }

    #[test]
    fn numbers_go_on_after_what_was_acknowledged() {
        let (_dir, outbox) = joined();
        push(&outbox);
        push(&outbox);
        assert_eq!(numbers(&outbox), [1, 2]);
        outbox.acknowledge(1).unwrap();
        assert_eq!(numbers(&outbox), [2]);
        outbox.acknowledge(2).unwrap();
        push(&outbox);
        assert_eq!(numbers(&outbox), [3]);
        assert_eq!(outbox.pending(0).unwrap(), []);
    }

    #[test]
    fn a_line_that_was_cut_short_is_dropped_and_its_number_given_anew() {
        let (_dir, outbox) = joined();
        push(&outbox);
        let path = outbox.dir().join(EVENTS);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], &whole[..whole.len() / 2]].concat()).unwrap();
        assert_eq!(numbers(&outbox), [1]);
        push(&outbox);
        assert_eq!(numbers(&outbox), [1, 2]);
    }

    #[test]
    fn another_class_is_not_told_what_the_last_one_was_not() {
        let (_dir, outbox) = joined();
        push(&outbox);
        outbox.join(&member()).unwrap();
        assert_eq!(numbers(&outbox), [1], "joining again is no other class");
        let other = Membership {
            server: "http://10.0.0.2:8888".into(),
            ..member()
        };
        outbox.join(&other).unwrap();
        assert_eq!(numbers(&outbox), [0_u64; 0]);
        outbox.leave().unwrap();
        assert_eq!(outbox.membership().unwrap(), None);
    }

    #[test]
    fn an_order_is_obeyed_once() {
        let (_dir, outbox) = joined();
        let order = |number, wish| Order {
            number,
            at: Timestamp::UNIX_EPOCH,
            wish,
        };
        let hello = || {
            order(
                1,
                Wish::Message {
                    text: "hello".into(),
                },
            )
        };
        outbox.take(vec![hello()]).unwrap();
        let told = outbox.take(vec![
            hello(),
            order(
                2,
                Wish::Labs {
                    open: vec!["ci".into()],
                },
            ),
        ]);
        let told = told.unwrap();
        assert_eq!(
            (told.unread.len(), told.open, told.last),
            (1, vec!["ci".to_owned()], 2)
        );
    }

    #[test]
    fn the_token_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_dir, outbox) = joined();
        let mode = fs::metadata(outbox.dir().join(MEMBERSHIP))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0);
    }
}
