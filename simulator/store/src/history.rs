//! The recent events of one collection.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use crate::{Compacted, Event, Revision};

/// Events kept of any collection, however small. A reconnecting client is typically seconds
/// late; three nodes' leases need hours to push out that many.
pub(crate) const MIN_EVENTS: usize = 4096;

/// Bytes of events kept of any collection. Holds 500 objects of 4 KB, many rollouts of a
/// classroom's size; half a dozen busy collections then stay within the memory budget of a
/// cluster, which larger histories were seen to fill in ten minutes of rollouts.
pub(crate) const MIN_BYTES: usize = 2 << 20;

/// Events and bytes kept beyond the bounds above for open watches that have not read them yet. A
/// burst of ten thousand pods is tens of megabytes that a busy machine reads a second late, and
/// a watch that is sent back to the start then costs more than the memory. A watch that is never
/// read holds this much and no more.
pub(crate) const MAX_UNREAD_EVENTS: usize = 1 << 16;
/// See [`MAX_UNREAD_EVENTS`].
pub(crate) const MAX_UNREAD_BYTES: usize = 64 << 20;

/// What an event costs beyond its value, roughly: the struct, its name, its reference counts.
const EVENT_OVERHEAD: usize = 128;

/// Events in revision order, bounded by count and by bytes.
///
/// The bounds grow with the collection, because the price of falling behind does: a client
/// that lost its place reads every live object again. So up to one event per live object is
/// kept, and up to half of the live bytes.
#[derive(Debug)]
pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Every event after this revision is here.
    floor: Revision,
    /// How far each open watch has read.
    readers: Vec<Weak<AtomicU64>>,
    /// No open watch needs an event up to this revision.
    read_by_all: Revision,
}

/// How far a watch has read; it is open as long as this lives.
#[derive(Debug)]
pub(crate) struct Reader(Arc<AtomicU64>);

impl Reader {
    /// The revision up to which everything was read.
    pub(crate) fn position(&self) -> Revision {
        self.0.load(Ordering::Relaxed)
    }

    /// Everything up to `revision` was read.
    pub(crate) fn advance(&self, revision: Revision) {
        self.0.store(revision, Ordering::Relaxed);
    }
}

impl History {
    pub(crate) fn starting_after(floor: Revision) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            floor,
            readers: Vec::new(),
            read_by_all: floor,
        }
    }

    /// Opens a watch that has read everything up to `revision`.
    ///
    /// # Errors
    /// Where events after `revision` have been forgotten.
    pub(crate) fn open(&mut self, revision: Revision) -> Result<Reader, Compacted> {
        self.reaches(revision)?;
        let position = Arc::new(AtomicU64::new(revision));
        self.readers.retain(|reader| reader.strong_count() > 0);
        self.readers.push(Arc::downgrade(&position));
        self.read_by_all = self.read_by_all.min(revision);
        Ok(Reader(position))
    }

    /// Appends `event`, which must be newer than all others, and forgets what exceeds the
    /// bounds of a collection of `live` objects and `live_bytes` bytes.
    pub(crate) fn push(&mut self, event: Arc<Event>, live: usize, live_bytes: usize) {
        self.bytes += cost(&event);
        self.events.push_back(event);
        let (most, most_bytes) = (live.max(MIN_EVENTS), (live_bytes / 2).max(MIN_BYTES));
        while self.events.len() > most || self.bytes > most_bytes {
            let holds = self.events.len() <= most.saturating_add(MAX_UNREAD_EVENTS)
                && self.bytes <= most_bytes.saturating_add(MAX_UNREAD_BYTES);
            let oldest = self.events.front().map(|event| event.revision);
            if holds && oldest.is_some_and(|revision| self.is_wanted(revision)) {
                break;
            }
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= cost(&oldest);
            self.floor = oldest.revision;
        }
    }

    /// Whether an open watch has yet to read the event at `revision`.
    fn is_wanted(&mut self, revision: Revision) -> bool {
        if revision > self.read_by_all {
            self.readers.retain(|reader| reader.strong_count() > 0);
            let positions = self.readers.iter().filter_map(Weak::upgrade);
            let slowest = positions.map(|at| at.load(Ordering::Relaxed)).min();
            self.read_by_all = slowest.unwrap_or(Revision::MAX);
        }
        revision > self.read_by_all
    }

    /// Fails where events after `revision` have been forgotten.
    fn reaches(&self, revision: Revision) -> Result<(), Compacted> {
        if revision < self.floor {
            return Err(Compacted { oldest: self.floor });
        }
        Ok(())
    }

    /// Appends up to `limit` of the events after `revision` to `into`.
    pub(crate) fn read_after(
        &self,
        revision: Revision,
        limit: usize,
        into: &mut VecDeque<Arc<Event>>,
    ) -> Result<(), Compacted> {
        self.reaches(revision)?;
        let first = self
            .events
            .partition_point(|event| event.revision <= revision);
        into.extend(self.events.range(first..).take(limit).cloned());
        Ok(())
    }
}

/// `previous` costs nothing: it is the value of an earlier event, shared.
fn cost(event: &Event) -> usize {
    event.value.len() + EVENT_OVERHEAD
}
