//! One pass over one pod: observe, decide, act, report.

mod end;
mod report;
mod start;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ObjectReference, Pod};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use lab_api::faults;
use lab_api::objects::object_reference;
use lab_api::pods;
use lab_engine::{ContainerId, ContainerState, Engine, EngineError, SandboxId, SandboxStatus};
use lab_events::Recorder;
use serde_json::json;

use crate::agent::{Entry, Shared};
use crate::config::NodeSpec;
use crate::plan::{Known, Step, latest, plan};
use crate::probe;
use crate::status::Waiting;

use report::revision;

/// How long a failed write or engine call waits for its next try.
const RETRY: Duration = Duration::from_secs(1);
/// How long `ErrImagePull` is shown before it becomes `ImagePullBackOff`.
const SHOW_ERROR: Duration = Duration::from_secs(2);

/// What a pass left behind.
pub(crate) enum Outcome {
    /// Nothing to do until something happens.
    Settled,
    /// Look again after this long.
    WakeAfter(Duration),
    /// The pod and its sandbox are gone.
    Gone,
}

/// What the agent remembers of a pod between passes.
#[derive(Default)]
pub(crate) struct PodMemory {
    sandbox: Option<SandboxId>,
    waiting: HashMap<String, Waiting>,
    retries: HashMap<String, Retry>,
    failures: HashMap<String, u32>,
    /// The run whose end was counted last, by container name.
    counted: HashMap<String, ContainerId>,
    earlier_runs: HashMap<String, u32>,
    lost: HashMap<String, ContainerStateTerminated>,
    reported: Option<Reported>,
    removal_began: bool,
    /// Revision of the pod from which on its last shortage of memory is over.
    exhausted: u64,
}

/// The status written last, as its fingerprint, and the revision of that write. Statuses are
/// kilobytes, and an agent may have a hundred thousand pods.
struct Reported {
    fingerprint: u64,
    revision: u64,
}

struct Retry {
    at: Timestamp,
    pause: Duration,
    /// Until when the failure itself is shown, before it is said to be held back.
    shown_until: Timestamp,
}

impl Retry {
    /// When there is something to do or to say.
    fn next(&self, now: Timestamp) -> Timestamp {
        if now < self.shown_until {
            self.shown_until.min(self.at)
        } else {
            self.at
        }
    }
}

/// Why a container could not be started.
struct NotStarted {
    waiting: Waiting,
    event: &'static str,
}

impl Shared {
    /// The recorder that speaks for the pod's node.
    pub(crate) fn recorder(&self, pod: &Pod) -> Recorder {
        let node = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.as_deref())
            .unwrap_or_default();
        self.events.on_host(node)
    }

    /// One pass over one pod.
    pub(crate) async fn sync(self: &Arc<Self>, entry: &Arc<Entry>) -> Outcome {
        let pod = entry.pod();
        let Some(node) = pod
            .spec
            .as_ref()
            .and_then(|s| s.node_name.as_ref())
            .and_then(|n| self.nodes.get(n))
        else {
            return Outcome::Gone;
        };
        let mut memory = entry.memory.lock().await;
        let pass = Pass {
            shared: self,
            entry,
            pod: &pod,
            node,
            events: self.recorder(&pod),
        };
        let result = if entry.is_deleted() {
            pass.remove(&mut memory).await
        } else if pod.metadata.deletion_timestamp.is_some() {
            pass.terminate(&mut memory).await
        } else {
            pass.run(&mut memory).await
        };
        result.unwrap_or_else(|error| {
            tracing::debug!(pod = %pod.name_any(), %error, "pass not finished; will be tried again");
            Outcome::WakeAfter(RETRY)
        })
    }
}

/// Why a pass could not be finished; the next one tries again.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("the engine failed: {0}")]
    Engine(#[from] EngineError),
    #[error("the API server refused: {0}")]
    Api(#[from] kube::Error),
    #[error("the node is cut off from the control plane")]
    CutOff,
}

struct Pass<'a> {
    shared: &'a Arc<Shared>,
    entry: &'a Arc<Entry>,
    pod: &'a Arc<Pod>,
    node: &'a NodeSpec,
    events: Recorder,
}

