//! What a write does, before it is durable: preconditions, revisions, encoding.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;

use crate::memory::Memory;
use crate::{Change, Entry, Precondition, Revision, WriteError};

/// Makes the value for the revision that the write gets.
pub(crate) type Encode = Box<dyn FnOnce(Revision) -> Bytes + Send>;

/// A write as it was asked for.
pub(crate) struct Operation {
    pub(crate) collection: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) change: Change,
    pub(crate) precondition: Precondition,
    pub(crate) encode: Encode,
}

/// A write that will happen when its batch commits.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) collection: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) change: Change,
    pub(crate) revision: Revision,
    pub(crate) value: Bytes,
}

/// Why an operation adds nothing to a batch.
pub(crate) enum Refusal {
    /// It cannot be done.
    Error(WriteError),
    /// Its encoder panicked; the panic belongs to whoever asked for the write.
    Panic(Box<dyn Any + Send>),
}

/// Writes that commit together. Each sees the ones before it, as if they had committed.
pub(crate) struct Batch<'a> {
    memory: &'a Memory,
    revision: Revision,
    /// The revision that each written name will have; `None` once deleted.
    pending: HashMap<(Arc<str>, Arc<str>), Option<Revision>>,
    writes: Vec<Write>,
}

impl<'a> Batch<'a> {
    /// An empty batch on top of `memory`, which nobody else may write to meanwhile.
    pub(crate) fn new(memory: &'a Memory) -> Self {
        Self {
            memory,
            revision: memory.revision(),
            pending: HashMap::new(),
            writes: Vec::new(),
        }
    }

    /// Adds a write, and answers with the entry that it will make. For a deletion that is the
    /// last state with the deletion's revision.
    pub(crate) fn add(&mut self, operation: Operation) -> Result<Entry, Refusal> {
        let Operation {
            collection,
            name,
            change,
            precondition,
            encode,
        } = operation;
        let key = (collection, name);
        let current = match self.pending.get(&key) {
            Some(pending) => *pending,
            None => self.memory.revision_of(&key.0, &key.1),
        };
        decide(change, precondition, current).map_err(Refusal::Error)?;
        let revision = self.revision + 1;
        // Safe to go on after a panic: nothing of the batch has changed yet.
        let value = catch_unwind(AssertUnwindSafe(|| encode(revision))).map_err(Refusal::Panic)?;
        self.revision = revision;
        let (collection, name) = key.clone();
        let after = match change {
            Change::Put => Some(revision),
            Change::Delete => None,
        };
        self.pending.insert(key, after);
        self.writes.push(Write {
            collection,
            name: Arc::clone(&name),
            change,
            revision,
            value: value.clone(),
        });
        Ok(Entry {
            name,
            value,
            revision,
        })
    }

    /// The writes, in revision order.
    pub(crate) fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Makes the batch visible. Call it only once it is durable.
    pub(crate) fn publish(self) {
        if !self.writes.is_empty() {
            self.memory.apply(self.writes);
        }
    }
}

/// Whether a write may happen to a name whose present revision is `current`.
fn decide(
    change: Change,
    precondition: Precondition,
    current: Option<Revision>,
) -> Result<(), WriteError> {
    match (precondition, current) {
        (Precondition::Revision(wanted), current) if current != Some(wanted) => {
            Err(WriteError::Conflict { current })
        }
        (Precondition::Absent, Some(_)) => Err(WriteError::AlreadyExists),
        (Precondition::Present, None) => Err(WriteError::NotFound),
        (Precondition::None | Precondition::Absent, None) => match change {
            Change::Put => Ok(()),
            Change::Delete => Err(WriteError::NotFound),
        },
        (Precondition::None | Precondition::Present | Precondition::Revision(_), _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(change: Change, precondition: Precondition, current: Option<Revision>, outcome: &str) {
        let said = match decide(change, precondition, current) {
            Ok(()) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(said, outcome, "{change:?} {precondition:?} of {current:?}");
    }

    #[test]
    fn a_write_happens_only_where_its_precondition_holds() {
        use Change::{Delete, Put};
        use Precondition::{Absent, None as Any, Present, Revision};
        case(Put, Any, None, "done");
        case(Put, Any, Some(3), "done");
        case(Put, Absent, None, "done");
        case(Put, Absent, Some(3), "already exists");
        case(Put, Present, None, "not found");
        case(Put, Present, Some(3), "done");
        case(Put, Revision(3), Some(3), "done");
        case(
            Put,
            Revision(2),
            Some(3),
            "the value is at revision Some(3)",
        );
        case(Put, Revision(2), None, "the value is at revision None");
        case(Delete, Any, None, "not found");
        case(Delete, Any, Some(3), "done");
        case(Delete, Absent, None, "not found");
        case(Delete, Absent, Some(3), "already exists");
        case(Delete, Present, None, "not found");
        case(Delete, Present, Some(3), "done");
        case(Delete, Revision(3), Some(3), "done");
        case(
            Delete,
            Revision(4),
            Some(3),
            "the value is at revision Some(3)",
        );
        case(Delete, Revision(4), None, "the value is at revision None");
    }
}
