//! One pass over one pod: observe, decide, act, report.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use lab_api::objects::object_reference;
use lab_api::pods;
use lab_api::quantity::{cpu_millis, memory_bytes};
use lab_engine::{
    ContainerConfig, ContainerId, ContainerState, ContainerStatus, Engine, EngineError, Image,
    SandboxConfig, SandboxId, SandboxStatus,
};
use lab_events::Recorder;
use serde_json::{Value, json};

use crate::agent::{Entry, Shared};
use crate::config::NodeSpec;
use crate::environment::{ConfigError, References, expand, resolve};
use crate::plan::{BACKOFF_MAX, BACKOFF_RESET, BACKOFF_START, Known, Step, Which, latest, plan};
use crate::probe;
use crate::status::{Observed, Waiting, pod_status, terminated};
use crate::volumes::mounts;

/// How long a failed write or engine call waits for its next try.
const RETRY: Duration = Duration::from_secs(1);
/// How long `ErrImagePull` is shown before it becomes `ImagePullBackOff`.
const SHOW_ERROR: Duration = Duration::from_secs(2);
/// Termination grace of a pod that names none, in seconds.
const DEFAULT_GRACE: i64 = 30;

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
    /// Containers whose pull failed in this very pass.
    just_failed: HashSet<String>,
    earlier_runs: HashMap<String, u32>,
    lost: HashMap<String, ContainerStateTerminated>,
    reported: Option<Value>,
    removal_began: bool,
}

