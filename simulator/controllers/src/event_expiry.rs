//! Event expiry: events are news, and news grow old.
//!
//! kube-apiserver lets its store drop events after an hour. Our store has no such notion, so a
//! controller deletes them. It also keeps their number bounded: a test with a hundred thousand
//! pods writes several events for each.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::DeleteParams;
use tokio::time::MissedTickBehavior;

use crate::ControllerDef;
use crate::runner::{Cache, Cached, During, Error, Index, Key, follow};
use crate::shared::Shared;

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "event-expiry-controller",
    help: "deletes events that are older than an hour",
    start,
};

/// Time between two rounds. Not scaled, like the hour itself: events are for people.
const PERIOD: Duration = Duration::from_secs(60);

/// Events deleted at a time.
const AT_ONCE: usize = 16;

/// What is kept of an event.
#[derive(Clone, Debug)]
struct EventRecord {
    metadata: ObjectMeta,
    last_seen: Timestamp,
}

impl Cached for EventRecord {
    type Object = Event;

    fn from_object(event: Event) -> Self {
        let last_seen = event
            .series
            .and_then(|series| series.last_observed_time)
            .map(|at| at.0)
            .or(event.last_timestamp.map(|at| at.0))
            .or(event.event_time.map(|at| at.0))
            .or(event.metadata.creation_timestamp.as_ref().map(|at| at.0))
            .unwrap_or(Timestamp::MIN);
        let metadata = ObjectMeta {
            name: event.metadata.name,
            namespace: event.metadata.namespace,
            resource_version: event.metadata.resource_version,
            ..ObjectMeta::default()
        };
        Self {
            metadata,
            last_seen,
        }
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn indexes(&self) -> Vec<Index> {
        Vec::new()
    }
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    run(Arc::clone(shared)).boxed()
}

async fn run(shared: Arc<Shared>) {
    let events = Cache::<EventRecord>::new();
    let watch = follow(
        shared.client.clone(),
        Arc::clone(&events),
        shared.stop.clone(),
    );
    tokio::join!(watch, expire(&shared, &events));
}

async fn expire(shared: &Shared, events: &Cache<EventRecord>) {
    let mut rounds = tokio::time::interval(PERIOD);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = shared.stop.cancelled() => return,
        }
        let oldest = shared.context.now() - shared.config.event_ttl;
        let deletions = expired(events.all(), oldest, shared.config.event_limit)
            .into_iter()
            .map(|event| delete(shared, event));
        stream::iter(deletions)
            .buffer_unordered(AT_ONCE)
            .for_each(async |answer| {
                if let Err(error) = answer {
                    tracing::debug!(error = &error as &dyn std::error::Error, "will retry");
                }
            })
            .await;
    }
}

/// Events last seen before `oldest`, and the oldest ones beyond `limit`.
fn expired(
    mut events: Vec<Arc<EventRecord>>,
    oldest: Timestamp,
    limit: usize,
) -> Vec<Arc<EventRecord>> {
    events.sort_by_key(|event| Reverse(event.last_seen));
    let fresh = events.partition_point(|event| event.last_seen >= oldest);
    events.split_off(fresh.min(limit))
}

async fn delete(shared: &Shared, event: Arc<EventRecord>) -> Result<(), Error> {
    let Key { namespace, name } = Key::of(&event.metadata);
    let answer = Api::<Event>::namespaced(shared.client.clone(), &namespace)
        .delete(&name, &DeleteParams::default())
        .await
        .during(|| format!("delete event {namespace}/{name}"));
    match answer {
        Err(error) if !error.is_not_found() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(name: &str, last: &str) -> Arc<EventRecord> {
        let event = json!({"metadata": {"name": name, "creationTimestamp": "2025-12-31T00:00:00Z"},
            "involvedObject": {}, "lastTimestamp": last});
        Arc::new(EventRecord::from_object(
            serde_json::from_value(event).unwrap(),
        ))
    }

    fn names(events: &[Arc<EventRecord>]) -> Vec<&str> {
        events
            .iter()
            .filter_map(|event| event.metadata.name.as_deref())
            .collect()
    }

    #[test]
    fn old_events_go_and_so_do_the_oldest_of_too_many() {
        let events = vec![
            event("new", "2026-01-01T03:00:00Z"),
            event("old", "2026-01-01T01:00:00Z"),
            event("middle", "2026-01-01T02:30:00Z"),
        ];
        let oldest = "2026-01-01T02:00:00Z".parse().unwrap();
        assert_eq!(names(&expired(events.clone(), oldest, 100)), ["old"]);
        assert_eq!(names(&expired(events, oldest, 1)), ["middle", "old"]);
    }
}
