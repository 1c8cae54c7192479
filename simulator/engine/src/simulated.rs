//! Pods that exist in memory only: nothing runs, nothing listens, and what a container does
//! with its life follows from the name of its image.
//!
//! It serves tests on paused time and lessons about scale, so it is built to hold 100,000 pods:
//! a few hundred bytes per pod, no task per pod (only containers that end by themselves have a
//! timer), and no work proportional to the number of pods but in
//! [`Engine::list_sandboxes`].

mod logs;
mod rules;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use lab_context::Context;

pub use rules::{Behaviour, Rule, well_known_rules};

use self::state::{Place, State, sandbox_id, sandbox_number};
use crate::addresses::PodNetwork;
use crate::events::EventBus;
use crate::{
    ContainerConfig, ContainerId, ContainerState, ContainerStats, Engine, EngineError, EngineEvent,
    ExecOutput, Image, LogOptions, SandboxConfig, SandboxId, SandboxStatus, SimulatedUsage,
};

/// Says what a container of a pod uses now, given the number of running pods that share its
/// labels (and so its load); `None` leaves it to the pod's annotations.
pub type UsageScript =
    Arc<dyn Fn(&SandboxConfig, &str, usize) -> Option<SimulatedUsage> + Send + Sync>;

/// Exit code of what was killed: 128 + SIGKILL.
const KILLED: i32 = 137;

/// What every simulated image is said to weigh, in bytes.
const IMAGE_BYTES: u64 = 20 << 20;

/// What every simulated container is said to hold in memory, in bytes.
const CONTAINER_MEMORY_BYTES: u64 = 16 << 20;

/// How a [`SimulatedEngine`] behaves.
#[derive(Clone, Debug)]
pub struct SimulatedConfig {
    /// How long a pull takes, before the context's speed shortens it.
    pub pull_delay: Duration,
    /// How long a start takes, before the context's speed shortens it.
    pub start_delay: Duration,
    /// How long a container takes to end when asked, before the context's speed shortens it;
    /// one that needs longer than its grace is killed.
    pub stop_delay: Duration,
    /// What containers do, by image; the first match decides, and what matches nothing runs.
    pub rules: Vec<Rule>,
    /// Where pods get addresses from when the agent names none; nothing answers there.
    pub pod_network: PodNetwork,
}

impl Default for SimulatedConfig {
    /// No delays, the [`well_known_rules`], and addresses for eight million pods in
    /// 10.128.0.0/9.
    fn default() -> Self {
        Self {
            pull_delay: Duration::ZERO,
            start_delay: Duration::ZERO,
            stop_delay: Duration::ZERO,
            rules: well_known_rules(),
            pod_network: PodNetwork::new([10, 128, 0, 0].into(), 9)
                .expect("a /9 has room for pods"),
        }
    }
}

/// The engine whose pods exist in memory only. Clones share their pods.
#[derive(Clone)]
pub struct SimulatedEngine {
    shared: Arc<Shared>,
}

struct Shared {
    config: SimulatedConfig,
    context: Context,
    events: EventBus,
    state: Mutex<State>,
    usage: Mutex<Option<UsageScript>>,
}

fn not_found(id: &ContainerId) -> EngineError {
    EngineError::NotFound(format!("container {}", id.0))
}

impl SimulatedEngine {
    /// An engine without pods. Delays follow tokio's time, stamps follow `context`.
    #[must_use]
    pub fn new(config: SimulatedConfig, context: Context) -> Self {
        let state = State::new(config.pod_network);
        Self {
            shared: Arc::new(Shared {
                config,
                context,
                events: EventBus::new(),
                state: Mutex::new(state),
                usage: Mutex::new(None),
            }),
        }
    }

    /// Scripts what containers use from now on, in place of an earlier script.
    pub fn script_usage(&self, script: UsageScript) {
        *self
            .shared
            .usage
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(script);
    }

