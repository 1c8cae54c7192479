//! HorizontalPodAutoscalers: as many replicas as the metrics ask for.
//!
//! Every 15 s of the cluster's time each autoscaler is looked at: read its metrics
//! (`readings`), ask each for a size (`proposal`, `ratio`, `pods`), hold the largest against
//! the rules of its behaviour (`behavior`), and write the result through the target's `scale`
//! subresource. Everything between reading and writing is pure.
//!
//! The windows and periods of an autoscaler are waits of the cluster itself: `--speed` shortens
//! them.
//!
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/>

mod behavior;
mod conditions;
mod pods;
mod proposal;
mod ratio;
mod readings;
mod target;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, MetricSpec, MetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::ListParams;
use lab_api::objects::object_reference;
use lab_events::Recorder;

use crate::ControllerDef;
use crate::patch::{merge_status, status_change};
use crate::runner::{Error, Key, Next, Queue, work};
use crate::shared::Shared;

use behavior::{Behavior, Memory};
use conditions::Conditions;
use pods::{Patience, PodView};
use proposal::{Failure, Proposal, Reading, failure, propose};
use ratio::{Combined, Workload, combine};
use readings::Reader;
use target::{Kinds, Scale, Target};

/// In the list of controllers.
pub(crate) const DEF: ControllerDef = ControllerDef {
    name: "horizontal-pod-autoscaler",
    help: "changes the number of replicas so that metrics meet their targets",
    start,
};

/// Autoscalers looked at at a time: each waits for answers most of the time.
const WORKERS: usize = 5;
/// How often each is looked at.
const SYNC: Duration = Duration::from_secs(15);
/// How long a pod's CPU is that of starting up, unless it is ready.
const CPU_INITIALIZATION: Duration = Duration::from_secs(300);
/// How soon after its start a pod that becomes unready has never been ready.
const INITIAL_READINESS: Duration = Duration::from_secs(30);

struct Controller {
    shared: Arc<Shared>,
    recorder: Recorder,
    kinds: Kinds,
    /// By uid.
    memories: Mutex<HashMap<String, Memory>>,
}

fn start(shared: &Arc<Shared>) -> BoxFuture<'static, ()> {
    let queue = Arc::new(Queue::new(shared.context.clone()));
    let to = Arc::clone(&queue);
    shared.autoscalers.on_change(move |change| {
        let generation = |one: Option<&Arc<HorizontalPodAutoscaler>>| {
            one.map(|one| (one.metadata.uid.clone(), one.metadata.generation))
        };
        // Its own status is no reason to look again before the time has come.
        if generation(change.old) != generation(change.new) {
            to.add(Key::of(&change.latest().metadata));
        }
    });
    let controller = Arc::new(Controller {
        shared: Arc::clone(shared),
        recorder: shared.recorder(DEF.name),
        kinds: Kinds::default(),
        memories: Mutex::default(),
    });
    work(DEF.name, queue, WORKERS, shared.stop.clone(), move |key| {
        let controller = Arc::clone(&controller);
        async move { controller.reconcile(&key).await }
    })
    .boxed()
}

/// A pass over one autoscaler: what is known, and what it becomes.
struct Pass {
    autoscaler: Arc<HorizontalPodAutoscaler>,
    namespace: String,
    behavior: Behavior,
    memory: Memory,
    conditions: Conditions,
    now: jiff::Timestamp,
}

/// What a pass ends with.
struct End {
    current: i32,
    desired: i32,
    rescaled: bool,
    /// `None` keeps what the status shows.
    metrics: Option<Vec<MetricStatus>>,
}

