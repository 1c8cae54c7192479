//! Telling a node agent that something changed.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::Notify;

use crate::{EngineEvent, SandboxId};

/// Sends events to every listener; never waits for one, and loses nothing.
///
/// A listener that is behind has each changed sandbox waiting once, however often it changed: so
/// what waits is bounded by the number of sandboxes, and falling behind never costs a listing of
/// them all.
#[derive(Debug, Default)]
pub(crate) struct EventBus {
    inboxes: Mutex<Vec<Weak<Inbox>>>,
}

/// What one listener has yet to hear.
#[derive(Debug, Default)]
struct Inbox {
    waiting: Mutex<Waiting>,
    arrival: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<SandboxId>,
    known: HashSet<SandboxId>,
}

impl EventBus {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn changed(&self, sandbox: &SandboxId) {
        locked(&self.inboxes).retain(|inbox| match inbox.upgrade() {
            Some(inbox) => {
                inbox.add(sandbox);
                true
            }
            None => false,
        });
    }

    /// What happens from now on, after a first [`EngineEvent::Resync`].
    pub(crate) fn stream(&self) -> BoxStream<'static, EngineEvent> {
        let inbox = Arc::new(Inbox::default());
        locked(&self.inboxes).push(Arc::downgrade(&inbox));
        let news = stream::unfold(inbox, async |inbox| {
            let sandbox = inbox.next().await;
            Some((EngineEvent::SandboxChanged(sandbox), inbox))
        });
        stream::once(async { EngineEvent::Resync })
            .chain(news)
            .boxed()
    }
}

impl Inbox {
    fn add(&self, sandbox: &SandboxId) {
        let mut waiting = locked(&self.waiting);
        if waiting.known.insert(sandbox.clone()) {
            waiting.order.push_back(sandbox.clone());
            self.arrival.notify_one();
        }
    }

    async fn next(&self) -> SandboxId {
        loop {
            if let Some(sandbox) = locked(&self.waiting).take() {
                return sandbox;
            }
            self.arrival.notified().await;
        }
    }
}

impl Waiting {
    /// From then on, a change of that sandbox is news again.
    fn take(&mut self) -> Option<SandboxId> {
        let sandbox = self.order.pop_front()?;
        self.known.remove(&sandbox);
        Some(sandbox)
    }
}

/// No operation under these locks can stop half-way.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(name: &str) -> EngineEvent {
        EngineEvent::SandboxChanged(SandboxId(name.into()))
    }

    #[tokio::test]
    async fn a_listener_hears_resync_first_and_each_change_however_late_it_comes() {
        let bus = EventBus::new();
        let mut events = bus.stream();
        for n in 0..10_000 {
            bus.changed(&SandboxId(n.to_string()));
        }
        assert_eq!(events.next().await, Some(EngineEvent::Resync));
        for n in 0..10_000 {
            assert_eq!(events.next().await, Some(changed(&n.to_string())));
        }
    }

    #[tokio::test]
    async fn changes_of_a_sandbox_wait_once_and_are_news_again_once_heard() {
        let bus = EventBus::new();
        let mut events = bus.stream();
        events.next().await;
        for name in ["a", "b", "a", "a"] {
            bus.changed(&SandboxId(name.into()));
        }
        assert_eq!(events.next().await, Some(changed("a")));
        bus.changed(&SandboxId("a".into()));
        assert_eq!(events.next().await, Some(changed("b")));
        assert_eq!(events.next().await, Some(changed("a")));
    }

    #[tokio::test]
    async fn a_listener_that_left_costs_nothing() {
        let bus = EventBus::new();
        drop(bus.stream());
        bus.changed(&SandboxId("a".into()));
        assert_eq!(locked(&bus.inboxes).len(), 0);
    }
}
