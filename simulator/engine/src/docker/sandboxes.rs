//! Making, listing and removing sandboxes.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::PoisonError;

use bollard::models::ContainerSummary;
use bollard::query_parameters::{ListContainersOptions, ListVolumesOptions, RemoveVolumeOptions};
use futures::{StreamExt, TryStreamExt, stream};

use super::labels::{Part, SandboxIdentity};
use super::{Shared, errors, labels, spec, status};
use crate::{EngineError, SandboxConfig, SandboxId, SandboxStatus};

/// Inspections and removals at a time; measured: more make neither any faster.
const CONCURRENT_CALLS: usize = 8;
/// Letters that tell the sandboxes of one pod apart: the remains of the last one may still be
/// there when the next is made.
const ID_SUFFIX: usize = 5;

impl Shared {
    pub(super) async fn run_pod_sandbox(
        &self,
        config: &SandboxConfig,
    ) -> Result<SandboxStatus, EngineError> {
        // Held to the end: nobody else may choose the same address, and a second call for the
        // same pod must find what the first one made.
        let mut addresses = self.making_sandbox.lock().await;
        let boot = self.node_boot().await?.ok_or_else(|| self.node_is_down())?;
        let present = self.list(&[], Some(&boot)).await?;
        if let Some(same) = present
            .iter()
            .find(|s| s.alive && s.config.uid == config.uid)
        {
            return Ok(same.clone());
        }
        let remains = present.iter().find(|s| s.config.uid == config.uid);
        let wanted = config.ip.or(remains.map(|s| s.ip));
        let ip = addresses
            .choose(
                self.config.pod_network,
                &taken(&present, &config.uid),
                wanted,
            )
            .ok_or_else(|| self.network_is_full())?;
        let identity = SandboxIdentity {
            id: SandboxId(format!(
                "{}-{}",
                config.uid,
                self.config.context.suffix(ID_SUFFIX)
            )),
            config: SandboxConfig {
                ip: Some(IpAddr::V4(ip)),
                ..config.clone()
            },
            boot,
        };
        self.remember(&identity);
        if config.shared
            && let Err(error) = self.start_holder(&identity).await
        {
            // The first error is the one to tell; what is left is listed as dead and removed
            // by the agent.
            let _ = self.remove_pod_sandbox(&identity.id).await;
            return Err(error);
        }
        self.sandbox_status(&identity.id)
            .await?
            .ok_or_else(|| EngineError::NotFound(format!("sandbox {}", identity.id.0)))
    }

    async fn start_holder(&self, identity: &SandboxIdentity) -> Result<(), EngineError> {
        let name = spec::container_name(&self.config.cluster, identity, &Part::Holder);
        let id = self
            .create(&name, spec::holder(&self.config, identity))
            .await?;
        self.start(&id).await
    }

    pub(super) async fn list_sandboxes(&self) -> Result<Vec<SandboxStatus>, EngineError> {
        let boot = self.node_boot().await?;
        self.list(&[], boot.as_deref()).await
    }

    pub(super) async fn sandbox_status(
        &self,
        sandbox: &SandboxId,
    ) -> Result<Option<SandboxStatus>, EngineError> {
        let boot = self.node_boot().await?;
        let mut found = self
            .list(&[(labels::SANDBOX, &sandbox.0)], boot.as_deref())
            .await?;
        let at = found.iter().position(|s| s.id == *sandbox);
        Ok(at.map(|at| found.swap_remove(at)))
    }

    pub(super) async fn remove_pod_sandbox(&self, sandbox: &SandboxId) -> Result<(), EngineError> {
        let parts = self.summaries(&[(labels::SANDBOX, &sandbox.0)]).await?;
        let (holders, containers): (Vec<_>, Vec<_>) = parts
            .into_iter()
            .partition(|part| part_of(part) == Some(Part::Holder));
        for batch in [containers, holders] {
            stream::iter(batch.into_iter().filter_map(|part| part.id))
                .map(|id| async move { self.remove(&id).await })
                .buffer_unordered(CONCURRENT_CALLS)
                .try_collect::<()>()
                .await?;
        }
        self.remove_volumes(sandbox).await?;
        self.forget(sandbox);
        Ok(())
    }

    async fn remove_volumes(&self, sandbox: &SandboxId) -> Result<(), EngineError> {
        let failed = |error| EngineError::runtime("removing the volumes of a pod", error);
        let options = ListVolumesOptions {
            filters: labels::filter(&[(labels::SANDBOX, &sandbox.0)]),
        };
        let listed = self
            .docker
            .list_volumes(Some(options))
            .await
            .map_err(failed)?;
        for volume in listed.volumes.unwrap_or_default() {
            let removed = self
                .docker
                .remove_volume(&volume.name, None::<RemoveVolumeOptions>)
                .await;
            errors::gone_is_fine(removed).map_err(failed)?;
        }
        Ok(())
    }