struct Retry {
    at: Timestamp,
    pause: Duration,
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
        memory: &mut PodMemory,
        wake_at: Option<Timestamp>,
        progressed: bool,
    ) -> Outcome {
        if progressed {
            // Starting one container can make the next one due.
            return Outcome::WakeAfter(Duration::ZERO);
        }
        if !std::mem::take(&mut memory.just_failed).is_empty() {
            return Outcome::WakeAfter(self.shared.context.scale(SHOW_ERROR));
        }
        let retries = memory.retries.values().map(|retry| retry.at);
        match retries.chain(wake_at).min() {
            None => Outcome::Settled,
            Some(at) => {
                let wait = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
                Outcome::WakeAfter(wait.max(Duration::from_millis(1)))
            }
        }
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

    async fn make_sandbox(
        &self,
        memory: &mut PodMemory,
        dead: Option<SandboxStatus>,
    ) -> Result<SandboxStatus, PassError> {
        if let Some(dead) = dead {
            self.remember_lost(memory, &dead);
            self.engine().remove_pod_sandbox(&dead.id).await?;
            self.shared.disown(&dead.id);
        } else if memory.earlier_runs.is_empty() {
            self.recall_restarts(memory);
        }
        let spec = self.pod.spec.as_ref();
        let containers = spec.map_or(0, |s| {
            s.containers.len() + s.init_containers.as_ref().map_or(0, Vec::len)
        });
        let status = self.pod.status.as_ref();
        let namespace = self.pod.namespace().unwrap_or_default();
        let config = SandboxConfig {
            hostname: spec
                .and_then(|spec| spec.hostname.clone())
                .unwrap_or_else(|| self.pod.name_any()),
            name: self.pod.name_any(),
            uid: self.entry.uid.clone(),
            ip: status
                .and_then(|status| status.pod_ip.as_deref())
                .and_then(|ip| ip.parse().ok()),
            shared: containers > 1,
            dns_servers: self.shared.config.dns.into_iter().collect(),
            dns_search: self
                .shared
                .config
                .dns
                .map_or_else(Vec::new, |_| search_domains(&namespace)),
            namespace,
        };
        let made = self.engine().run_pod_sandbox(&config).await;
        let made = made.inspect_err(|error| {
            self.events.warning(
                &object_reference(&**self.pod),
                "FailedCreatePodSandBox",
                error.to_string(),
            );
        })?;
        memory.sandbox = Some(made.id.clone());
        self.shared.own(&made.id, &self.entry.uid);
        Ok(made)
    }

    /// Keeps what a dead sandbox's containers came to: they count as runs, and as `lastState`.
    fn remember_lost(&self, memory: &mut PodMemory, dead: &SandboxStatus) {
        let runtime = self.engine().runtime_version();
        for container in &dead.containers {
            let runs = memory
                .earlier_runs
                .entry(container.name.clone())
                .or_default();
            *runs = (*runs).max(container.attempt + 1);
            if let Some(end) = terminated(container, &runtime) {
                memory.lost.insert(container.name.clone(), end);
            }
        }
    }

    /// The restart counts that the API has from before this agent's life.
    fn recall_restarts(&self, memory: &mut PodMemory) {
        let Some(status) = &self.pod.status else {
            return;
        };
        let main = status.container_statuses.iter().flatten();
        for container in main.chain(status.init_container_statuses.iter().flatten()) {
            if container.container_id.is_some() {
                let runs = u32::try_from(container.restart_count).unwrap_or(0) + 1;
                memory.earlier_runs.insert(container.name.clone(), runs);
            }
        }
    }

    /// Counts runs that ended early, once each: the measure of the back-off.
    fn note_ends(&self, memory: &mut PodMemory, sandbox: Option<&SandboxStatus>) {
        for container in sandbox.into_iter().flat_map(|sandbox| &sandbox.containers) {
            let ContainerState::Exited {
                started_at,
                finished_at,
                ..
            } = container.state
            else {
                continue;
            };
            let is_latest =
                latest(sandbox, &container.name).is_some_and(|run| run.id == container.id);
            if !is_latest || memory.counted.get(&container.name) == Some(&container.id) {
                continue;
            }
            memory
                .counted
                .insert(container.name.clone(), container.id.clone());
            let ran = started_at.map_or(Duration::ZERO, |at| {
                Duration::try_from(finished_at.duration_since(at)).unwrap_or_default()
            });
            let failures = memory.failures.entry(container.name.clone()).or_default();
            *failures = if ran >= self.shared.context.scale(BACKOFF_RESET) {
                1
            } else {
                *failures + 1
            };
        }
    }

    /// Starts a container; false where it has to wait, with the reason remembered.
    async fn try_start(
        &self,
        memory: &mut PodMemory,
        sandbox: &SandboxStatus,
        which: Which,
    ) -> Result<bool, PassError> {
        let Some(container) = self.pod.spec.as_ref().and_then(|spec| which.of(spec)) else {
            return Ok(false);
        };
        match self.start(memory, sandbox, container).await {
            Ok(()) => {
                memory.waiting.remove(&container.name);
                memory.retries.remove(&container.name);
                Ok(true)
            }
            Err(failed) => {
                self.hold_back(memory, container, failed);
                Ok(false)
            }
        }
    }

    async fn start(
        &self,
        memory: &mut PodMemory,
        sandbox: &SandboxStatus,
        container: &Container,
    ) -> Result<(), NotStarted> {
        let image = self.ensure_image(memory, sandbox, container).await?;
        let config = self
            .configure(memory, sandbox, container)
            .await
            .map_err(|error| NotStarted {
                waiting: Waiting {
                    reason: "CreateContainerConfigError",
                    message: error.to_string(),
                },
                event: "Failed",
            })?;
        self.discard_old_runs(sandbox, &container.name).await;
        let reference = self.reference_to(container);
        let failed = |error: EngineError| NotStarted {
            waiting: Waiting {
                reason: start_reason(&error),
                message: error.to_string(),
            },
            event: "Failed",
        };
        tracing::debug!(container = config.name, image = image.id, "starting");
        let id = self
            .engine()
            .create_container(&sandbox.id, &config)
            .await
            .map_err(failed)?;
        self.events.normal(
            &reference,
            "Created",
            format!("Container created: {}", container.name),
        );
        if let Err(error) = self.engine().start_container(&id).await {
            // A container that could not start is no run of the application; the next try makes anew.
            let _ = self.engine().remove_container(&id).await;
            return Err(failed(error));
        }
        self.events.normal(
            &reference,
            "Started",
            format!("Container started: {}", container.name),
        );
        probe::begin(self.shared, self.entry, container, &id, sandbox.ip);
        Ok(())
    }

    fn reference_to(&self, container: &Container) -> k8s_openapi::api::core::v1::ObjectReference {
        let mut reference = object_reference(&**self.pod);
        reference.field_path = Some(format!("spec.containers{{{}}}", container.name));
        reference
    }

    /// Pulls by the container's policy.
    /// <https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy>
    async fn ensure_image(
        &self,
        memory: &mut PodMemory,
        sandbox: &SandboxStatus,
        container: &Container,
    ) -> Result<Image, NotStarted> {
        let name = container.image.as_deref().unwrap_or_default();
        let policy = container
            .image_pull_policy
            .as_deref()
            .unwrap_or("IfNotPresent");
        let refuse = |reason, message: String| NotStarted {
            waiting: Waiting { reason, message },
            event: "Failed",
        };
        if policy != "Always" {
            let present = self.engine().image_status(name).await;
            match present.map_err(|error| refuse("ImageInspectError", error.to_string()))? {
                Some(image) => return Ok(image),
                None if policy == "Never" => {
                    let message = format!(
                        "Container image \"{name}\" is not present with pull policy of Never"
                    );
                    return Err(refuse("ErrImageNeverPull", message));
                }
                None => {}
            }
        }
        // A pull can take long: what is known so far is shown first.
        if let Err(error) = self.report(memory, Some(sandbox)).await {
            tracing::debug!(%error, "status not written before the pull");
        }
        let reference = self.reference_to(container);
        self.events
            .normal(&reference, "Pulling", format!("Pulling image \"{name}\""));
        let began = tokio::time::Instant::now();
        match self.engine().pull_image(name).await {
            Ok(image) => {
                let took = began.elapsed().as_millis();
                let size = image.size_bytes;
                let message = format!(
                    "Successfully pulled image \"{name}\" in {took}ms. Image size: {size} bytes."
                );
                self.events.normal(&reference, "Pulled", message);
                Ok(image)
            }
            Err(error @ EngineError::InvalidImageName { .. }) => Err(NotStarted {
                waiting: Waiting {
                    reason: "InvalidImageName",
                    message: error.to_string(),
                },
                event: "InspectFailed",
            }),
            Err(error) => Err(refuse("ErrImagePull", error.to_string())),
        }
    }

    /// The engine's configuration of a container.
    async fn configure(
        &self,
        memory: &PodMemory,
        sandbox: &SandboxStatus,
        container: &Container,
    ) -> Result<ContainerConfig, ConfigError> {
        let references = References::new(&self.shared.client, self.pod);
        let ip = sandbox.ip.to_string();
        let env = if self.engine().pods_are_simulated() {
            Vec::new()
        } else {
            resolve(&references, self.pod, container, self.node, &ip).await?
        };
        let mounts = mounts(&references, self.pod, container, self.node, &ip).await?;
        let words = |list: &Option<Vec<String>>| {
            list.iter()
                .flatten()
                .map(|word| expand(word, &env))
                .collect::<Vec<_>>()
        };
        let resources = container.resources.as_ref();
        let limits = resources.and_then(|resources| resources.limits.as_ref());
        let requests = resources.and_then(|resources| resources.requests.as_ref());
        let own = container.security_context.as_ref();
        let pods = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.security_context.as_ref());
        Ok(ContainerConfig {
            name: container.name.clone(),
            attempt: next_attempt(memory, sandbox, &container.name),
            image: container.image.clone().unwrap_or_default(),
            command: words(&container.command),
            args: words(&container.args),
            working_dir: container.working_dir.clone(),
            mounts,
            memory_limit_bytes: limits
                .and_then(|l| l.get("memory"))
                .map(|q| memory_bytes(Some(q))),
            cpu_limit_millis: limits
                .and_then(|l| l.get("cpu"))
                .map(|q| cpu_millis(Some(q))),
            cpu_request_millis: requests
                .and_then(|r| r.get("cpu"))
                .map(|q| cpu_millis(Some(q))),
            run_as_user: own
                .and_then(|c| c.run_as_user)
                .or_else(|| pods.and_then(|c| c.run_as_user)),
            run_as_non_root: own
                .and_then(|c| c.run_as_non_root)
                .or_else(|| pods.and_then(|c| c.run_as_non_root))
                .unwrap_or(false),
            read_only_root: own
                .and_then(|c| c.read_only_root_filesystem)
                .unwrap_or(false),
            env,
        })
    }

    /// Keeps the latest ended run of a container (for `logs --previous`) and removes older ones.
    async fn discard_old_runs(&self, sandbox: &SandboxStatus, name: &str) {
        let newest = latest(Some(sandbox), name).map(|run| run.id.clone());
        for run in sandbox
            .containers
            .iter()
            .filter(|run| run.name == name && Some(&run.id) != newest.as_ref())
        {
            if let Err(error) = self.engine().remove_container(&run.id).await {
                tracing::debug!(%error, "old container not removed");
            }
        }
    }

    /// Remembers why a container waits, doubling its pause, and says so in an event.
    fn hold_back(&self, memory: &mut PodMemory, container: &Container, failed: NotStarted) {
        let pause = memory
            .retries
            .get(&container.name)
            .map_or(BACKOFF_START, |retry| (retry.pause * 2).min(BACKOFF_MAX));
        let pulling = failed.waiting.reason == "ErrImagePull";
        let message = if pulling {
            let image = container.image.as_deref().unwrap_or_default();
            format!(
                "Failed to pull image \"{image}\": {}",
                failed.waiting.message
            )
        } else {
            format!("Error: {}", failed.waiting.message)
        };
        self.events
            .warning(&self.reference_to(container), failed.event, message);
        let at = self.now() + self.shared.context.scale(pause);
        memory
            .retries
            .insert(container.name.clone(), Retry { at, pause });
        memory
            .waiting
            .insert(container.name.clone(), failed.waiting);
    }

    /// Turns waits that outlast this pass into the reasons that people know: a pull that is
    /// being held back, a container that keeps crashing.
    fn explain_waits(&self, memory: &mut PodMemory, sandbox: Option<&SandboxStatus>) {
        for (container, waiting) in &mut memory.waiting {
            if waiting.reason == "ErrImagePull" && !memory.just_failed.contains(container) {
                waiting.reason = "ImagePullBackOff";
                waiting.message =
                    format!("Back-off pulling image: ErrImagePull: {}", waiting.message);
            }
        }
        let Some(spec) = &self.pod.spec else { return };
        let policy = spec.restart_policy.as_deref().unwrap_or("Always");
        for container in spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
        {
            let Some(run) = latest(sandbox, &container.name) else {
                continue;
            };
            match run.state {
                ContainerState::Exited { exit_code, .. }
                    if !memory.retries.contains_key(&container.name) =>
                {
                    let restarts = policy == "Always" || (policy == "OnFailure" && exit_code != 0);
                    let failures = memory.failures.get(&container.name).copied().unwrap_or(0);
                    let pause = crate::plan::backoff(failures);
                    if restarts && !pause.is_zero() {
                        self.note_crash_loop(memory, container, pause);
                    }
                }
                ContainerState::Running { .. } => {
                    memory.waiting.remove(&container.name);
                }
                ContainerState::Created | ContainerState::Exited { .. } => {}
            }
        }
    }

    fn note_crash_loop(&self, memory: &mut PodMemory, container: &Container, pause: Duration) {
        let pod = format!(
            "{}_{}({})",
            self.pod.name_any(),
            self.pod.namespace().unwrap_or_default(),
            self.entry.uid
        );
        let seconds = pause.as_secs();
        let length = if seconds >= 60 && seconds.is_multiple_of(60) {
            format!("{}m0s", seconds / 60)
        } else if seconds > 60 {
            format!("{}m{}s", seconds / 60, seconds % 60)
        } else {
            format!("{seconds}s")
        };
        let message = format!(
            "back-off {length} restarting failed container={} pod={pod}",
            container.name
        );
        let waiting = Waiting {
            reason: "CrashLoopBackOff",
            message,
        };
        if memory.waiting.get(&container.name) != Some(&waiting) {
            let text = format!(
                "Back-off restarting failed container {} in pod {pod}",
                container.name
            );
            self.events
                .warning(&self.reference_to(container), "BackOff", text);
            memory.waiting.insert(container.name.clone(), waiting);
        }
    }

    async fn kill(
        &self,
        sandbox: Option<&SandboxStatus>,
        which: Which,
        why: &str,
    ) -> Result<(), PassError> {
        let Some(container) = self.pod.spec.as_ref().and_then(|spec| which.of(spec)) else {
            return Ok(());
        };
        let Some(run) = latest(sandbox, &container.name) else {
            return Ok(());
        };
        let probe = if why == "Startup" {
            &container.startup_probe
        } else {
            &container.liveness_probe
        };
        let own = probe
            .as_ref()
            .and_then(|probe| probe.termination_grace_period_seconds);
        let grace = own.map_or_else(|| self.grace(), seconds);
        let message = format!(
            "Container {} failed {} probe, will be restarted",
            container.name,
            why.to_lowercase()
        );
        self.events
            .normal(&self.reference_to(container), "Killing", message);
        Ok(self.engine().stop_container(&run.id, grace).await?)
    }

    fn grace(&self) -> Duration {
        let pod = self.pod;
        let asked = pod.metadata.deletion_grace_period_seconds;
        let own = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.termination_grace_period_seconds);
        seconds(asked.or(own).unwrap_or(DEFAULT_GRACE))
    }

    /// The pod is being deleted: end its containers in their grace, say so, and let it go.
    async fn terminate(&self, memory: &mut PodMemory) -> Result<Outcome, PassError> {
        let sandbox = self.observe(memory).await?;
        if let Some(sandbox) = &sandbox {
            let running = sandbox
                .containers
                .iter()
                .filter(|c| matches!(c.state, ContainerState::Running { .. }));
            let ends = running.map(|container| self.end(container));
            for ended in futures::future::join_all(ends).await {
                ended?;
            }
            let ended = self.engine().sandbox_status(&sandbox.id).await?;
            self.report(memory, ended.as_ref()).await?;
        }
        if !memory.removal_began {
            let parameters = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(Preconditions {
                    uid: Some(self.entry.uid.clone()),
                    resource_version: None,
                }),
                ..DeleteParams::default()
            };
            match self.api().delete(&self.pod.name_any(), &parameters).await {
                Ok(_) => memory.removal_began = true,
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
                    memory.removal_began = true
                }
                Err(error) => return Err(error.into()),
            }
        }
        // The deletion's own event brings the pass that removes the sandbox; finalizers may hold
        // the object back for a while.
        Ok(Outcome::Settled)
    }

    /// preStop, TERM, and KILL at the end of the grace.
    async fn end(&self, run: &ContainerStatus) -> Result<(), PassError> {
        let spec = self.pod.spec.as_ref();
        let container = spec.and_then(|spec| {
            spec.containers
                .iter()
                .chain(spec.init_containers.iter().flatten())
                .find(|c| c.name == run.name)
        });
        let began = tokio::time::Instant::now();
        let grace = self.grace();
        if let Some(container) = container {
            self.events.normal(
                &self.reference_to(container),
                "Killing",
                format!("Stopping container {}", run.name),
            );
            if !grace.is_zero() {
                self.pre_stop(container, run, grace).await;
            }
        }
        // A hook that overran its grace leaves the container a last two seconds, as the kubelet does.
        let left = grace.saturating_sub(began.elapsed());
        let left = if grace.is_zero() {
            left
        } else {
            left.max(Duration::from_secs(2))
        };
        match self.engine().stop_container(&run.id, left).await {
            Ok(()) | Err(EngineError::NotFound(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn pre_stop(&self, container: &Container, run: &ContainerStatus, grace: Duration) {
        let Some(hook) = container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.pre_stop.as_ref())
        else {
            return;
        };
        if let Some(sleep) = &hook.sleep {
            tokio::time::sleep(seconds(sleep.seconds).min(grace)).await;
        } else if let Some(exec) = &hook.exec {
            let command = exec.command.clone().unwrap_or_default();
            let failed = match self.engine().exec(&run.id, &command, grace).await {
                Ok(output) if output.exit_code == 0 => None,
                Ok(output) => Some(format!("exited with code {}", output.exit_code)),
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = failed {
                self.events.warning(
                    &self.reference_to(container),
                    "FailedPreStopHook",
                    format!("PreStopHook failed: {why}"),
                );
            }
        }
    }

    /// The pod is gone from the API: nothing of it may stay.
    async fn remove(&self, memory: &mut PodMemory) -> Result<Outcome, PassError> {
        self.entry.verdicts.clear();
        let sandbox = match memory.sandbox.clone() {
            Some(id) => Some(id),
            None => self.find_sandbox().await?.map(|sandbox| sandbox.id),
        };
        if let Some(id) = sandbox {
            self.engine().remove_pod_sandbox(&id).await?;
            self.shared.disown(&id);
        }
        Ok(Outcome::Gone)
    }

    /// Writes the status where it differs from what was written last.
    async fn report(
        &self,
        memory: &mut PodMemory,
        sandbox: Option<&SandboxStatus>,
    ) -> Result<(), PassError> {
        let runtime = self.engine().runtime_version();
        let verdicts = &self.entry.verdicts;
        let observed = Observed {
            pod: self.pod,
            node: self.node,
            sandbox,
            waiting: &memory.waiting,
            lost: &memory.lost,
            earlier_runs: &memory.earlier_runs,
            verdict: &|container, run| {
                (
                    verdicts.started(container, run),
                    verdicts.ready(container, run),
                )
            },
            runtime: &runtime,
            now: self.now(),
        };
        let status = pod_status(&observed);
        let Ok(status) = serde_json::to_value(&status) else {
            return Ok(());
        };
        if memory
            .reported
            .as_ref()
            .is_some_and(|reported| same_but_for_times(reported, &status))
        {
            return Ok(());
        }
        let patch =
            json!({"metadata": {"uid": self.entry.uid}, "status": with_nulls(status.clone())});
        let _turn = self.shared.writes.acquire().await;
        let written = self
            .api()
            .patch_status(
                &self.pod.name_any(),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await;
        match written {
            Ok(_) => memory.reported = Some(status),
            // Gone, or replaced by a namesake: the watch will say.
            Err(kube::Error::Api(refused)) if refused.code == 404 || refused.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// A merge patch keeps what it does not name, so what must vanish is named as null.
fn with_nulls(mut status: Value) -> Value {
    if let Some(map) = status.as_object_mut() {
        for field in ["reason", "message"] {
            map.entry(field).or_insert(Value::Null);
        }
    }
    status
}

/// Equal but for the moments at which conditions changed: those of unchanged conditions are kept
/// from the pod as last seen, which may lag behind.
fn same_but_for_times(one: &Value, two: &Value) -> bool {
    fn strip(status: &Value) -> Value {
        let mut status = status.clone();
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            if let Some(condition) = condition.as_object_mut() {
                condition.remove("lastTransitionTime");
            }
        }
        if let Some(status) = status.as_object_mut() {
            status.remove("startTime");
        }
        status
    }
    strip(one) == strip(two)
}

fn next_attempt(memory: &PodMemory, sandbox: &SandboxStatus, name: &str) -> u32 {
    let here = latest(Some(sandbox), name).map(|run| run.attempt + 1);
    here.or_else(|| memory.earlier_runs.get(name).copied())
        .unwrap_or(0)
}

fn start_reason(error: &EngineError) -> &'static str {
    match error {
        EngineError::InvalidContainer(_) => "CreateContainerConfigError",
        EngineError::ImageNotFound { .. }
        | EngineError::InvalidImageName { .. }
        | EngineError::PullFailed { .. }
        | EngineError::NotFound(_)
        | EngineError::Unsupported { .. }
        | EngineError::Runtime { .. } => "CreateContainerError",
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn search_domains(namespace: &str) -> Vec<String> {
    vec![
        format!("{namespace}.svc.cluster.local"),
        "svc.cluster.local".to_owned(),
        "cluster.local".to_owned(),
    ]
}
