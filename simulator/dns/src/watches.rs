//! What was last seen of the API, and the zone made of it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::build;
use crate::zone::Zone;

/// Changes that arrive within this time of each other make one new zone. Short: a client that
/// waits for a name should not wait for us.
const GATHER: Duration = Duration::from_millis(10);

/// Objects of one kind by namespace and name. A relist replaces them in one step.
struct Cache<K> {
    live: BTreeMap<(String, String), K>,
    relist: BTreeMap<(String, String), K>,
    synced: bool,
}

impl<K: Resource> Cache<K> {
    fn new() -> Self {
        Self {
            live: BTreeMap::new(),
            relist: BTreeMap::new(),
            synced: false,
        }
    }

    fn apply(&mut self, event: Event<K>) {
        match event {
            Event::Init => self.relist.clear(),
            Event::InitApply(object) => drop(self.relist.insert(key(&object), object)),
            Event::InitDone => {
                self.live = std::mem::take(&mut self.relist);
                self.synced = true;
            }
            Event::Apply(object) => drop(self.live.insert(key(&object), object)),
            Event::Delete(object) => drop(self.live.remove(&key(&object))),
        }
    }
}

fn key<K: Resource>(object: &K) -> (String, String) {
    let meta = object.meta();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    (text(&meta.namespace), text(&meta.name))
}

/// Keeps `zone` in step with the cluster; never ends by itself. Where the API server does not
/// answer, the zone stays what it was.
pub(crate) async fn follow(client: Client, zone: &ArcSwap<Zone>) {
    let mut namespaces = stream::<Namespace>(&client);
    let mut services = stream::<Service>(&client);
    let mut slices = stream::<EndpointSlice>(&client);
    let mut known = (Cache::new(), Cache::new(), Cache::new());
    let mut serial = 0_u32;
    let mut due: Option<Instant> = None;
    loop {
        let wait = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(event) = namespaces.next() => known.0.apply(event),
            Some(event) = services.next() => known.1.apply(event),
            Some(event) = slices.next() => known.2.apply(event),
            () = wait => {
                due = None;
                serial = serial.wrapping_add(1);
                let (namespaces, services, slices) = &known;
                zone.store(Arc::new(build::zone(
                    serial,
                    namespaces.live.values(),
                    services.live.values(),
                    slices.live.values(),
                )));
                continue;
            }
        }
        // Before everything was listed, what is missing may only not have been seen yet.
        if known.0.synced && known.1.synced && known.2.synced && due.is_none() {
            due = Some(Instant::now() + GATHER);
        }
    }
}

fn stream<K>(client: &Client) -> impl Stream<Item = Event<K>> + Unpin + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default());
    Box::pin(events.default_backoff().filter_map(async |event| {
        event
            .inspect_err(|error| tracing::debug!(kind = %K::kind(&()), %error, "watch interrupted"))
            .ok()
    }))
}
