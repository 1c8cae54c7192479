//! Kubernetes Events: what a student reads under `kubectl describe` and `kubectl get events`.
//!
//! A [`Recorder`] never blocks and never fails its caller: events are best effort, as in
//! Kubernetes. The queue is bounded, and the same event on the same object raises a count
//! instead of making another object. The crate must never know who reports or why.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>

use std::collections::{HashMap, VecDeque};

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use lab_context::Context;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Events waiting to be written. Enough for a burst of a thousand pods; beyond that an event is
/// dropped rather than let a slow API server hold up the cluster's work.
const QUEUE: usize = 4096;

/// Events remembered for counting repeats.
const REMEMBERED: usize = 4096;

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Things go their way.
    Normal,
    /// Something a person may want to look at.
    Warning,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events in the name of one component; cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    source: EventSource,
    queue: mpsc::Sender<Note>,
}

#[derive(Debug)]
struct Note {
    level: Level,
    source: EventSource,
    object: ObjectReference,
    reason: &'static str,
    message: String,
}

impl Recorder {
    /// Starts the writer task; it ends with `stop`, after writing what is queued.
    #[must_use]
    pub fn start(
        client: Client,
        context: Context,
        component: &str,
        stop: CancellationToken,
    ) -> Self {
        let (queue, notes) = mpsc::channel(QUEUE);
        tokio::spawn(
            Writer {
                client,
                context,
                seen: Seen::default(),
            }
            .run(notes, stop),
        );
        let source = EventSource {
            component: Some(component.to_owned()),
            host: None,
        };
        Self { source, queue }
    }

    /// The same recorder speaking for one node.
    #[must_use]
    pub fn on_host(&self, host: &str) -> Self {
        let source = EventSource {
            host: Some(host.to_owned()),
            ..self.source.clone()
        };
        Self {
            source,
            queue: self.queue.clone(),
        }
    }

    /// Records that things went their way.
    pub fn normal(
        &self,
        object: &ObjectReference,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.record(Level::Normal, object, reason, message.into());
    }

    /// Records something that a person may want to look at.
    pub fn warning(
        &self,
        object: &ObjectReference,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.record(Level::Warning, object, reason, message.into());
    }

    fn record(
        &self,
        level: Level,
        object: &ObjectReference,
        reason: &'static str,
        message: String,
    ) {
        let note = Note {
            level,
            source: self.source.clone(),
            object: object.clone(),
            reason,
            message,
        };
        if self.queue.try_send(note).is_err() {
            tracing::debug!(reason, "event dropped: the queue is full");
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Sameness {
    uid: String,
    field_path: String,
    reason: &'static str,
    message: String,
}

struct Written {
    namespace: String,
    name: String,
    count: i32,
}

/// What was written lately, oldest forgotten first.
#[derive(Default)]
struct Seen {
    written: HashMap<Sameness, Written>,
    order: VecDeque<Sameness>,
}

impl Seen {
    fn remember(&mut self, same: Sameness, written: Written) {
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.written.remove(&oldest);
        }
        self.order.push_back(same.clone());
        self.written.insert(same, written);
    }
}

struct Writer {
    client: Client,
    context: Context,
    seen: Seen,
}

impl Writer {
    async fn run(mut self, mut notes: mpsc::Receiver<Note>, stop: CancellationToken) {
        loop {
            tokio::select! {
                note = notes.recv() => match note {
                    Some(note) => self.write(note).await,
                    None => return,
                },
                () = stop.cancelled() => return,
            }
        }
    }

    async fn write(&mut self, note: Note) {
        let same = Sameness {
            uid: note.object.uid.clone().unwrap_or_default(),
            field_path: note.object.field_path.clone().unwrap_or_default(),
            reason: note.reason,
            message: note.message.clone(),
        };
        if let Some(written) = self.seen.written.get_mut(&same) {
            written.count += 1;
            if repeat(&self.client, &self.context, written).await {
                return;
            }
            self.seen.written.remove(&same);
            self.seen.order.retain(|kept| *kept != same);
        }
        let namespace = note
            .object
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let event = self.event(&namespace, note);
        let name = event.metadata.name.clone().unwrap_or_default();
        match Api::namespaced(self.client.clone(), &namespace)
            .create(&PostParams::default(), &event)
            .await
        {
            Ok(_) => self.seen.remember(
                same,
                Written {
                    namespace,
                    name,
                    count: 1,
                },
            ),
            Err(error) => tracing::debug!(%error, "event not written"),
        }
    }

    fn event(&self, namespace: &str, note: Note) -> Event {
        let now = Time(self.context.now());
        let name = note.object.name.as_deref().unwrap_or("unknown");
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{}", self.context.suffix(16))),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some(note.level.as_str().to_owned()),
            reason: Some(note.reason.to_owned()),
            message: Some(note.message),
            reporting_component: note.source.component.clone(),
            reporting_instance: note.source.host.clone(),
            source: Some(note.source),
            involved_object: note.object,
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            count: Some(1),
            ..Event::default()
        }
    }
}

/// Raises the count of an event; false when it is no longer there.
async fn repeat(client: &Client, context: &Context, written: &Written) -> bool {
    let patch = json!({"count": written.count, "lastTimestamp": Time(context.now())});
    Api::<Event>::namespaced(client.clone(), &written.namespace)
        .patch(&written.name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .is_ok()
}
