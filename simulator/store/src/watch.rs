//! Following a collection.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use crate::history::Reader;
use crate::memory::Memory;
use crate::{Compacted, Event, Revision};

/// Events taken from the shared history at a time. Large enough that a busy watch rarely takes
/// the lock, small enough that a stalled one pins little memory.
const READ_AHEAD: usize = 64;

/// The events of one collection after a revision, in order, none lost, none twice.
///
/// A watch that is read too slowly holds its place in the history within bounds; then it gets
/// [`Compacted`], and from then on for ever, while writers are never held up. It keeps the store's memory alive but not
/// its file; once the store is closed no event comes any more.
#[derive(Debug)]
pub struct Watch {
    memory: Arc<Memory>,
    collection: Arc<str>,
    /// Everything up to here was delivered or lies in `ahead`.
    reader: Reader,
    ahead: VecDeque<Arc<Event>>,
    signal: watch::Receiver<Revision>,
}

impl Watch {
    pub(crate) fn start(
        memory: Arc<Memory>,
        collection: &str,
        after: Revision,
    ) -> Result<Self, Compacted> {
        let (signal, reader) = memory.subscribe(collection, after)?;
        Ok(Self {
            memory,
            collection: Arc::from(collection),
            reader,
            ahead: VecDeque::new(),
            signal,
        })
    }

    /// Waits for the next event. Cancel-safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// [`Compacted`] where this watch has fallen behind the kept history.
    pub async fn next(&mut self) -> Result<Arc<Event>, Compacted> {
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            let open = self.signal.changed().await;
            open.expect("the memory that this watch holds owns the sender");
        }
    }

    /// The next event if it has already happened.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, Compacted> {
        if self.ahead.is_empty() {
            // Marked as seen before reading: a write in between wakes us once too often, never
            // once too little.
            self.signal.mark_unchanged();
            self.memory.read_events(
                &self.collection,
                self.reader.position(),
                READ_AHEAD,
                &mut self.ahead,
            )?;
            if let Some(last) = self.ahead.back() {
                self.reader.advance(last.revision);
            }
        }
        Ok(self.ahead.pop_front())
    }
}