impl Controller {
    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(autoscaler) = self.shared.autoscalers.get(key) else {
            self.forget_the_gone();
            return Ok(Next::Wait);
        };
        if autoscaler.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Wait);
        }
        let now = self.shared.context.now();
        let uid = autoscaler.metadata.uid.clone().unwrap_or_default();
        let status = autoscaler.status.as_ref();
        let mut pass = Pass {
            namespace: key.namespace.clone(),
            behavior: Behavior::of(autoscaler.spec.behavior.as_ref(), &self.shared.context),
            memory: self.lock().get(&uid).cloned().unwrap_or_default(),
            conditions: Conditions::new(status.and_then(|s| s.conditions.clone()), now),
            now,
            autoscaler: Arc::clone(&autoscaler),
        };
        let end = self.scale(&mut pass).await;
        self.lock().insert(uid, pass.memory.clone());
        self.write_status(key, pass, end).await?;
        Ok(Next::After(self.shared.context.scale(SYNC)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Memory>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_the_gone(&self) {
        let present = self.shared.autoscalers.all();
        let uids: Vec<_> = present.iter().map(|one| one.metadata.uid.clone()).collect();
        self.lock()
            .retain(|uid, _| uids.contains(&Some(uid.clone())));
    }

    fn warn(&self, pass: &Pass, reason: &'static str, message: impl Into<String>) {
        let object = object_reference(pass.autoscaler.as_ref());
        self.recorder.warning(&object, reason, message.into());
    }

    /// Compares the target's size with what the metrics ask for, and changes it.
    async fn scale(&self, pass: &mut Pass) -> Option<End> {
        let reference = &pass.autoscaler.spec.scale_target_ref;
        let client = &self.shared.client;
        let found = match self.kinds.resource(client, reference).await {
            Ok(resource) => {
                let name = &reference.name;
                let target = Target::new(client.clone(), &pass.namespace, &resource, name);
                target.scale().await.map(|scale| (target, scale))
            }
            Err(error) => Err(error),
        };
        let (target, scale) = match found {
            Ok(found) => found,
            Err(error) => {
                self.warn(pass, "FailedGetScale", error.clone());
                let message = format!(
                    "the HPA controller was unable to get the target's current scale: {error}"
                );
                pass.conditions
                    .set("AbleToScale", false, "FailedGetScale", message);
                return None;
            }
        };
        let message = "the HPA controller was able to get the target's current scale";
        pass.conditions
            .set("AbleToScale", true, "SucceededGetScale", message);
        let current = scale.replicas;
        pass.memory.begin(current, pass.now);
        let (desired, reason, metrics) = match self.desired(pass, &scale).await {
            Desired::Size {
                replicas,
                reason,
                metrics,
            } => (replicas, reason, metrics),
            Desired::Unknown => {
                return Some(End {
                    current,
                    desired: current,
                    rescaled: false,
                    metrics: None,
                });
            }
        };
        let mut rescaled = desired != current;
        if rescaled
            && let Err(error) = self
                .rescale(pass, &target, (current, desired), &reason)
                .await
        {
            let message =
                format!("the HPA controller was unable to update the target scale: {error}");
            pass.conditions
                .set("AbleToScale", false, "FailedUpdateScale", message);
            rescaled = false;
        }
        Some(End {
            current,
            desired: if rescaled { desired } else { current },
            rescaled,
            metrics: Some(metrics),
        })
    }

    async fn rescale(
        &self,
        pass: &mut Pass,
        target: &Target,
        (current, desired): (i32, i32),
        reason: &str,
    ) -> Result<(), String> {
        if let Err(error) = target.set(desired).await {
            let message = format!("New size: {desired}; reason: {reason}; error: {error}");
            self.warn(pass, "FailedRescale", message);
            return Err(error);
        }
        let message =
            format!("the HPA controller was able to update the target scale to {desired}");
        pass.conditions
            .set("AbleToScale", true, "SucceededRescale", message);
        let object = object_reference(pass.autoscaler.as_ref());
        let message = format!("New size: {desired}; reason: {reason}");
        self.recorder.normal(&object, "SuccessfulRescale", message);
        pass.memory.scaled(current, desired, pass.now);
        Ok(())
    }

    /// The size that the target should have.
    async fn desired(&self, pass: &mut Pass, scale: &Scale) -> Desired {
        let spec = &pass.autoscaler.spec;
        let (min, max) = (spec.min_replicas.unwrap_or(1), spec.max_replicas);
        let current = scale.replicas;
        let at_once = |replicas, reason: &str| Desired::Size {
            replicas,
            reason: reason.to_owned(),
            metrics: Vec::new(),
        };
        if current == 0 && min != 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            pass.conditions
                .set("ScalingActive", false, "ScalingDisabled", message);
            return at_once(0, "");
        }
        if current > max {
            return at_once(max, "Current number of replicas above Spec.MaxReplicas");
        }
        if current < min {
            return at_once(min, "Current number of replicas below Spec.MinReplicas");
        }
        if scale.selector.is_empty() {
            self.warn(pass, "SelectorRequired", "selector is required");
            let message = "the HPA target's scale is missing a selector";
            pass.conditions
                .set("ScalingActive", false, "InvalidSelector", message);
            return Desired::Unknown;
        }
        let proposals = self.proposals(pass, scale).await;
        self.weigh(pass, proposals, current, (min, max))
    }

    /// Takes the largest proposal as far as the behaviour allows.
    fn weigh(
        &self,
        pass: &mut Pass,
        proposals: Vec<Result<Proposal, Failure>>,
        current: i32,
        bounds: (i32, i32),
    ) -> Desired {
        for failure in proposals.iter().filter_map(|one| one.as_ref().err()) {
            self.warn(pass, failure.reason, failure.message.clone());
        }
        let sizes: Vec<Result<i32, &Failure>> = proposals
            .iter()
            .map(|one| one.as_ref().map(|proposal| proposal.replicas))
            .collect();
        let (wanted, index) = match combine(current, &sizes) {
            Combined::Wanted(wanted, index) => (wanted, index),
            Combined::Unknown(first, failed) => {
                let message = format!(
                    "the HPA was unable to compute the replica count: {}",
                    first.message
                );
                pass.conditions
                    .set("ScalingActive", false, first.reason, message);
                let message = format!(
                    "invalid metrics ({failed} invalid out of {}), first error is: {}",
                    sizes.len(),
                    first.context
                );
                self.warn(pass, "FailedComputeMetricsReplicas", message);
                return Desired::Unknown;
            }
        };
        let name = match &proposals[index] {
            Ok(proposal) => proposal.name.clone(),
            Err(_) => String::new(),
        };
        let message =
            format!("the HPA was able to successfully calculate a replica count from {name}");
        pass.conditions
            .set("ScalingActive", true, "ValidMetricFound", message);
        let reason = match wanted.cmp(&current) {
            std::cmp::Ordering::Greater => format!("{name} above target"),
            std::cmp::Ordering::Less => "All metrics below target".to_owned(),
            std::cmp::Ordering::Equal => String::new(),
        };
        Desired::Size {
            replicas: pace(pass, wanted, current, bounds),
            reason,
            // A metric that could not be read is shown without a value.
            metrics: proposals
                .into_iter()
                .map(|one| one.map_or_else(|_| unread(), |p| p.status))
                .collect(),
        }
    }

    async fn proposals(&self, pass: &Pass, scale: &Scale) -> Vec<Result<Proposal, Failure>> {
        let api: Api<Pod> = Api::namespaced(self.shared.client.clone(), &pass.namespace);
        let selected = ListParams::default().labels(&scale.selector);
        let pods: Result<Vec<PodView>, String> = match api.list(&selected).await {
            Ok(list) => Ok(list.items.iter().map(PodView::of).collect()),
            Err(error) => Err(format!("unable to get pods: {error}")),
        };
        let metrics = pass.autoscaler.spec.metrics.iter().flatten();
        let asked = metrics.map(async |metric| {
            let workload = Workload {
                replicas: scale.replicas,
                pods: pods.as_ref().map_err(|error| failure(metric, error))?,
                patience: self.patience(),
                tolerance: pass.behavior.tolerance,
                now: pass.now,
            };
            let reading = self.read(pass, metric, &scale.selector).await;
            reading
                .and_then(|reading| propose(metric, reading, &workload, scale.present))
                .map_err(|error| failure(metric, &error))
        });
        futures::future::join_all(asked).await
    }

    fn patience(&self) -> Patience {
        Patience {
            cpu_initialization: self.shared.context.scale(CPU_INITIALIZATION),
            initial_readiness: self.shared.context.scale(INITIAL_READINESS),
        }
    }

    async fn read(
        &self,
        pass: &Pass,
        metric: &MetricSpec,
        selector: &str,
    ) -> Result<Reading, String> {
        let reader = Reader {
            client: &self.shared.client,
            namespace: &pass.namespace,
        };
        let of_resource = async |resource: &str, container: Option<&str>| {
            let samples = reader.resource(resource, selector, container).await;
            samples
                .map(Reading::Pods)
                .map_err(|error| format!("unable to get metrics for resource {resource}: {error}"))
        };
        let unable = |name: &str, error: String| format!("unable to get metric {name}: {error}");
        if let Some(source) = &metric.resource {
            of_resource(&source.name, None).await
        } else if let Some(source) = &metric.container_resource {
            of_resource(&source.name, Some(&source.container)).await
        } else if let Some(source) = &metric.pods {
            let samples = reader.pods(&source.metric, selector).await;
            let name = &source.metric.name;
            samples
                .map(Reading::Pods)
                .map_err(|error| unable(name, error))
        } else if let Some(source) = &metric.object {
            let object = &source.described_object;
            let resource = self.kinds.resource(&self.shared.client, object).await?;
            let plural = match resource.group.as_str() {
                "" => resource.plural,
                group => format!("{}.{group}", resource.plural),
            };
            let value = reader.object(&source.metric, &plural, object).await;
            value.map(Reading::Value).map_err(|error| {
                let (kind, name) = (&object.kind, &object.name);
                unable(
                    &source.metric.name,
                    format!("{kind} {}/{name}: {error}", pass.namespace),
                )
            })
        } else if let Some(source) = &metric.external {
            reader.external(&source.metric).await.map(Reading::Value)
        } else {
            Err("the metric names no source".to_owned())
        }
    }

    async fn write_status(&self, key: &Key, pass: Pass, end: Option<End>) -> Result<(), Error> {
        let old = pass.autoscaler.status.clone();
        let mut status = old.clone().unwrap_or_default();
        status.observed_generation = pass.autoscaler.metadata.generation;
        status.conditions = Some(pass.conditions.into_list());
        if let Some(end) = end {
            status.current_replicas = Some(end.current);
            status.desired_replicas = end.desired;
            if let Some(metrics) = end.metrics {
                status.current_metrics = Some(metrics).filter(|metrics| !metrics.is_empty());
            }
            if end.rescaled {
                status.last_scale_time = Some(Time(pass.now));
            }
        }
        let Some(body) = status_change::<HorizontalPodAutoscalerStatus>(old.as_ref(), &status)
        else {
            return Ok(());
        };
        let api: Api<HorizontalPodAutoscaler> =
            Api::namespaced(self.shared.client.clone(), &key.namespace);
        match merge_status(&api, &key.name, &body).await {
            Err(error) if error.is_not_found() => Ok(()),
            answer => answer.map(|_| ()),
        }
    }
}