    /// The sandbox by its id, from memory or from the labels of its containers.
    pub(super) async fn identity(
        &self,
        sandbox: &SandboxId,
    ) -> Result<SandboxIdentity, EngineError> {
        if let Some(known) = self.known().get(sandbox) {
            return Ok(known.clone());
        }
        let parts = self.summaries(&[(labels::SANDBOX, &sandbox.0)]).await?;
        let identity = parts
            .iter()
            .find_map(|part| SandboxIdentity::read(part.labels.as_ref()?))
            .map(|(identity, _)| identity)
            .ok_or_else(|| EngineError::NotFound(format!("sandbox {}", sandbox.0)))?;
        self.remember(&identity);
        Ok(identity)
    }

    /// When the node's container was started; `None` where it does not run.
    async fn node_boot(&self) -> Result<Option<String>, EngineError> {
        match self
            .docker
            .inspect_container(&self.config.node_container, None)
            .await
        {
            Ok(node) => {
                let state = node.state.unwrap_or_default();
                Ok(state.started_at.filter(|_| state.running == Some(true)))
            }
            Err(error) if errors::is_missing(&error) => Ok(None),
            Err(error) => Err(EngineError::runtime(
                "looking at the node's own container",
                error,
            )),
        }
    }

    /// Sandboxes whose containers carry these labels, with those that have none yet.
    async fn list(
        &self,
        wanted: &[(&str, &str)],
        boot: Option<&str>,
    ) -> Result<Vec<SandboxStatus>, EngineError> {
        let parts = self.summaries(wanted).await?;
        let found = stream::iter(parts.into_iter().filter_map(|part| part.id))
            .map(|id| async move { self.inspect(&id).await })
            .buffered(CONCURRENT_CALLS)
            .try_collect::<Vec<_>>()
            .await?;
        let found = found.into_iter().flatten().collect();
        Ok(status::group(found, &self.known(), boot))
    }

    async fn inspect(&self, id: &str) -> Result<Option<status::Found>, EngineError> {
        match self.docker.inspect_container(id, None).await {
            Ok(inspected) => Ok(status::read(inspected).map(|found| self.told_of_memory(found))),
            // Removed since it was listed.
            Err(error) if errors::is_missing(&error) => Ok(None),
            Err(error) => Err(EngineError::runtime(
                format!("looking at container {id}"),
                error,
            )),
        }
    }

    /// Containers of this node's pods, dead ones included.
    pub(super) async fn summaries(
        &self,
        wanted: &[(&str, &str)],
    ) -> Result<Vec<ContainerSummary>, EngineError> {
        let own = [
            (labels::CLUSTER, self.config.cluster.as_str()),
            (labels::NODE, &self.config.node),
        ];
        let options = ListContainersOptions {
            all: true,
            filters: labels::filter(&[&own, wanted].concat()),
            ..ListContainersOptions::default()
        };
        let mut listed = self
            .docker
            .list_containers(Some(options))
            .await
            .map_err(|error| EngineError::runtime("listing the pods' containers", error))?;
        // The node's own container carries the node's label too.
        listed.retain(|container| part_of(container).is_some());
        Ok(listed)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<SandboxId, SandboxIdentity>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, identity: &SandboxIdentity) {
        self.known().insert(identity.id.clone(), identity.clone());
    }

    fn forget(&self, sandbox: &SandboxId) {
        self.known().remove(sandbox);
    }

    fn node_is_down(&self) -> EngineError {
        EngineError::NotFound(format!(
            "running container {} of node {}",
            self.config.node_container, self.config.node
        ))
    }

    fn network_is_full(&self) -> EngineError {
        EngineError::runtime(
            format!("giving a pod an address on node {}", self.config.node),
            format!("all addresses of {} are taken", self.config.pod_network),
        )
    }
}

fn part_of(container: &ContainerSummary) -> Option<Part> {
    SandboxIdentity::read(container.labels.as_ref()?).map(|(_, part)| part)
}

/// Addresses that the pod `uid` must not get. Those of dead sandboxes stay reserved until they
/// are removed, for their own pods come back for them.
fn taken(present: &[SandboxStatus], uid: &str) -> HashSet<IpAddr> {
    present
        .iter()
        .filter(|s| s.alive || s.config.uid != uid)
        .map(|s| s.ip)
        .collect()
}
