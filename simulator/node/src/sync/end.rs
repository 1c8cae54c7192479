//! Bringing down: probes that failed, graceful termination, removal.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use lab_engine::{ContainerState, ContainerStatus, EngineError, SandboxStatus};

use super::{Outcome, Pass, PassError, PodMemory, seconds};
use crate::plan::{Which, latest};

/// Termination grace of a pod that names none, in seconds.
const DEFAULT_GRACE: i64 = 30;

impl Pass<'_> {
    pub(super) async fn kill(
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

    pub(super) fn grace(&self) -> Duration {
        let pod = self.pod;
        let asked = pod.metadata.deletion_grace_period_seconds;
        let own = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.termination_grace_period_seconds);
        seconds(asked.or(own).unwrap_or(DEFAULT_GRACE))
    }

    /// The pod is being deleted: end its containers in their grace, say so, and let it go.
    pub(super) async fn terminate(&self, memory: &mut PodMemory) -> Result<Outcome, PassError> {
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
    pub(super) async fn end(&self, run: &ContainerStatus) -> Result<(), PassError> {
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

    pub(super) async fn pre_stop(
        &self,
        container: &Container,
        run: &ContainerStatus,
        grace: Duration,
    ) {
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
    pub(super) async fn remove(&self, memory: &mut PodMemory) -> Result<Outcome, PassError> {
        self.entry.verdicts.clear();
        if !memory.removal_began {
            // Deleted by force: the containers are killed unasked, and that too is told.
            let containers = self.pod.spec.iter().flat_map(|spec| &spec.containers);
            for container in containers {
                let message = format!("Stopping container {}", container.name);
                self.events
                    .normal(&self.reference_to(container), "Killing", message);
            }
            memory.removal_began = true;
        }
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
}
