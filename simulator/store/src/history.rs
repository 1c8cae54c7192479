//! The recent events of one collection.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Compacted, Event, Revision};

/// Events kept of any collection, however small. A reconnecting client is typically seconds
/// late; three nodes' leases need hours to push out that many.
pub(crate) const MIN_EVENTS: usize = 4096;

/// Bytes of events kept of any collection. Holds 500 objects of 4 KB, many rollouts of a
/// classroom's size; half a dozen busy collections then stay within the memory budget of a
/// cluster, which larger histories were seen to fill in ten minutes of rollouts.
pub(crate) const MIN_BYTES: usize = 2 << 20;

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
}

impl History {
    pub(crate) fn starting_after(floor: Revision) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            floor,
        }
    }

    /// Appends `event`, which must be newer than all others, and forgets what exceeds the
    /// bounds of a collection of `live` objects and `live_bytes` bytes.
    pub(crate) fn push(&mut self, event: Arc<Event>, live: usize, live_bytes: usize) {
        self.bytes += cost(&event);
        self.events.push_back(event);
        let (most, most_bytes) = (live.max(MIN_EVENTS), (live_bytes / 2).max(MIN_BYTES));
        while self.events.len() > most || self.bytes > most_bytes {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= cost(&oldest);
            self.floor = oldest.revision;
        }
    }

    /// Fails where events after `revision` have been forgotten.
    pub(crate) fn reaches(&self, revision: Revision) -> Result<(), Compacted> {
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
