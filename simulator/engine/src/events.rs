//! Telling a node agent that something changed.

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::{EngineEvent, SandboxId};

/// How many events a slow listener may fall behind. It then gets one [`EngineEvent::Resync`],
/// so a larger number would only save it a listing.
const BACKLOG: usize = 1024;

/// Sends events to every listener; never waits for one.
#[derive(Debug)]
pub(crate) struct EventBus {
    sender: broadcast::Sender<EngineEvent>,
}

impl EventBus {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::channel(BACKLOG).0,
        }
    }

    pub(crate) fn changed(&self, sandbox: &SandboxId) {
        // Sending fails only where nobody listens, which is fine.
        let _ = self
            .sender
            .send(EngineEvent::SandboxChanged(sandbox.clone()));
    }

    /// What happens from now on, after a first [`EngineEvent::Resync`].
    pub(crate) fn stream(&self) -> BoxStream<'static, EngineEvent> {
        let news = BroadcastStream::new(self.sender.subscribe()).map(|item| match item {
            Ok(event) => event,
            Err(BroadcastStreamRecvError::Lagged(_)) => EngineEvent::Resync,
        });
        stream::once(async { EngineEvent::Resync })
            .chain(news)
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_hears_resync_first_and_again_when_it_fell_behind() {
        let bus = EventBus::new();
        let mut events = bus.stream();
        for n in 0..BACKLOG + 1 {
            bus.changed(&SandboxId(n.to_string()));
        }
        assert_eq!(events.next().await, Some(EngineEvent::Resync));
        assert_eq!(events.next().await, Some(EngineEvent::Resync));
        assert_eq!(
            events.next().await,
            Some(EngineEvent::SandboxChanged(SandboxId("1".into())))
        );
    }
}
