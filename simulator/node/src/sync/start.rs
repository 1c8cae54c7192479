//! Bringing up: sandbox, image, container; and what is remembered when that fails.

use k8s_openapi::api::core::v1::Container;
use kube::ResourceExt;
use lab_api::objects::object_reference;
use lab_api::quantity::{cpu_millis, memory_bytes};
use lab_engine::{ContainerConfig, EngineError, Image, SandboxConfig, SandboxStatus};

use super::{NotStarted, Pass, PassError, PodMemory, Retry, SHOW_ERROR};
use crate::dns::resolution;
use crate::duration;
use crate::environment::{ConfigError, References, expand, resolve};
use crate::plan::{BACKOFF_MAX, BACKOFF_START, Which, latest};
use crate::probe;
use crate::status::{Waiting, terminated};
use crate::volumes::mounts;

impl Pass<'_> {
    pub(super) async fn make_sandbox(
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
        let dns = resolution(spec, &namespace, self.shared.config.dns);
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
            dns_servers: dns.servers,
            dns_search: dns.search,
            dns_options: dns.options,
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
    pub(super) fn remember_lost(&self, memory: &mut PodMemory, dead: &SandboxStatus) {
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
    pub(super) fn recall_restarts(&self, memory: &mut PodMemory) {
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

    /// Starts a container; false where it has to wait, with the reason remembered.
    pub(super) async fn try_start(
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

    pub(super) async fn start(
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
                reason: create_reason(&error),
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
            return Err(NotStarted {
                waiting: Waiting {
                    reason: "RunContainerError",
                    message: error.to_string(),
                },
                event: "Failed",
            });
        }
        self.events.normal(
            &reference,
            "Started",
            format!("Container started: {}", container.name),
        );
        probe::begin(self.shared, self.entry, container, &id, sandbox.ip);
        Ok(())
    }

    /// Pulls by the container's policy.
    /// <https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy>
    pub(super) async fn ensure_image(
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
                Some(image) => {
                    let message = format!("Container image \"{name}\" already present on machine");
                    self.events
                        .normal(&self.reference_to(container), "Pulled", message);
                    return Ok(image);
                }
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
                let took = duration::text(began.elapsed());
                let size = image.size_bytes;
                let message = format!(
                    "Successfully pulled image \"{name}\" in {took} ({took} including waiting). Image size: {size} bytes."
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
    pub(super) async fn configure(
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
    pub(super) async fn discard_old_runs(&self, sandbox: &SandboxStatus, name: &str) {
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
    pub(super) fn hold_back(
        &self,
        memory: &mut PodMemory,
        container: &Container,
        failed: NotStarted,
    ) {
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
        let reference = self.reference_to(container);
        self.events.warning(&reference, failed.event, message);
        if pulling || failed.event != "Failed" {
            let message = format!("Error: {}", failed.waiting.reason);
            self.events.warning(&reference, "Failed", message);
        }
        let scale = |wait| self.now() + self.shared.context.scale(wait);
        let retry = Retry {
            at: scale(pause),
            pause,
            shown_until: scale(SHOW_ERROR),
        };
        memory.retries.insert(container.name.clone(), retry);
        memory
            .waiting
            .insert(container.name.clone(), failed.waiting);
    }
}

fn next_attempt(memory: &PodMemory, sandbox: &SandboxStatus, name: &str) -> u32 {
    let here = latest(Some(sandbox), name).map(|run| run.attempt + 1);
    here.or_else(|| memory.earlier_runs.get(name).copied())
        .unwrap_or(0)
}

/// Why a container could not be made: its configuration, or the engine.
fn create_reason(error: &EngineError) -> &'static str {
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
