//! Keeps the picture up to date: by watches for what the API shows, and by asking the metrics,
//! which have no watch, every two seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{Stream, StreamExt as _, select_all};
use jiff::Timestamp;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use lab_checks::language::Text;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::model::{Objects, Picture};
use super::rates::{Prometheus, Rates};
use super::versions::Versions;

/// Changes of so short a time are shown together.
const GATHER: Duration = Duration::from_millis(80);
/// Pause between two questions to the metrics.
const MEASURE: Duration = Duration::from_secs(2);
/// Pause between two looks for a cluster that is not there; they read a file and knock at a port.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait for the first answers of all watches.
const FIRST: Duration = Duration::from_secs(5);

/// A cluster that answers.
#[derive(Clone)]
pub struct Reached {
    /// Its API.
    pub client: kube::Client,
    /// URL of its Prometheus, where it has one.
    pub metrics: Option<String>,
}

/// A cluster that does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// In which way.
    pub kind: AbsenceKind,
    /// In words.
    pub say: Text,
    /// The command that helps.
    pub command: String,
}

/// Why a cluster does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbsenceKind {
    /// There is none (any more).
    Gone,
    /// It is stopped.
    Stopped,
    /// It should answer, and does not.
    Unreachable,
}

/// Finds a cluster.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// The cluster as it is now. Asked once a second while there is none: this must be cheap.
    async fn find(&self) -> Result<Reached, Absence>;
}

/// A picture that is kept up to date until this is dropped.
#[derive(Debug)]
pub struct Watcher {
    shown: watch::Receiver<Arc<Picture>>,
    end: CancellationToken,
}

impl Watcher {
    /// Begins to watch.
    #[must_use]
    pub fn start(cluster: Arc<dyn Cluster>) -> Self {
        let (show, shown) = watch::channel(Arc::new(Picture::empty()));
        let end = CancellationToken::new();
        let ended = end.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = run(cluster, show) => {}
            }
        });
        Self { shown, end }
    }

    /// The picture as it is now, and as it will be.
    #[must_use]
    pub fn picture(&self) -> watch::Receiver<Arc<Picture>> {
        self.shown.clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

async fn run(cluster: Arc<dyn Cluster>, show: watch::Sender<Arc<Picture>>) {
    // Colours stay while this program runs, also when the cluster is stopped and started.
    let mut versions = Versions::default();
    loop {
        match cluster.find().await {
            Ok(reached) => watch_one(&reached, &mut versions, &show).await,
            Err(absence) => {
                let before = show.borrow().as_ref().clone();
                publish(&show, before.absent(&absence));
            }
        }
        sleep(LOOK).await;
    }
}

fn publish(show: &watch::Sender<Arc<Picture>>, picture: Picture) {
    show.send_if_modified(|shown| {
        let is_new = **shown != picture;
        if is_new {
            *shown = Arc::new(picture);
        }
        is_new
    });
}

/// The kinds in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Node,
    Pod,
    ReplicaSet,
    Service,
    Gateway,
    Route,
    Event,
}

const KINDS: [(Kind, &str, &str, &str); 7] = [
    (Kind::Node, "", "v1", "Node"),
    (Kind::Pod, "", "v1", "Pod"),
    (Kind::ReplicaSet, "apps", "v1", "ReplicaSet"),
    (Kind::Service, "", "v1", "Service"),
    (Kind::Gateway, "gateway.networking.k8s.io", "v1", "Gateway"),
    (Kind::Route, "gateway.networking.k8s.io", "v1", "HTTPRoute"),
    (Kind::Event, "", "v1", "Event"),
];

impl Kind {
    /// A cluster may do without the Gateway API.
    fn is_optional(self) -> bool {
        matches!(self, Self::Gateway | Self::Route)
    }

    fn of(self, objects: &mut Objects) -> &mut BTreeMap<String, Value> {
        match self {
            Self::Node => &mut objects.nodes,
            Self::Pod => &mut objects.pods,
            Self::ReplicaSet => &mut objects.replica_sets,
            Self::Service => &mut objects.services,
            Self::Gateway => &mut objects.gateways,
            Self::Route => &mut objects.routes,
            Self::Event => &mut objects.events,
        }
    }
}