/// What the target's size should be.
enum Desired {
    /// So many, for this reason, from these metrics.
    Size {
        replicas: i32,
        reason: String,
        metrics: Vec<MetricStatus>,
    },
    /// The metrics do not say.
    Unknown,
}

/// The status of a metric that could not be read: a status without a type means so upstream.
fn unread() -> MetricStatus {
    MetricStatus::default()
}

/// How far the size may follow what is wanted, with the conditions that say why.
fn pace(pass: &mut Pass, wanted: i32, current: i32, bounds: (i32, i32)) -> i32 {
    let stable = pass
        .memory
        .stabilize(current, wanted, &pass.behavior, pass.now);
    let (reason, message) = if stable == wanted {
        ("ReadyForNewScale", "recommended size matches current size")
    } else if wanted >= current {
        (
            "ScaleUpStabilized",
            "recent recommendations were lower than current one, applying the lowest recent recommendation",
        )
    } else {
        (
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent recommendation",
        )
    };
    pass.conditions.set("AbleToScale", true, reason, message);
    let limited = pass
        .memory
        .limit(current, stable, bounds, &pass.behavior, pass.now);
    pass.conditions.set(
        "ScalingLimited",
        limited.replicas != stable,
        limited.reason,
        limited.message,
    );
    limited.replicas
}
