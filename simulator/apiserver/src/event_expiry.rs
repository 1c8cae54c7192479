//! Events are news, not state: upstream keeps each for an hour after it was last seen, so that
//! a cluster that runs for weeks does not fill up with them.
//! <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/> (`--event-ttl`)

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lab_store::{Entry, Precondition};
use serde_json::Value;

use crate::object;
use crate::server::Server;

/// How long an event is kept, by the cluster's clock.
const KEEP: SignedDuration = SignedDuration::from_hours(1);

/// How often to look; an event may live this much longer.
const INTERVAL: Duration = Duration::from_secs(300);

/// Where events are; `events.k8s.io` would be another view of the same.
const COLLECTION: &str = "events";

/// Removes old events until the server stops.
pub(crate) async fn run(server: &Server) {
    loop {
        tokio::select! {
            () = server.stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => sweep(server).await,
        }
    }
}

async fn sweep(server: &Server) {
    let now = server.context.now();
    for entry in server.store.list(COLLECTION, "", None, None).entries {
        let event = object::decode(&entry.value);
        if last_seen(&event).is_some_and(|seen| now.duration_since(seen) > KEEP) {
            forget(server, &entry, &event).await;
        }
    }
}

async fn forget(server: &Server, entry: &Entry, event: &Value) {
    let precondition = Precondition::Revision(entry.revision);
    let encode = object::encoder(event);
    // An event that was just seen again stays; a full disk is a matter for the next sweep.
    if let Err(error) = server
        .store
        .delete(COLLECTION, &entry.name, precondition, encode)
        .await
    {
        tracing::debug!(event = %entry.name, %error, "event not expired");
    }
}

/// The last moment that the event tells of.
fn last_seen(event: &Value) -> Option<Timestamp> {
    [
        object::text(event, &["series", "lastObservedTime"]),
        object::text(event, &["lastTimestamp"]),
        object::text(event, &["eventTime"]),
        object::meta(event, "creationTimestamp"),
    ]
    .into_iter()
    .filter_map(|text| text.parse().ok())
    .max()
}
