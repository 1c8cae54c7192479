//! Not acting on a cache that has not yet seen what one did oneself.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

use super::revision_of;

/// How long to wait for the cache. A watch that lost its place and listed afresh can miss the
/// very revision waited for (an object created and deleted in between), so the wait must end.
const PATIENCE: Duration = Duration::from_secs(30);

/// For each key, the revision of the latest write made for it.
///
/// A controller that creates three pods and reads its cache a millisecond later may see none
/// of them, and would create three more. So it asks here first, and waits for the event that
/// brings the cache up to its own write. (kube-controller-manager keeps "expectations" for the
/// same end.)
pub(crate) struct OwnWrites<K> {
    latest: Mutex<HashMap<K, Written>>,
}

#[derive(Clone, Copy)]
struct Written {
    revision: u64,
    at: Instant,
}

impl<K: Eq + Hash + Clone> OwnWrites<K> {
    /// Nothing written yet.
    pub(crate) fn new() -> Self {
        Self {
            latest: Mutex::new(HashMap::new()),
        }
    }

    /// Notes a write for `key` that was answered with `written`.
    pub(crate) fn record(&self, key: &K, written: &ObjectMeta) {
        let Some(revision) = revision_of(written) else {
            return;
        };
        let at = Instant::now();
        let mut latest = self.lock();
        let entry = latest
            .entry(key.clone())
            .or_insert(Written { revision, at });
        entry.revision = entry.revision.max(revision);
        entry.at = at;
    }

    /// How long to wait at most until a cache at revision `observed` has seen the writes for
    /// `key`; `None` when it has.
    pub(crate) fn unseen(&self, key: &K, observed: u64) -> Option<Duration> {
        let mut latest = self.lock();
        let written = *latest.get(key)?;
        let left = PATIENCE.saturating_sub(written.at.elapsed());
        if observed >= written.revision || left.is_zero() {
            latest.remove(key);
            return None;
        }
        Some(left)
    }

    /// Forgets a key that is gone.
    pub(crate) fn forget(&self, key: &K) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Written>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(revision: &str) -> ObjectMeta {
        ObjectMeta {
            resource_version: Some(revision.to_owned()),
            ..ObjectMeta::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cache_behind_the_own_write_is_not_acted_on() {
        let writes = OwnWrites::new();
        assert_eq!(writes.unseen(&"web", 0), None);
        writes.record(&"web", &meta("7"));
        writes.record(&"web", &meta("5"));
        assert!(writes.unseen(&"web", 6).is_some());
        assert_eq!(writes.unseen(&"other", 6), None);
        assert_eq!(writes.unseen(&"web", 7), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_lost_revision_ends() {
        let writes = OwnWrites::new();
        writes.record(&"web", &meta("7"));
        let left = writes.unseen(&"web", 6).unwrap();
        tokio::time::advance(left).await;
        assert_eq!(writes.unseen(&"web", 6), None);
    }
}
