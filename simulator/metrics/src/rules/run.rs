//! Rules in their rhythm, and what they make happen in the cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use lab_api::monitoring::PrometheusRule;
use lab_api::objects::object_reference;
use lab_context::Context;
use lab_events::Recorder;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::group::{ActiveAlert, Group, GroupView, News};
use crate::eval;
use crate::store::Store;

/// Name under which events are written.
const COMPONENT: &str = "devops-lab-metrics";

/// The rules as they are told; shared with the HTTP API.
#[derive(Debug, Default)]
pub(crate) struct Board(RwLock<Vec<GroupView>>);

impl Board {
    pub(crate) fn groups(&self) -> Vec<GroupView> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn show(&self, groups: Vec<GroupView>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = groups;
    }
}

/// Namespace and name of a PrometheusRule.
type Key = (String, String);

struct Known {
    group: Group,
    due: Instant,
    object: ObjectReference,
}

/// Evaluates rules until it is stopped.
pub(crate) struct Rules {
    client: Client,
    store: Arc<Store>,
    context: Context,
    events: Recorder,
    board: Arc<Board>,
    interval: Duration,
    known: BTreeMap<Key, Vec<Known>>,
}

impl Rules {
    pub(crate) fn new(
        client: Client,
        store: Arc<Store>,
        context: Context,
        board: Arc<Board>,
        interval: Duration,
        stop: &CancellationToken,
    ) -> Self {
        let events = Recorder::start(client.clone(), context.clone(), COMPONENT, stop.clone());
        Self {
            client,
            store,
            context,
            events,
            board,
            interval,
            known: BTreeMap::new(),
        }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let api = Api::<PrometheusRule>::all(self.client.clone());
        let events = watcher(api, watcher::Config::default()).default_backoff();
        pin_mut!(events);
        let mut listed = Vec::new();
        loop {
            let due = self.known.values().flatten().map(|known| known.due).min();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => match event {
                    Some(Ok(Event::Init)) => listed.clear(),
                    Some(Ok(Event::InitApply(object))) => {
                        listed.push(key(&object));
                        self.apply(&object).await;
                    }
                    Some(Ok(Event::InitDone)) => {
                        let gone: Vec<_> = self.known.keys()
                            .filter(|key| !listed.contains(key)).cloned().collect();
                        for key in gone {
                            self.remove(&key).await;
                        }
                    }
                    Some(Ok(Event::Apply(object))) => self.apply(&object).await,
                    Some(Ok(Event::Delete(object))) => self.remove(&key(&object)).await,
                    Some(Err(error)) => tracing::debug!(%error, "watch interrupted"),
                    None => return,
                },
                () = wait => self.evaluate().await,
            }
            let groups = self
                .known
                .values()
                .flatten()
                .map(|known| known.group.view());
            self.board.show(groups.collect());
        }
    }

    async fn apply(&mut self, object: &PrometheusRule) {
        let interval_ms = i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX);
        let reference = object_reference(object);
        let mut before = self.known.remove(&key(object)).unwrap_or_default();
        let groups = Group::of(object, interval_ms, self.context.speed());
        let now = Instant::now();
        let known = groups.into_iter().map(|mut group| {
            for problem in group.problems() {
                self.events.warning(&reference, "InvalidRule", problem);
            }
            let same = before.iter().position(|old| old.group.name == group.name);
            if let Some(same) = same {
                group.inherit(before.remove(same).group);
            }
            Known {
                group,
                due: now,
                object: reference.clone(),
            }
        });
        let known: Vec<_> = known.collect();
        self.known.insert(key(object), known);
        for gone in before {
            for news in self.end(gone) {
                self.tell(&reference, news).await;
            }
        }
    }

    async fn remove(&mut self, key: &Key) {
        for gone in self.known.remove(key).unwrap_or_default() {
            let object = gone.object.clone();
            for news in self.end(gone) {
                self.tell(&object, news).await;
            }
        }
    }

    fn end(&self, gone: Known) -> Vec<News> {
        // A moment later than what may have been written just now.
        let outcome = gone.group.end(self.context.now().as_millisecond() + 1);
        for (labels, sample) in &outcome.samples {
            let _ = self.store.append(labels, *sample);
        }
        outcome.news
    }

    async fn evaluate(&mut self) {
        let now = Instant::now();
        let at = self.context.now();
        let default_step = i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX);
        let mut told = Vec::new();
        for known in self.known.values_mut().flatten() {
            if known.due > now {
                continue;
            }
            let interval = u64::try_from(known.group.interval_ms).unwrap_or(1000);
            known.due = now + Duration::from_millis(interval);
            let store = &self.store;
            let news = known.group.evaluate(
                at,
                |expr| {
                    eval::instant(store, expr, at.as_millisecond(), default_step)
                        .map_err(|error| error.to_string())
                },
                |samples| {
                    for (labels, sample) in samples {
                        let _ = store.append(labels, *sample);
                    }
                },
            );
            told.extend(news.into_iter().map(|news| (known.object.clone(), news)));
        }
        for (object, news) in told {
            self.tell(&object, news).await;
        }
    }

    /// Carries out what became of an alert.
    async fn tell(&self, rule: &ObjectReference, news: News) {
        match news {
            News::Fired(alert) => {
                let message = format!("{} fires: {}", name(&alert), told(&alert));
                self.events.warning(rule, "AlertFiring", message.clone());
                if let Some(workload) = self.workload(&alert).await {
                    self.events.warning(&workload, "AlertFiring", message);
                }
            }
            News::Resolved(alert) => {
                let message = format!("{} is resolved", name(&alert));
                self.events.normal(rule, "AlertResolved", message.clone());
                if let Some(workload) = self.workload(&alert).await {
                    self.events.normal(&workload, "AlertResolved", message);
                }
            }
            News::AbortRollout(alert) => self.abort(rule, &alert).await,
        }
    }

    /// The object that an alert's labels name, where it is there.
    async fn workload(&self, alert: &ActiveAlert) -> Option<ObjectReference> {
        let (label, resource) = WORKLOADS
            .iter()
            .find(|(label, _)| !alert.labels.get(label).is_empty())?;
        let api = self.api(alert, resource);
        let object = api.get(alert.labels.get(label)).await.ok()?;
        Some(reference(&object, resource))
    }

    fn api(&self, alert: &ActiveAlert, (group, version, kind): &Kind) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk(&gvk);
        let namespace = alert.labels.get("namespace");
        let namespace = if namespace.is_empty() {
            "default"
        } else {
            namespace
        };
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    /// Aborts the rollout that an alert names, where one is under way: as `kubectl argo rollouts
    /// abort` does it.
    async fn abort(&self, rule: &ObjectReference, alert: &ActiveAlert) {
        let name = alert.labels.get("rollout");
        if name.is_empty() {
            let message = format!(
                "{} asks for a rollout to be aborted, but has no label \"rollout\" that names it",
                self::name(alert)
            );
            self.events.warning(rule, "RolloutNotAborted", message);
            return;
        }
        let api = self.api(alert, &ROLLOUT);
        let object = match api.get(name).await {
            Ok(object) => object,
            Err(error) => {
                let message = format!("rollout {name:?} cannot be aborted: {error}");
                self.events.warning(rule, "RolloutNotAborted", message);
                return;
            }
        };
        if !is_under_way(&object) {
            return;
        }
        let patch = Patch::Merge(json!({"status": {"abort": true}}));
        let params = PatchParams::default();
        let patched = match api.patch_status(name, &params, &patch).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                api.patch(name, &params, &patch).await
            }
            other => other,
        };
        let message = format!("{}: {}", self::name(alert), told(alert));
        let rollout = reference(&object, &ROLLOUT);
        match patched {
            Ok(_) => {
                self.events
                    .warning(&rollout, "RolloutAbortedByAlert", message.clone());
                self.events.warning(rule, "RolloutAbortedByAlert", message);
            }
            Err(error) => {
                let message = format!("rollout {name:?} cannot be aborted: {error}");
                self.events.warning(rule, "RolloutNotAborted", message);
            }
        }
    }
}

