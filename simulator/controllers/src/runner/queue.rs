//! A queue of keys to look at: each key at most once in it, and in one pair of hands at a time.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lab_context::Context;
use tokio::sync::Notify;
use tokio::time::Instant;

/// First wait after a failure, doubled with each further one (as kube-controller-manager does).
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// Longest wait: a minute is what a person still waits for after fixing the cause.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Keys waiting for a worker.
pub(crate) struct Queue<K> {
    context: Context,
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    /// Everything in `ready`.
    queued: HashSet<K>,
    /// Keys in a worker's hands; `true` when the key was added again meanwhile.
    running: HashMap<K, bool>,
    /// Keys to add later; the number tells two keys of the same moment apart.
    later: BTreeMap<(Instant, u64), K>,
    /// Where each key stands in `later`.
    due: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    sequence: u64,
}

impl<K: Eq + Hash + Clone> Queue<K> {
    /// An empty queue.
    pub(crate) fn new(context: Context) -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashMap::new(),
            later: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
        };
        Self {
            context,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// Adds `key`, unless it waits already.
    pub(crate) fn add(&self, key: K) {
        if self.lock().add(key) {
            self.changed.notify_one();
        }
    }

    /// The next key, now in the caller's hands until [`Queue::done`] or [`Queue::failed`].
    /// Cancel-safe.
    pub(crate) async fn next(&self) -> K {
        loop {
            let due = {
                let mut state = self.lock();
                state.promote(Instant::now());
                if let Some(key) = state.take() {
                    return key;
                }
                state.later.first_key_value().map(|((at, _), _)| *at)
            };
            match due {
                Some(at) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Gives `key` back after a success, to be looked at again after `again`.
    pub(crate) fn done(&self, key: K, again: Option<Duration>) {
        let mut state = self.lock();
        state.failures.remove(&key);
        state.release(&key);
        if let Some(wait) = again {
            state.add_at(key, Instant::now() + wait);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Gives `key` back after a failure, to be tried again after a wait that grows.
    pub(crate) fn failed(&self, key: K) {
        let mut state = self.lock();
        let failures = state.failures.entry(key.clone()).or_default();
        let wait = self.context.scale(back_off(*failures));
        *failures = failures.saturating_add(1);
        state.release(&key);
        state.add_at(key, Instant::now() + wait);
        drop(state);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> State<K> {
    fn add(&mut self, key: K) -> bool {
        if let Some(again) = self.running.get_mut(&key) {
            *again = true;
            return false;
        }
        let new = self.queued.insert(key.clone());
        if new {
            self.ready.push_back(key);
        }
        new
    }

    fn add_at(&mut self, key: K, at: Instant) {
        self.sequence += 1;
        let place = (at, self.sequence);
        self.later.insert(place, key.clone());
        self.due.insert(key, place);
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.due.remove(&key);
            self.add(key);
        }
    }

    fn take(&mut self) -> Option<K> {
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.running.insert(key.clone(), false);
        // Whoever looks at the key now decides anew when to look again.
        if let Some(place) = self.due.remove(&key) {
            self.later.remove(&place);
        }
        Some(key)
    }

    fn release(&mut self, key: &K) {
        if self.running.remove(key) == Some(true) {
            self.add(key.clone());
        }
    }
}

fn back_off(failures: u32) -> Duration {
    FIRST_RETRY
        .saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX))
        .min(LAST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn queue() -> Queue<&'static str> {
        Queue::new(Context::simulated(1, 1.0))
    }

    fn next_now(queue: &Queue<&'static str>) -> Option<&'static str> {
        queue.next().now_or_never()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_twice_is_handed_out_once() {
        let queue = queue();
        queue.add("a");
        queue.add("b");
        queue.add("a");
        assert_eq!(next_now(&queue), Some("a"));
        assert_eq!(next_now(&queue), Some("b"));
        assert_eq!(next_now(&queue), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_never_in_two_pairs_of_hands() {
        let queue = queue();
        queue.add("a");
        assert_eq!(next_now(&queue), Some("a"));
        queue.add("a");
        assert_eq!(next_now(&queue), None);
        queue.done("a", None);
        assert_eq!(next_now(&queue), Some("a"));
        queue.done("a", None);
        assert_eq!(next_now(&queue), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_key_comes_at_its_time() {
        let queue = queue();
        let start = Instant::now();
        queue.add("a");
        let key = queue.next().await;
        queue.done(key, Some(Duration::from_secs(3)));
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_looked_at_early_does_not_come_again_for_its_old_delay() {
        let queue = queue();
        queue.add("a");
        let key = queue.next().await;
        queue.done(key, Some(Duration::from_secs(3)));
        queue.add("a");
        let key = queue.next().await;
        queue.done(key, None);
        let long = Duration::from_secs(60);
        assert!(tokio::time::timeout(long, queue.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time_up_to_a_minute() {
        let queue = queue();
        queue.add("a");
        let mut waits = Vec::new();
        for _ in 0..16 {
            let before = Instant::now();
            let key = queue.next().await;
            waits.push(before.elapsed().as_millis());
            queue.failed(key);
        }
        assert_eq!(waits[..5], [0, 5, 10, 20, 40]);
        assert_eq!(waits[15], 60_000);
        let key = queue.next().await;
        queue.done(key, None);
        queue.add("a");
        let key = queue.next().await;
        queue.failed(key);
        let before = Instant::now();
        queue.next().await;
        assert_eq!(before.elapsed().as_millis(), 5);
    }

    #[test]
    fn back_off_never_overflows() {
        assert_eq!(back_off(u32::MAX), LAST_RETRY);
    }
}
