//! The daemon's events about this node's pods.

use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Shared, labels};
use crate::{EngineEvent, SandboxId};

/// Events that an agent may fall behind; then the reader of the daemon's stream waits.
const BACKLOG: usize = 256;
/// Safety net below the events: a listing of all pods costs a few milliseconds.
const RESYNC: Duration = Duration::from_secs(10);
/// Before asking a daemon that hung up again.
const RECONNECT: Duration = Duration::from_millis(500);
/// Actions that change what a listing shows. The daemon also tells of attach, exec, resize ….
const ACTIONS: &[&str] = &["create", "start", "die", "oom", "destroy"];

/// What happens to this node's pods, until the stream is dropped.
pub(super) fn stream(shared: Arc<Shared>) -> BoxStream<'static, EngineEvent> {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let reader = tokio::spawn(async move {
        // Ends where nobody listens any more.
        let _ = read(&shared, &sender).await;
    });
    // Dropping the stream must also end a reader that waits for a silent daemon.
    let guard = AbortOnDrop(reader);
    let events = ReceiverStream::new(receiver).map(move |event| {
        let _keep = &guard;
        event
    });
    stream::once(async { EngineEvent::Resync })
        .chain(events)
        .boxed()
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Sent = Result<(), mpsc::error::SendError<EngineEvent>>;

async fn read(shared: &Shared, sender: &mpsc::Sender<EngineEvent>) -> Sent {
    let mut resync = tokio::time::interval(shared.config.context.scale(RESYNC));
    resync.tick().await;
    loop {
        // From a moment before the listing that follows, so that nothing falls between them.
        let since = shared.config.context.now().as_second();
        let mut events = std::pin::pin!(shared.docker.events(Some(options(shared, since))));
        loop {
            tokio::select! {
                next = events.next() => match next {
                    Some(Ok(event)) => if let Some(event) = translate(&event) {
                        sender.send(event).await?;
                    },
                    Some(Err(error)) => {
                        tracing::warn!(%error, "the event stream of Docker broke, asking again");
                        break;
                    }
                    None => break,
                },
                _ = resync.tick() => sender.send(EngineEvent::Resync).await?,
            }
        }
        tokio::time::sleep(shared.config.context.scale(RECONNECT)).await;
        sender.send(EngineEvent::Resync).await?;
    }
}

fn options(shared: &Shared, since: i64) -> EventsOptions {
    let own = [
        (labels::CLUSTER, shared.config.cluster.as_str()),
        (labels::NODE, &shared.config.node),
    ];
    let mut filters = labels::filter(&own).unwrap_or_default();
    filters.insert("type".to_owned(), vec!["container".to_owned()]);
    filters.insert(
        "event".to_owned(),
        ACTIONS.iter().map(|&action| action.to_owned()).collect(),
    );
    EventsOptions {
        since: Some(since.to_string()),
        until: None,
        filters: Some(filters),
    }
}

fn translate(event: &EventMessage) -> Option<EngineEvent> {
    let sandbox = event
        .actor
        .as_ref()?
        .attributes
        .as_ref()?
        .get(labels::SANDBOX)?;
    Some(EngineEvent::SandboxChanged(SandboxId(sandbox.clone())))
}