/// Group, version and kind.
type Kind = (&'static str, &'static str, &'static str);

const ROLLOUT: Kind = ("argoproj.io", "v1alpha1", "Rollout");

/// Which label names which kind, the more telling first.
const WORKLOADS: [(&str, Kind); 6] = [
    ("rollout", ROLLOUT),
    ("deployment", ("apps", "v1", "Deployment")),
    ("statefulset", ("apps", "v1", "StatefulSet")),
    ("daemonset", ("apps", "v1", "DaemonSet")),
    ("service", ("", "v1", "Service")),
    ("pod", ("", "v1", "Pod")),
];

/// True while a rollout is between two versions and nobody has aborted it.
fn is_under_way(rollout: &DynamicObject) -> bool {
    let status = &rollout.data["status"];
    let (stable, current) = (&status["stableRS"], &status["currentPodHash"]);
    let aborted = status["abort"].as_bool().unwrap_or(false);
    !aborted && stable.is_string() && current.is_string() && stable != current
}

fn reference(object: &DynamicObject, (group, version, kind): &Kind) -> ObjectReference {
    let api_version = if group.is_empty() {
        (*version).to_owned()
    } else {
        format!("{group}/{version}")
    };
    ObjectReference {
        api_version: Some(api_version),
        kind: Some((*kind).to_owned()),
        name: Some(object.name_any()),
        namespace: object.namespace(),
        uid: object.uid(),
        ..ObjectReference::default()
    }
}

fn key(object: &PrometheusRule) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn name(alert: &ActiveAlert) -> String {
    format!("alert {}", alert.labels.get("alertname"))
}

/// What an alert has to say: its summary, its description, or its value.
fn told(alert: &ActiveAlert) -> String {
    let texts = ["summary", "description", "message"];
    let text = texts.iter().find_map(|name| alert.annotations.get(*name));
    text.cloned()
        .unwrap_or_else(|| format!("value {}", eval::format_value(alert.value)))
}