    /// What the death of a node does to its pods: every sandbox that `was_there` says was on it
    /// is no longer alive, and its containers ended with 137.
    pub fn lose(&self, was_there: impl Fn(&SandboxConfig) -> bool) {
        let now = self.shared.context.now();
        let mut state = self.state();
        let State {
            sandboxes, by_uid, ..
        } = &mut *state;
        for (number, sandbox) in sandboxes
            .iter_mut()
            .filter(|(_, sandbox)| was_there(&sandbox.config))
        {
            sandbox.alive = false;
            by_uid.remove(sandbox.config.uid.as_str());
            for container in &mut sandbox.containers {
                container.end(now, KILLED, false);
            }
            self.shared.events.changed(&sandbox_id(*number));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    async fn wait(&self, delay: Duration) {
        // Paused time must not move for a delay of nothing.
        if !delay.is_zero() {
            tokio::time::sleep(self.shared.context.scale(delay)).await;
        }
    }

    fn behaviour(&self, image: &str) -> Behaviour {
        rules::behaviour_of(image, &self.shared.config.rules)
    }

    /// Ends the container by itself after a while, unless something else ends it first.
    fn end_later(&self, id: &ContainerId, after: Duration, exit_code: i32, oom_killed: bool) {
        let (shared, id) = (Arc::downgrade(&self.shared), id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(shared) = shared.upgrade() {
                shared.end(&id, exit_code, oom_killed);
            }
        });
    }

    /// Waits until the container has ended or is gone, and gives the log line of its end.
    async fn last_words(
        &self,
        id: &ContainerId,
        timestamps: bool,
    ) -> Vec<Result<Bytes, EngineError>> {
        let mut events = self.shared.events.stream();
        while events.next().await.is_some() {
            match self.shared.container_state(id) {
                Some(ContainerState::Created | ContainerState::Running { .. }) => {}
                Some(ended @ ContainerState::Exited { .. }) => {
                    let only_last = LogOptions {
                        timestamps,
                        tail_lines: Some(1),
                        ..LogOptions::default()
                    };
                    return logs::select(logs::lines(id, &ended), &only_last)
                        .into_iter()
                        .map(Ok)
                        .collect();
                }
                None => break,
            }
        }
        Vec::new()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, id: &ContainerId, exit_code: i32, oom_killed: bool) {
        let now = self.context.now();
        let mut state = self.state();
        if let Some(container) = state.container_mut(id)
            && container.end(now, exit_code, oom_killed)
            && let Some(place) = Place::of(id)
        {
            self.events.changed(&sandbox_id(place.sandbox));
        }
    }

    fn container_state(&self, id: &ContainerId) -> Option<ContainerState> {
        self.state()
            .container(id)
            .map(|container| container.state.clone())
    }
}

#[async_trait]
impl Engine for SimulatedEngine {
    fn runtime_version(&self) -> String {
        format!("simulated://{}", env!("CARGO_PKG_VERSION"))
    }

    async fn image_status(&self, image: &str) -> Result<Option<Image>, EngineError> {
        Ok(self.state().images.get(image).cloned())
    }

    async fn pull_image(&self, image: &str) -> Result<Image, EngineError> {
        self.wait(self.shared.config.pull_delay).await;
        if self.behaviour(image) == Behaviour::PullFails {
            let message =
                format!("image {image:?} cannot be pulled: a rule of the simulated engine says so");
            return Err(EngineError::ImageNotFound { message });
        }
        let pulled = simulated_image(image);
        self.state().images.insert(image.into(), pulled.clone());
        Ok(pulled)
    }

    async fn run_pod_sandbox(&self, config: &SandboxConfig) -> Result<SandboxStatus, EngineError> {
        let mut state = self.state();
        let number = match state.by_uid.get(config.uid.as_str()) {
            Some(number) => *number,
            None => state.add_sandbox(config)?,
        };
        let status = state
            .status(number)
            .expect("a sandbox found or added under this lock");
        self.shared.events.changed(&status.id);
        Ok(status)
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
    ) -> Result<ContainerId, EngineError> {
        self.state().add_container(sandbox, config)
    }

    async fn start_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.wait(self.shared.config.start_delay).await;
        let mut state = self.state();
        let container = state.container_mut(id).ok_or_else(|| not_found(id))?;
        match container.state {
            ContainerState::Created => {}
            ContainerState::Running { .. } => return Ok(()),
            ContainerState::Exited { .. } => {
                return Err(EngineError::InvalidContainer(format!(
                    "container {} has ended",
                    id.0
                )));
            }
        }
        match self.behaviour(&container.image) {
            Behaviour::Runs | Behaviour::NeverReady | Behaviour::PullFails => {}
            Behaviour::Exits { after, exit_code } => self.end_later(id, after, exit_code, false),
            Behaviour::RunsOutOfMemory { after } => self.end_later(id, after, KILLED, true),
            Behaviour::StartFails => {
                let message = format!(
                    "image {:?} holds no program: a rule of the simulated engine says so",
                    container.image
                );
                return Err(EngineError::InvalidContainer(message));
            }
        }
        container.state = ContainerState::Running {
            started_at: self.shared.context.now(),
        };
        let place = Place::of(id).expect("a container was found by this id");
        self.shared.events.changed(&sandbox_id(place.sandbox));
        Ok(())
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        let Some(ContainerState::Running { .. }) = self.shared.container_state(id) else {
            return Ok(());
        };
        let needed = self.shared.context.scale(self.shared.config.stop_delay);
        // A grace of nothing is the kubelet's way to say: kill it.
        let in_time = needed <= grace && !grace.is_zero();
        let delay = needed.min(grace);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        self.shared.end(id, if in_time { 0 } else { KILLED }, false);
        Ok(())
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        let Some(place) = Place::of(id) else {
            return Ok(());
        };
        if let Some(sandbox) = self.state().sandboxes.get_mut(&place.sandbox) {
            sandbox.containers.retain(|container| !container.is(&place));
            self.shared.events.changed(&sandbox_id(place.sandbox));
        }
        Ok(())
    }

