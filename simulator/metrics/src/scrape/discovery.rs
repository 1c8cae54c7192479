//! What is to be scraped, as the API tells it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use lab_api::monitoring::{PodMonitor, ServiceMonitor};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Target;
use super::targets::{self, Pace, PodFacts};

/// Events on their way to the scraper; a relist of a large cluster fills it and then waits.
const QUEUE: usize = 256;

/// Namespace and name.
pub(crate) type Key = (String, String);

/// A change of what there is.
#[derive(Debug)]
pub(super) enum Change {
    Pod(Key, Option<Box<PodFacts>>),
    PodMonitor(Key, Option<Box<PodMonitor>>),
    ServiceMonitor(Key, Option<Box<ServiceMonitor>>),
    /// A list begins anew: what it does not name is gone.
    Relisted(Kind),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Pod,
    PodMonitor,
    ServiceMonitor,
}

/// What there is.
#[derive(Default)]
pub(super) struct World {
    pods: BTreeMap<Key, PodFacts>,
    pod_monitors: BTreeMap<Key, PodMonitor>,
    service_monitors: BTreeMap<Key, ServiceMonitor>,
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
}

impl World {
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Pod(key, facts) => put(&mut self.pods, key, facts),
            Change::PodMonitor(key, monitor) => put(&mut self.pod_monitors, key, monitor),
            Change::ServiceMonitor(key, monitor) => put(&mut self.service_monitors, key, monitor),
            Change::Relisted(Kind::Pod) => self.pods.clear(),
            Change::Relisted(Kind::PodMonitor) => self.pod_monitors.clear(),
            Change::Relisted(Kind::ServiceMonitor) => self.service_monitors.clear(),
        }
    }

    /// True where Services and their endpoints must be known.
    pub(super) fn needs_services(&self) -> bool {
        !self.service_monitors.is_empty()
    }

    /// Looks at Services and endpoints. Only a ServiceMonitor needs them, so they are listed
    /// once per interval and not watched.
    pub(super) async fn look_at_services(&mut self, client: &Client) {
        let all = ListParams::default();
        let services = Api::<Service>::all(client.clone());
        let slices = Api::<EndpointSlice>::all(client.clone());
        match tokio::try_join!(services.list(&all), slices.list(&all)) {
            Ok((services, slices)) => {
                self.services = services.items;
                self.slices = slices.items;
            }
            Err(error) => tracing::debug!(%error, "services not listed"),
        }
    }

    /// The targets that follow.
    pub(super) fn targets(&self, pace: Pace) -> Vec<Target> {
        let annotated = self.pods.values();
        let mut found: Vec<_> = annotated
            .filter_map(|pod| targets::of_annotations(pod, pace))
            .collect();
        for monitor in self.pod_monitors.values() {
            found.extend(targets::of_pod_monitor(monitor, self.pods.values(), pace));
        }
        for monitor in self.service_monitors.values() {
            found.extend(targets::of_service_monitor(
                monitor,
                &self.services,
                &self.slices,
                &self.pods,
                pace,
            ));
        }
        found
    }
}

fn put<T>(map: &mut BTreeMap<Key, T>, key: Key, value: Option<Box<T>>) {
    match value {
        Some(value) => drop(map.insert(key, *value)),
        None => drop(map.remove(&key)),
    }
}

/// Starts the watches; they end with `stop`.
pub(super) fn start(client: &Client, stop: &CancellationToken) -> mpsc::Receiver<Change> {
    let (changes, receiver) = mpsc::channel(QUEUE);
    let pod = |pod: Pod| {
        let key = key(&pod);
        Change::Pod(key, PodFacts::of(pod).map(Box::new))
    };
    let gone = |pod: Pod| Change::Pod(key(&pod), None);
    follow(client, &changes, stop, Kind::Pod, pod, gone);
    let monitor = |monitor: PodMonitor| {
        let key = key(&monitor);
        Change::PodMonitor(key, Some(Box::new(monitor)))
    };
    let gone = |monitor: PodMonitor| Change::PodMonitor(key(&monitor), None);
    follow(client, &changes, stop, Kind::PodMonitor, monitor, gone);
    let monitor = |monitor: ServiceMonitor| {
        let key = key(&monitor);
        Change::ServiceMonitor(key, Some(Box::new(monitor)))
    };
    let gone = |monitor: ServiceMonitor| Change::ServiceMonitor(key(&monitor), None);
    follow(client, &changes, stop, Kind::ServiceMonitor, monitor, gone);
    receiver
}

fn key<K: Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn follow<K>(
    client: &Client,
    changes: &mpsc::Sender<Change>,
    stop: &CancellationToken,
    kind: Kind,
    there: fn(K) -> Change,
    gone: fn(K) -> Change,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api = Api::<K>::all(client.clone());
    let (changes, stop) = (changes.clone(), stop.clone());
    tokio::spawn(async move {
        let events = watcher(api, watcher::Config::default()).default_backoff();
        pin_mut!(events);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = stop.cancelled() => return,
            };
            let change = match event {
                Some(Ok(Event::Init)) => Change::Relisted(kind),
                Some(Ok(Event::InitApply(object) | Event::Apply(object))) => there(object),
                Some(Ok(Event::Delete(object))) => gone(object),
                Some(Ok(Event::InitDone)) => continue,
                Some(Err(error)) => {
                    tracing::debug!(%error, "watch interrupted");
                    continue;
                }
                None => return,
            };
            if changes.send(change).await.is_err() {
                return;
            }
        }
    });
}