struct Facts<'a> {
    pass: &'a Pass<'a>,
    memory: &'a PodMemory,
    sandbox: Option<&'a SandboxStatus>,
}

impl Facts<'_> {
    fn run(&self, container: &str) -> Option<&ContainerId> {
        latest(self.sandbox, container).map(|status| &status.id)
    }
}

impl Known for Facts<'_> {
    fn started(&self, container: &str) -> bool {
        self.run(container)
            .is_some_and(|run| self.pass.entry.verdicts.started(container, run))
    }

    fn doomed(&self, container: &str) -> Option<&'static str> {
        self.pass
            .entry
            .verdicts
            .doomed(container, self.run(container)?)
    }

    fn failures(&self, container: &str) -> u32 {
        self.memory.failures.get(container).copied().unwrap_or(0)
    }

    fn retry_at(&self, container: &str) -> Option<Timestamp> {
        self.memory.retries.get(container).map(|retry| retry.at)
    }

    fn scale(&self, wait: Duration) -> Duration {
        self.pass.shared.context.scale(wait)
    }
}

impl Pass<'_> {
    fn engine(&self) -> &dyn Engine {
        self.shared.engine.as_ref()
    }

    fn now(&self) -> Timestamp {
        self.shared.context.now()
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(
            self.shared.client.clone(),
            &self.pod.namespace().unwrap_or_default(),
        )
    }

    /// The pod should run.
    async fn run(&self, memory: &mut PodMemory) -> Result<Outcome, PassError> {
        let mut sandbox = self.observe(memory).await?;
        if pods::is_finished(self.pod) {
            return self.rest(sandbox.as_ref()).await;
        }
        self.exhaust_memory(memory, sandbox.as_ref()).await?;
        self.note_ends(memory, sandbox.as_ref());
        let facts = Facts {
            pass: self,
            memory,
            sandbox: sandbox.as_ref(),
        };
        let plan = plan(self.pod, sandbox.as_ref(), &facts, self.now());
        let mut progressed = false;
        for step in &plan.steps {
            match step {
                Step::CreateSandbox => {
                    sandbox = Some(self.make_sandbox(memory, sandbox.take()).await?)
                }
                Step::Start(which) => {
                    let Some(alive) = &sandbox else { break };
                    let started = self.try_start(memory, alive, *which).await?;
                    progressed |= started;
                    if !started && which.init {
                        break;
                    }
                }
                Step::Kill(which, why) => self.kill(sandbox.as_ref(), *which, why).await?,
            }
        }
        if !plan.steps.is_empty() {
            sandbox = self.observe(memory).await?;
        }
        self.explain_waits(memory, sandbox.as_ref());
        self.report(memory, sandbox.as_ref()).await?;
        Ok(self.next_look(memory, plan.wake_at, progressed))
    }

    /// When to look again: at the earliest retry or back-off, if any.
    fn next_look(
        &self,
        memory: &PodMemory,
        wake_at: Option<Timestamp>,
        progressed: bool,
    ) -> Outcome {
        if progressed {
            // Starting one container can make the next one due.
            return Outcome::WakeAfter(Duration::ZERO);
        }
        let now = self.now();
        let retries = memory.retries.values().map(|retry| retry.next(now));
        match retries.chain(wake_at).min() {
            None => Outcome::Settled,
            Some(at) => {
                let wait = Duration::try_from(at.duration_since(now)).unwrap_or_default();
                Outcome::WakeAfter(wait.max(Duration::from_millis(1)))
            }
        }
    }

    /// Plays the fault of a pod that runs out of memory, once: the annotation goes before the
    /// containers do, so that their next run is left alone.
    async fn exhaust_memory(
        &self,
        memory: &mut PodMemory,
        sandbox: Option<&SandboxStatus>,
    ) -> Result<(), PassError> {
        // What is seen may be from before the annotation went.
        let played = revision(self.pod) < memory.exhausted;
        if played || !self.pod.annotations().contains_key(faults::MEMORY) {
            return Ok(());
        }
        let running = |container: &&lab_engine::ContainerStatus| {
            matches!(container.state, ContainerState::Running { .. })
        };
        let containers = sandbox.into_iter().flat_map(|s| &s.containers);
        let containers: Vec<_> = containers.filter(running).collect();
        if containers.is_empty() {
            return Ok(());
        }
        let patch =
            json!({"metadata": {"uid": self.entry.uid, "annotations": {faults::MEMORY: null}}});
        let patched = self
            .api()
            .patch(
                &self.pod.name_any(),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await;
        memory.exhausted = revision(&patched?);
        for container in containers {
            self.engine().exhaust_memory(&container.id).await?;
        }
        Ok(())
    }

    /// A finished pod keeps its containers (for their logs) but none may run.
    async fn rest(&self, sandbox: Option<&SandboxStatus>) -> Result<Outcome, PassError> {
        for container in sandbox.into_iter().flat_map(|sandbox| &sandbox.containers) {
            if matches!(container.state, ContainerState::Running { .. }) {
                self.engine()
                    .stop_container(&container.id, self.grace())
                    .await?;
            }
        }
        Ok(Outcome::Settled)
    }

    /// What the engine shows of this pod, and who it belongs to.
    async fn observe(&self, memory: &mut PodMemory) -> Result<Option<SandboxStatus>, PassError> {
        let status = match &memory.sandbox {
            Some(id) => self.engine().sandbox_status(id).await?,
            None => self.find_sandbox().await?,
        };
        memory.sandbox = status.as_ref().map(|status| status.id.clone());
        if let Some(status) = &status {
            self.shared.own(&status.id, &self.entry.uid);
            self.probe_unprobed(status);
        }
        Ok(status)
    }

    /// The sandbox that an earlier life of this agent made. A pod without a status never had one.
    async fn find_sandbox(&self) -> Result<Option<SandboxStatus>, PassError> {
        let touched = self
            .pod
            .status
            .as_ref()
            .is_some_and(|status| status.pod_ip.is_some());
        if !touched {
            return Ok(None);
        }
        let sandboxes = self.engine().list_sandboxes().await?;
        Ok(sandboxes
            .into_iter()
            .find(|sandbox| sandbox.config.uid == self.entry.uid))
    }

    /// Begins to probe containers that run and are not probed yet.
    fn probe_unprobed(&self, sandbox: &SandboxStatus) {
        let spec = self.pod.spec.as_ref();
        let init = spec
            .and_then(|spec| spec.init_containers.as_deref())
            .unwrap_or_default();
        let main = spec
            .map(|spec| spec.containers.as_slice())
            .unwrap_or_default();
        for container in init.iter().chain(main) {
            if let Some(run) = latest(Some(sandbox), &container.name)
                && matches!(run.state, ContainerState::Running { .. })
                && !self.entry.verdicts.covers(&container.name, &run.id)
            {
                probe::begin(self.shared, self.entry, container, &run.id, sandbox.ip);
            }
        }
    }

    fn reference_to(&self, container: &Container) -> ObjectReference {
        reference_to(self.pod, &container.name)
    }
}

/// A container of a pod, as the object of an event.
pub(crate) fn reference_to(pod: &Pod, container: &str) -> ObjectReference {
    let spec = pod.spec.as_ref();
    let mut init = spec
        .into_iter()
        .flat_map(|s| s.init_containers.iter().flatten());
    let list = if init.any(|candidate| candidate.name == container) {
        "initContainers"
    } else {
        "containers"
    };
    let mut reference = object_reference(pod);
    reference.field_path = Some(format!("spec.{list}{{{container}}}"));
    reference
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