    async fn remove_pod_sandbox(&self, id: &SandboxId) -> Result<(), EngineError> {
        let Some(number) = sandbox_number(&id.0) else {
            return Ok(());
        };
        let mut state = self.state();
        if let Some(sandbox) = state.sandboxes.remove(&number) {
            state.addresses.release(&number, sandbox.ip);
            if sandbox.alive {
                state.by_uid.remove(sandbox.config.uid.as_str());
            }
            self.shared.events.changed(id);
        }
        Ok(())
    }

    async fn list_sandboxes(&self) -> Result<Vec<SandboxStatus>, EngineError> {
        let state = self.state();
        Ok(state
            .sandboxes
            .iter()
            .map(|(number, sandbox)| state.status_of(*number, sandbox))
            .collect())
    }

    async fn sandbox_status(&self, id: &SandboxId) -> Result<Option<SandboxStatus>, EngineError> {
        Ok(sandbox_number(&id.0).and_then(|number| self.state().status(number)))
    }

    async fn logs(
        &self,
        id: &ContainerId,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        let now = self
            .shared
            .container_state(id)
            .ok_or_else(|| not_found(id))?;
        let written = logs::select(logs::lines(id, &now), options);
        let follows = options.follow && matches!(now, ContainerState::Running { .. });
        let written = stream::iter(written.into_iter().map(Ok));
        if !follows {
            return Ok(written.boxed());
        }
        let (engine, id, timestamps) = (self.clone(), id.clone(), options.timestamps);
        let last_words = async move { engine.last_words(&id, timestamps).await };
        Ok(written
            .chain(last_words.into_stream().flat_map(stream::iter))
            .boxed())
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, EngineError> {
        let _ = timeout;
        match self.shared.container_state(id) {
            Some(ContainerState::Running { .. }) => {
                let output = format!("simulated: {} was not run\n", command.join(" "));
                Ok(ExecOutput {
                    exit_code: 0,
                    output: output.into_bytes(),
                })
            }
            Some(ContainerState::Created | ContainerState::Exited { .. }) => Err(
                EngineError::InvalidContainer(format!("container {} is not running", id.0)),
            ),
            None => Err(not_found(id)),
        }
    }

    async fn stats(&self, id: &ContainerId) -> Result<ContainerStats, EngineError> {
        match self.shared.container_state(id) {
            Some(ContainerState::Running { .. }) => Ok(ContainerStats {
                cpu_nanos: 0,
                memory_bytes: CONTAINER_MEMORY_BYTES,
            }),
            Some(ContainerState::Created | ContainerState::Exited { .. }) => {
                Ok(ContainerStats::default())
            }
            None => Err(not_found(id)),
        }
    }

    fn simulated_usage(
        &self,
        pod: &SandboxConfig,
        container: &str,
        sharers: usize,
    ) -> Option<SimulatedUsage> {
        let script = self
            .shared
            .usage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        script.and_then(|script| script(pod, container, sharers))
    }

    fn pods_are_simulated(&self) -> bool {
        true
    }

    async fn simulated_probe(&self, id: &ContainerId) -> bool {
        let state = self.state();
        state.container(id).is_some_and(|container| {
            let running = matches!(container.state, ContainerState::Running { .. });
            running && self.behaviour(&container.image) != Behaviour::NeverReady
        })
    }

    fn events(&self) -> BoxStream<'static, EngineEvent> {
        self.shared.events.stream()
    }
}

/// The image that is found under this name; its digest follows from the name, so that it is
/// the same on every node and in every run.
fn simulated_image(image: &str) -> Image {
    // FNV-1a, wide enough to look like a digest; nothing is verified against it.
    let digest = image.bytes().fold(
        0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128,
        |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b),
    );
    Image {
        id: format!("sha256:{digest:032x}{digest:032x}"),
        repo_digest: None,
        size_bytes: IMAGE_BYTES,
    }
}
