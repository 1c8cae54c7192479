//! What goes into the store and what comes out.

use std::sync::Arc;

use bytes::Bytes;

/// Position in the total order of all writes. The first write gets 1; 0 is the empty store.
/// Never reused, not even after a restart or a deletion.
pub type Revision = u64;

/// One live value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name within the collection.
    pub name: Arc<str>,
    /// The value as it was encoded for `revision`.
    pub value: Bytes,
    /// The write that made it.
    pub revision: Revision,
}

/// What must hold at the moment of a write; otherwise nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing: a put creates or replaces.
    None,
    /// The name is free.
    Absent,
    /// The name is taken.
    Present,
    /// The name is taken by exactly this revision.
    Revision(Revision),
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Created or replaced the value.
    Put,
    /// Removed it.
    Delete,
}

/// One write, as watches see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The write's position.
    pub revision: Revision,
    /// Name within the collection.
    pub name: Arc<str>,
    /// What was done.
    pub change: Change,
    /// The new value; for a deletion, the last state encoded with the deletion's revision.
    pub value: Bytes,
    /// The value before, so that a filtered watch can tell "entered my filter" from "changed
    /// inside it". `None` for a creation.
    pub previous: Option<Bytes>,
}

/// A part of a collection, in name order, as it was at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The revision of the view: a watch started after it sees exactly what came later.
    pub revision: Revision,
    /// How many entries with the prefix follow the last one given.
    pub remaining: usize,
}
