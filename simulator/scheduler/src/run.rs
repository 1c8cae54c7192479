//! The loop around the decision.

use std::fmt::Debug;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use lab_context::Context;
use lab_events::Recorder;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::backoff::WatchBackoff;
use crate::brain::{Attempt, Brain};
use crate::conditions::Conditions;
use crate::pod::PodInfo;
use crate::watched::WatchedPod;

/// Bindings under way at once: enough to fill the group commits of the store behind the API,
/// few enough that a slow API server slows the scheduler down instead of piling up work.
const BINDINGS: usize = 64;

/// Name of this component in events.
const COMPONENT: &str = "default-scheduler";

/// Schedules pods until `stop`. Failing requests are retried for ever; the log tells of them.
pub async fn run(client: kube::Client, context: Context, stop: CancellationToken) {
    let mut nodes = pin!(watch(&client));
    let mut pods = pin!(watch(&client));
    let mut brain = Brain::new(context.clone());
    let mut bindings = JoinSet::new();
    let outlet = Outlet::start(client, &context, &stop);
    loop {
        let tick = brain.next_tick();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // Observations first: a decision on old news is a wrong one.
            Some(event) = nodes.next() => brain.observe_node(event),
            Some(event) = pods.next() => brain.observe_pod(event),
            Some(done) = bindings.join_next(), if !bindings.is_empty() => {
                outlet.settle(&mut brain, done);
            }
            () = at(tick), if tick.is_some() => brain.tick(Instant::now()),
            // The budget lets other tasks run between two decisions.
            () = tokio::task::consume_budget(),
                if brain.has_work() && bindings.len() < BINDINGS =>
            {
                if let Some(attempt) = brain.attempt(Instant::now()) {
                    outlet.carry_out(&mut brain, attempt, &mut bindings);
                }
            }
        }
    }
    // A binding that is on its way may still arrive; the next scheduler sees which did.
    bindings.shutdown().await;
}

async fn at(tick: Option<Instant>) {
    if let Some(tick) = tick {
        sleep_until(tick).await;
    }
}

/// Everything that happens to one kind, for ever: a watch that is interrupted starts again.
fn watch<K>(client: &kube::Client) -> impl Stream<Item = watcher::Event<K>> + use<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let everywhere: Api<K> = Api::all(client.clone());
    watcher(everywhere, watcher::Config::default())
        .backoff(WatchBackoff::default())
        .filter_map(|event| {
            let told =
                event.inspect_err(|error| tracing::debug!(%error, "a watch was interrupted"));
            ready(told.ok())
        })
}

/// Where decisions go.
struct Outlet {
    client: kube::Client,
    conditions: Conditions,
    /// Two recorders, so that a flood of good news cannot push out the bad. Both drop events
    /// rather than wait: an event is a courtesy, and must not slow down the work it tells of.
    placed: Recorder,
    failed: Recorder,
    context: Context,
}

/// How a binding went.
struct Bound {
    pod: Arc<PodInfo>,
    node: Arc<str>,
    decided: Timestamp,
    result: Result<IgnoredAny, kube::Error>,
}

impl Outlet {
    fn start(client: kube::Client, context: &Context, stop: &CancellationToken) -> Self {
        let recorder = || Recorder::start(client.clone(), context.clone(), COMPONENT, stop.clone());
        Self {
            conditions: Conditions::start(client.clone(), context.clone()),
            placed: recorder(),
            failed: recorder(),
            context: context.clone(),
            client,
        }
    }

    fn carry_out(&self, brain: &mut Brain, attempt: Attempt, bindings: &mut JoinSet<Bound>) {
        match attempt {
            Attempt::Bind { pod, node } => {
                let decided = self.context.now();
                bindings.spawn(bind(self.client.clone(), pod, node, decided));
            }
            Attempt::Unschedulable {
                pod,
                reason,
                is_news,
            } => {
                self.failed
                    .warning(&pod.reference(), "FailedScheduling", reason.clone());
                let uid = Arc::clone(&pod.uid);
                if is_news && self.conditions.unschedulable(pod, reason.clone()) {
                    brain.condition_written(&uid, reason);
                }
            }
        }
    }

    fn settle(&self, brain: &mut Brain, done: Result<Bound, tokio::task::JoinError>) {
        let Bound {
            pod,
            node,
            decided,
            result,
        } = done.expect("a binding neither panics nor is aborted");
        let name = format!("{}/{}", pod.namespace, pod.name);
        match result {
            Ok(_) => {
                let message = format!("Successfully assigned {name} to {node}");
                // The node may have begun before the answer came here.
                let placed = self.placed.at(decided);
                placed.normal(&pod.reference(), "Scheduled", message);
            }
            Err(error) => {
                tracing::debug!(pod = %name, %node, %error, "binding failed");
                brain.binding_failed(&pod.uid, Instant::now());
            }
        }
    }
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/binding-v1/>
async fn bind(
    client: kube::Client,
    pod: Arc<PodInfo>,
    node: Arc<str>,
    decided: Timestamp,
) -> Bound {
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(pod.name.to_string()),
            namespace: Some(pod.namespace.to_string()),
            // Refused where a namesake has taken the pod's place.
            uid: Some(pod.uid.to_string()),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_string()),
            ..ObjectReference::default()
        },
    };
    let pods: Api<WatchedPod> = Api::namespaced(client, &pod.namespace);
    let result = pods
        .create_subresource("binding", &pod.name, &PostParams::default(), &binding)
        .await;
    Bound {
        pod,
        node,
        decided,
        result,
    }
}
