//! One watch per kind, all feeding one channel.

use std::fmt::Debug;

use futures::{StreamExt, pin_mut};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::certificates::TLS_SECRET;
use crate::world::Change;

/// Events on their way to the control loop. A relist of a large cluster fills it and then
/// waits, which is fine: nothing is lost, and memory stays bounded.
const QUEUE: usize = 1024;

/// Starts the watches; they end with `stop`, or when the receiver is dropped.
pub(crate) fn start(client: &Client, stop: &CancellationToken) -> mpsc::Receiver<Change> {
    let (changes, receiver) = mpsc::channel(QUEUE);
    let watch = Watch {
        client: client.clone(),
        changes,
        stop: stop.clone(),
    };
    watch.kind(Change::Class);
    watch.kind(Change::Gateway);
    watch.kind(Change::Route);
    watch.kind(Change::GrpcRoute);
    watch.kind(Change::Ingress);
    watch.kind(Change::IngressClass);
    watch.kind(Change::Grant);
    // Other Secrets are none of our business.
    let certificates = watcher::Config::default().fields(&format!("type={TLS_SECRET}"));
    watch.some(certificates, Change::Secret);
    watch.kind(Change::Namespace);
    watch.kind(Change::Service);
    watch.kind(Change::Slice);
    receiver
}

struct Watch {
    client: Client,
    changes: mpsc::Sender<Change>,
    stop: CancellationToken,
}

impl Watch {
    /// Every object of a kind.
    fn kind<K>(&self, change: fn(Event<K>) -> Change)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        self.some(watcher::Config::default(), change);
    }

    fn some<K>(&self, config: watcher::Config, change: fn(Event<K>) -> Change)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let api = Api::<K>::all(self.client.clone());
        let changes = self.changes.clone();
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = follow(api, config, changes, change) => {}
            }
        });
    }
}

/// Sends every event of one kind. A broken watch is resumed with a back-off; meanwhile the
/// load balancer goes on with what it last knew.
async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    changes: mpsc::Sender<Change>,
    change: fn(Event<K>) -> Change,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = watcher(api, config).default_backoff();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if changes.send(change(event)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(kind = %K::kind(&()), %error, "watch interrupted");
            }
        }
    }
}