type Watched =
    Pin<Box<dyn Stream<Item = (Kind, Result<Event<DynamicObject>, watcher::Error>)> + Send>>;

fn streams(client: &kube::Client) -> Vec<Watched> {
    let streams = KINDS.into_iter().map(|(kind, group, version, name)| {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, name));
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let events = watcher(api, watcher::Config::default()).default_backoff();
        let events: Watched = events.map(move |event| (kind, event)).boxed();
        events
    });
    streams.collect()
}

/// Shows a cluster until a watch fails.
async fn watch_one(reached: &Reached, versions: &mut Versions, show: &watch::Sender<Arc<Picture>>) {
    let mut events = select_all(streams(&reached.client));
    let prometheus = reached.metrics.as_deref().map(Prometheus::new);
    let mut seen = Seen::default();
    let mut measure = interval(MEASURE);
    measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The watches answer one after the other: half a picture would frighten.
    let first = Instant::now() + FIRST;
    let mut due: Option<Instant> = Some(first);
    loop {
        let wait = due.unwrap_or_else(|| Instant::now() + MEASURE * 100);
        tokio::select! {
            event = events.next() => {
                let Some((kind, event)) = event else { return };
                match event {
                    Ok(event) => seen.take(kind, event),
                    Err(error) if kind.is_optional() => {
                        tracing::debug!(%error, ?kind, "not watched");
                        seen.ready.insert(kind);
                    }
                    Err(error) => {
                        tracing::debug!(%error, ?kind, "the watch failed");
                        return;
                    }
                }
                if seen.is_complete() {
                    let soon = Instant::now() + GATHER;
                    due = Some(due.filter(|due| *due < soon).unwrap_or(soon));
                }
            }
            _ = measure.tick(), if prometheus.is_some() => {
                let now = Timestamp::now();
                if let Some(prometheus) = &prometheus
                    && let Some(rates) = prometheus.rates().await
                {
                    if seen.rates.series.at.is_empty() {
                        seen.rates.series = prometheus.history(now).await.unwrap_or_default();
                    }
                    seen.rates = rates.after(&seen.rates, now);
                    if seen.is_complete() {
                        due = Some(Instant::now());
                    }
                }
            }
            () = sleep_until(wait), if due.is_some() => {
                due = None;
                publish(show, Picture::of(&seen.objects, &seen.rates, versions));
            }
        }
    }
}

/// What the watches have told.
#[derive(Default)]
struct Seen {
    objects: Objects,
    /// What a watch that begins anew has told so far; it replaces what was known once it is whole.
    coming: Vec<(Kind, BTreeMap<String, Value>)>,
    /// Kinds that were told once.
    ready: BTreeSet<Kind>,
    rates: Rates,
}

impl Seen {
    fn take(&mut self, kind: Kind, event: Event<DynamicObject>) {
        match event {
            Event::Init => {
                self.coming.retain(|(of, _)| *of != kind);
                self.coming.push((kind, BTreeMap::new()));
            }
            Event::InitApply(object) => {
                let coming = self.coming.iter_mut().find(|(of, _)| *of == kind);
                if let (Some((_, coming)), Some((key, value))) = (coming, entry(object)) {
                    coming.insert(key, value);
                }
            }
            Event::InitDone => {
                if let Some(at) = self.coming.iter().position(|(of, _)| *of == kind) {
                    let (_, whole) = self.coming.swap_remove(at);
                    *kind.of(&mut self.objects) = whole;
                }
                self.ready.insert(kind);
            }
            Event::Apply(object) => {
                if let Some((key, value)) = entry(object) {
                    kind.of(&mut self.objects).insert(key, value);
                }
            }
            Event::Delete(object) => {
                if let Some((key, _)) = entry(object) {
                    kind.of(&mut self.objects).remove(&key);
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        KINDS.iter().all(|(kind, ..)| self.ready.contains(kind))
    }
}

/// `namespace/name`, or the name of what has no namespace; and the object.
fn entry(mut object: DynamicObject) -> Option<(String, Value)> {
    object.metadata.managed_fields = None;
    let name = object.metadata.name.clone()?;
    let key = match &object.metadata.namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name,
    };
    Some((key, serde_json::to_value(object).ok()?))
}
