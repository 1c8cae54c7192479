//! Kubernetes Events: what a student reads under `kubectl describe` and `kubectl get events`.
//!
//! A [`Recorder`] never blocks and never fails its caller: events are best effort, as in
//! Kubernetes. The queue is bounded, and the same event on the same object raises a count
//! instead of making another object. The crate must never know who reports or why.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use lab_context::Context;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Events waiting to be written. Enough for a burst of a thousand pods; beyond that an event is
/// dropped rather than let a slow API server hold up the cluster's work.
const QUEUE: usize = 4096;

/// Events remembered for counting repeats.
const REMEMBERED: usize = 4096;

/// Names tried for an event. More than the events that components have for one object in the same
/// nanosecond, which happens only where time stands still.
const NAMES: i128 = 16;

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
    context: Context,
    /// Set where the recorder speaks of a moment that has passed.
    moment: Option<Timestamp>,
    queue: mpsc::Sender<Note>,
}

#[derive(Debug)]
struct Note {
    at: Timestamp,
    is_past: bool,
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
        let writer = Writer {
            client,
            seen: Seen::default(),
            numbers: Numbers::default(),
            allowance: Allowance::full(),
        };
        tokio::spawn(writer.run(notes, stop));
        let source = EventSource {
            component: Some(component.to_owned()),
            host: None,
        };
        Self {
            source,
            context,
            moment: None,
            queue,
        }
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
            ..self.clone()
        }
    }

    /// The same recorder speaking of a moment that has passed: of when something was decided,
    /// once it is known that it came true. Whatever followed from it is then told after it.
    #[must_use]
    pub fn at(&self, moment: Timestamp) -> Self {
        Self {
            moment: Some(moment),
            ..self.clone()
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
            at: self.moment.unwrap_or_else(|| self.context.now()),
            is_past: self.moment.is_some(),
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

/// Numbers events in the order in which they happened, so that their names sort in it too: kubectl
/// compares whole seconds only, and a pod is up in less than one.
#[derive(Default)]
struct Numbers {
    last: i128,
}

impl Numbers {
    /// Nanoseconds since 1970, a little later where events of one instant would share them.
    fn next(&mut self, note: &Note) -> i128 {
        let number = note.at.as_nanosecond();
        if note.is_past {
            return number;
        }
        self.last = number.max(self.last + 1);
        self.last
    }
}

/// As Kubernetes names its events: fixed in width, so that the order of names is that of time.
fn name(object: &str, number: i128) -> String {
    format!("{object}.{number:016x}")
}

/// Events that a recorder may write at once after a quiet time.
const BURST: f64 = 2000.0;

/// Events that a recorder may write per second in the long run. A class reads a few; a hundred
/// thousand simulated pods would otherwise spend more on their news than on themselves. Kubelets
/// are held to 50 each (`--event-qps`).
const PER_SECOND: f64 = 100.0;

/// A token bucket over tokio's time.
struct Allowance {
    tokens: f64,
    since: Instant,
}

impl Allowance {
    fn full() -> Self {
        Self {
            tokens: BURST,
            since: Instant::now(),
        }
    }

    /// True where one more event may be written now.
    fn take(&mut self) -> bool {
        let now = Instant::now();
        let earned = now.duration_since(self.since).as_secs_f64() * PER_SECOND;
        self.since = now;
        self.tokens = (self.tokens + earned).min(BURST);
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

struct Writer {
    client: Client,
    seen: Seen,
    numbers: Numbers,
    allowance: Allowance,
}

impl Writer {
    async fn run(mut self, mut notes: mpsc::Receiver<Note>, stop: CancellationToken) {
        loop {
            tokio::select! {
                note = notes.recv() => match note {
                    Some(note) if self.allowance.take() => self.write(note).await,
                    Some(note) => tracing::debug!(reason = note.reason, "event dropped: too many"),
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
            if repeat(&self.client, note.at, written).await {
                return;
            }
            self.seen.written.remove(&same);
            self.seen.order.retain(|kept| *kept != same);
        }
        let number = self.numbers.next(&note);
        match create(&self.client, note, number).await {
            Ok(written) => self.seen.remember(same, written),
            Err(error) => tracing::debug!(%error, "event not written"),
        }
    }
}

/// Writes a new event, under the next free name where another component took its own.
async fn create(client: &Client, note: Note, number: i128) -> Result<Written, kube::Error> {
    let mut event = event(note);
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let object = event.involved_object.name.clone().unwrap_or_default();
    let api = Api::<Event>::namespaced(client.clone(), &namespace);
    let mut taken = 0;
    loop {
        let name = name(&object, number + taken);
        event.metadata.name = Some(name.clone());
        match api.create(&PostParams::default(), &event).await {
            Err(kube::Error::Api(refused)) if refused.is_already_exists() && taken < NAMES => {
                taken += 1;
            }
            Err(error) => return Err(error),
            Ok(_) => {
                return Ok(Written {
                    namespace,
                    name,
                    count: 1,
                });
            }
        }
    }
}

fn event(note: Note) -> Event {
    let at = Time(note.at);
    let namespace = note.object.namespace.clone();
    Event {
        metadata: ObjectMeta {
            namespace: Some(namespace.unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        type_: Some(note.level.as_str().to_owned()),
        reason: Some(note.reason.to_owned()),
        message: Some(note.message),
        reporting_component: note.source.component.clone(),
        reporting_instance: note.source.host.clone(),
        source: Some(note.source),
        involved_object: note.object,
        first_timestamp: Some(at.clone()),
        last_timestamp: Some(at),
        count: Some(1),
        ..Event::default()
    }
}

/// Raises the count of an event; false when it is no longer there.
async fn repeat(client: &Client, at: Timestamp, written: &Written) -> bool {
    let patch = json!({"count": written.count, "lastTimestamp": Time(at)});
    Api::<Event>::namespaced(client.clone(), &written.namespace)
        .patch(&written.name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use http::{Request, Response, StatusCode};
    use http_body_util::BodyExt;
    use kube::client::Body;
    use serde_json::Value;

    /// What an API server that knows only events was asked to keep, by name.
    type Kept = Arc<Mutex<Vec<(String, String)>>>;

    async fn answer(request: Request<Body>, kept: Kept) -> Result<Response<Body>, Infallible> {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let event: Value = serde_json::from_slice(&body).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&event["metadata"]["name"]);
        let mut kept = kept.lock().unwrap();
        let taken = kept.iter().any(|(known, _)| *known == name);
        let (code, answer) = if taken {
            let status =
                json!({"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": ""});
            (StatusCode::CONFLICT, status)
        } else {
            kept.push((name, text(&event["message"])));
            (StatusCode::CREATED, event)
        };
        let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
        *response.status_mut() = code;
        Ok(response)
    }

    fn api() -> (Client, Kept) {
        let kept = Kept::default();
        let shared = Arc::clone(&kept);
        let service = tower::service_fn(move |request| answer(request, Arc::clone(&shared)));
        (Client::new(service, "default"), kept)
    }

    fn pod() -> ObjectReference {
        ObjectReference {
            name: Some("web".to_owned()),
            namespace: Some("default".to_owned()),
            ..ObjectReference::default()
        }
    }

    /// The messages in the order of their events' names, which is the order of `kubectl get`.
    async fn told(kept: &Kept, number: usize) -> Vec<String> {
        while kept.lock().unwrap().len() < number {
            tokio::task::yield_now().await;
        }
        let mut events = kept.lock().unwrap().clone();
        events.sort();
        events.into_iter().map(|(_, message)| message).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn events_of_one_instant_are_listed_as_they_happened() {
        let (client, kept) = api();
        let context = Context::simulated(1, 1.0);
        let recorder = Recorder::start(client, context, "kubelet", CancellationToken::new());
        let messages = ["pulling", "pulled", "created", "started"];
        for message in messages {
            recorder.normal(&pod(), "Reason", message);
        }
        assert_eq!(told(&kept, 4).await, messages);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_decided_first_is_listed_first_though_told_last() {
        let (client, kept) = api();
        let context = Context::simulated(1, 1.0);
        let decided = context.now();
        let component = |name| {
            Recorder::start(
                client.clone(),
                context.clone(),
                name,
                CancellationToken::new(),
            )
        };
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        component("kubelet").normal(&pod(), "Pulling", "pulling");
        told(&kept, 1).await;
        let scheduler = component("default-scheduler").at(decided);
        scheduler.normal(&pod(), "Scheduled", "scheduled");
        assert_eq!(told(&kept, 2).await, ["scheduled", "pulling"]);
    }

    #[tokio::test(start_paused = true)]
    async fn components_that_speak_at_the_same_instant_are_both_heard() {
        let (client, kept) = api();
        let context = Context::simulated(1, 1.0);
        for component in ["kubelet", "default-scheduler"] {
            Recorder::start(
                client.clone(),
                context.clone(),
                component,
                CancellationToken::new(),
            )
            .normal(&pod(), "Reason", component);
        }
        let mut heard = told(&kept, 2).await;
        heard.sort();
        assert_eq!(heard, ["default-scheduler", "kubelet"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_cut_off_and_quiet_earns_new_events() {
        let mut allowance = Allowance::full();
        let granted = (0..10_000).filter(|_| allowance.take()).count();
        assert_eq!(granted, 2000);
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        let granted = (0..10_000).filter(|_| allowance.take()).count();
        assert_eq!(granted, 100);
    }
}
