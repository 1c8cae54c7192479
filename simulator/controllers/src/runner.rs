//! What every controller stands on: shared caches, work queues, and workers.
//!
//! ```text
//!  watch ──► Cache<T> ──handlers──► Queue<Key> ──► workers ──► reconcile(key) ──► API
//!            one per kind           one per controller          reads caches
//! ```
//!
//! A dozen controllers look at pods, and ten look at ReplicaSets: one watch per kind feeds them
//! all, as the shared informers of kube-controller-manager do. Nothing here knows what a
//! controller wants.

mod cache;
mod error;
mod events;
mod key;
mod own_writes;
mod queue;
mod work;

pub(crate) use cache::{Cache, Cached, Change, Index, follow, revision_of};
pub(crate) use error::{During, Error};
pub(crate) use events::events;
pub(crate) use key::Key;
pub(crate) use own_writes::OwnWrites;
pub(crate) use queue::Queue;
pub(crate) use work::{Next, work};
