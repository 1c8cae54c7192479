//! What reads see: every live value, the recent events, and the present revision.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use tokio::sync::watch;

use crate::batch::Write;
use crate::history::{History, Reader};
use crate::{Change, Compacted, Entry, Event, Page, Revision};

/// The state behind one lock, so that a list and its revision are one consistent view.
///
/// The lock is held for map operations only, never for the disk, for an encoder or across an
/// await; a poisoned lock is entered, because no operation can stop half-way.
#[derive(Debug)]
pub(crate) struct Memory(RwLock<State>);

#[derive(Debug)]
struct State {
    revision: Revision,
    /// The revision at opening: nothing before it can be replayed.
    opened_at: Revision,
    collections: BTreeMap<Arc<str>, Collection>,
}

#[derive(Debug)]
struct Collection {
    entries: BTreeMap<Arc<str>, Stored>,
    bytes: usize,
    history: History,
    /// Wakes the watches of this collection.
    signal: watch::Sender<Revision>,
}

#[derive(Clone, Debug)]
struct Stored {
    value: Bytes,
    revision: Revision,
}

impl Memory {
    /// The state that `load` reads: each live entry with its collection.
    pub(crate) fn new(
        revision: Revision,
        live: impl IntoIterator<Item = (Arc<str>, Entry)>,
    ) -> Self {
        let mut state = State {
            revision,
            opened_at: revision,
            collections: BTreeMap::new(),
        };
        for (collection, entry) in live {
            let collection = state.collection(&collection);
            collection.bytes += entry.name.len() + entry.value.len();
            let stored = Stored {
                value: entry.value,
                revision: entry.revision,
            };
            collection.entries.insert(entry.name, stored);
        }
        Self(RwLock::new(state))
    }

    pub(crate) fn revision(&self) -> Revision {
        self.read().revision
    }

    pub(crate) fn revision_of(&self, collection: &str, name: &str) -> Option<Revision> {
        let state = self.read();
        let stored = state.collections.get(collection)?.entries.get(name)?;
        Some(stored.revision)
    }

    pub(crate) fn get(&self, collection: &str, name: &str) -> Option<Entry> {
        let state = self.read();
        let (name, stored) = state
            .collections
            .get(collection)?
            .entries
            .get_key_value(name)?;
        Some(stored.entry(name))
    }

    pub(crate) fn list(
        &self,
        collection: &str,
        prefix: &str,
        start_after: Option<&str>,
        limit: Option<usize>,
    ) -> Page {
        let state = self.read();
        let mut page = Page {
            entries: Vec::new(),
            revision: state.revision,
            remaining: 0,
        };
        let Some(collection) = state.collections.get(collection) else {
            return page;
        };
        let start = match start_after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let mut matching = collection
            .entries
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix));
        page.entries = matching
            .by_ref()
            .take(limit.unwrap_or(usize::MAX))
            .map(|(name, stored)| stored.entry(name))
            .collect();
        page.remaining = matching.count();
        page
    }

    pub(crate) fn collections(&self) -> Vec<String> {
        self.read()
            .collections
            .iter()
            .filter(|(_, collection)| !collection.entries.is_empty())
            .map(|(name, _)| name.to_string())
            .collect()
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        let collections = &self.read().collections;
        let bytes: usize = collections.values().map(|c| c.bytes).sum();
        bytes as u64
    }

    /// Makes committed `writes` visible, all at once, and wakes the watches they concern.
    pub(crate) fn apply(&self, writes: Vec<Write>) {
        let mut touched: BTreeMap<Arc<str>, watch::Sender<Revision>> = BTreeMap::new();
        let mut state = self.write();
        for write in writes {
            state.revision = write.revision;
            let name = Arc::clone(&write.collection);
            let collection = state.collection(&name);
            collection.apply(write);
            touched
                .entry(name)
                .or_insert_with(|| collection.signal.clone());
        }
        let revision = state.revision;
        // Woken watches need the lock: let it go first.
        drop(state);
        for signal in touched.into_values() {
            signal.send_replace(revision);
        }
    }

    /// What a watch of `collection` after `revision` waits on.
    ///
    /// A revision from the future belongs to another store (one that was deleted, perhaps), so
    /// its holder is told to list again rather than left waiting.
    pub(crate) fn subscribe(
        &self,
        collection: &str,
        revision: Revision,
    ) -> Result<(watch::Receiver<Revision>, Reader), Compacted> {
        let mut state = self.write();
        if revision > state.revision {
            let oldest = state.revision;
            return Err(Compacted { oldest });
        }
        let collection = state.collection(&Arc::from(collection));
        let reader = collection.history.open(revision)?;
        Ok((collection.signal.subscribe(), reader))
    }

    /// Appends up to `limit` of the events of `collection` after `revision` to `into`.
    pub(crate) fn read_events(
        &self,
        collection: &str,
        revision: Revision,
        limit: usize,
        into: &mut VecDeque<Arc<Event>>,
    ) -> Result<(), Compacted> {
        match self.read().collections.get(collection) {
            Some(collection) => collection.history.read_after(revision, limit, into),
            None => Ok(()),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn collection(&mut self, name: &Arc<str>) -> &mut Collection {
        let opened_at = self.opened_at;
        self.collections
            .entry(Arc::clone(name))
            .or_insert_with(|| Collection {
                entries: BTreeMap::new(),
                bytes: 0,
                history: History::starting_after(opened_at),
                signal: watch::Sender::new(opened_at),
            })
    }
}

impl Collection {
    fn apply(&mut self, write: Write) {
        let Write {
            collection: _,
            name,
            change,
            revision,
            value,
        } = write;
        // The key that is already there, so that an object's many events share one name.
        let name = match self.entries.get_key_value(&name) {
            Some((present, _)) => Arc::clone(present),
            None => name,
        };
        let previous = match change {
            Change::Put => {
                self.bytes += name.len() + value.len();
                let stored = Stored {
                    value: value.clone(),
                    revision,
                };
                self.entries.insert(Arc::clone(&name), stored)
            }
            Change::Delete => self.entries.remove(&name),
        };
        if let Some(previous) = &previous {
            self.bytes -= name.len() + previous.value.len();
        }
        let event = Event {
            revision,
            name,
            change,
            value,
            previous: previous.map(|stored| stored.value),
        };
        self.history
            .push(Arc::new(event), self.entries.len(), self.bytes);
    }
}

impl Stored {
    fn entry(&self, name: &Arc<str>) -> Entry {
        Entry {
            name: Arc::clone(name),
            value: self.value.clone(),
            revision: self.revision,
        }
    }
}
