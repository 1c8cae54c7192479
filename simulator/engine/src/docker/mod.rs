//! Pods on Docker: every container of a pod is a container of the daemon, beside its node.
//!
//! A node is itself a container. Its pods join the node's PID namespace, so the kernel ends
//! them within a millisecond when the node dies, whatever else is running. A pod of one
//! container carries its address itself; a pod of several shares the network of a *holder*
//! container that does nothing else (the "pause" container of Kubernetes).
//!
//! Nothing is kept in files: labels on the containers say what they are, so a restarted agent
//! finds everything again by one listing. What is kept in memory is only the sandboxes that
//! have no container yet.
//!
//! Pods get no privileges: capabilities dropped but for the few that ordinary images need,
//! no-new-privileges, limits on processes, nothing mounted from the host, no published ports. It
//! is a lab, not a security boundary.
//!
//! Start reading at [`DockerEngine`]; what a container is made from is decided in `spec`.

mod address;
mod archive;
mod containers;
mod errors;
mod events;
mod exec;
mod faults;
mod images;
pub mod labels;
mod logs;
mod pull_error;
mod sandboxes;
mod spec;
mod stats;
mod status;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bytes::Bytes;
use futures::stream::BoxStream;
use lab_context::Context;

use crate::{
    ContainerConfig, ContainerId, ContainerStats, Engine, EngineError, EngineEvent, ExecOutput,
    Image, LogOptions, PodNetwork, SandboxConfig, SandboxId, SandboxStatus,
};

/// How many containers one agent starts at a time. Measured on two cores: starting 30 pods
/// takes the same 4.5 s in all with four at a time as with 30, but each pod then answers after
/// 0.5 s instead of 3.3 s, and the daemon stays responsive for everything else.
const CONCURRENT_STARTS: usize = 4;

/// How long the daemon may take to answer. A busy machine was seen to need 20 s for one
/// create, so that a shorter wait would fail where patience succeeds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// What a [`DockerEngine`] needs to know about its cluster and its node.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// Path of the daemon's socket.
    pub socket: PathBuf,
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the node, as the cluster knows it.
    pub node: String,
    /// Name or id of the node's own container, whose PID namespace the pods join.
    pub node_container: String,
    /// Name of the cluster's bridge network.
    pub network: String,
    /// The block of addresses for this node's pods.
    pub pod_network: PodNetwork,
    /// Image whose `pause` command does nothing; it holds the network of shared sandboxes.
    pub system_image: String,
    /// `host:port` by which the daemon reaches the cluster's registry (`localhost:5001`).
    pub registry_host: String,
    /// Where this process reaches the same registry, to say what it holds when an image is
    /// not there; `None` where it cannot.
    pub registry_address: Option<SocketAddr>,
    /// Clock and randomness.
    pub context: Context,
}

/// Runs the pods of one node on a Docker daemon. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DockerEngine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: DockerConfig,
    docker: Docker,
    version: String,
    starts: tokio::sync::Semaphore,
    /// Sandboxes of this process's life by id, those without a container included.
    known: Mutex<HashMap<SandboxId, labels::SandboxIdentity>>,
    /// Held while a sandbox is made, so that two never choose the same address.
    making_sandbox: tokio::sync::Mutex<address::Cursor>,
    /// Ids of containers whose memory was taken away. A node that starts anew forgets them, and
    /// then reads an end by signal 9.
    exhausted: Mutex<HashSet<String>>,
}

impl DockerEngine {
    /// Connects to the daemon and asks for its version.
    ///
    /// # Errors
    ///
    /// [`EngineError::Runtime`] where the daemon does not answer on the socket.
    pub async fn connect(config: DockerConfig) -> Result<Self, EngineError> {
        let socket = config.socket.display().to_string();
        let docker = Docker::connect_with_unix(
            &socket,
            REQUEST_TIMEOUT.as_secs(),
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(|error| {
            EngineError::runtime(format!("opening the Docker socket {socket}"), error)
        })?
        .negotiate_version()
        .await
        .map_err(|error| EngineError::runtime(format!("talking to Docker at {socket}"), error))?;
        let version = docker
            .version()
            .await
            .map_err(|error| EngineError::runtime("asking Docker for its version", error))?
            .version
            .unwrap_or_else(|| "unknown".to_owned());
        Ok(Self {
            shared: Arc::new(Shared {
                config,
                docker,
                version,
                starts: tokio::sync::Semaphore::new(CONCURRENT_STARTS),
                known: Mutex::default(),
                making_sandbox: tokio::sync::Mutex::default(),
                exhausted: Mutex::default(),
            }),
        })
    }
}

#[async_trait]
impl Engine for DockerEngine {
    fn runtime_version(&self) -> String {
        format!("docker://{}", self.shared.version)
    }

    async fn image_status(&self, image: &str) -> Result<Option<Image>, EngineError> {
        self.shared.image_status(image).await
    }

    async fn pull_image(&self, image: &str) -> Result<Image, EngineError> {
        self.shared.pull_image(image).await
    }

    async fn run_pod_sandbox(&self, config: &SandboxConfig) -> Result<SandboxStatus, EngineError> {
        self.shared.run_pod_sandbox(config).await
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
    ) -> Result<ContainerId, EngineError> {
        self.shared.create_container(sandbox, config).await
    }

    async fn start_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.shared.start_container(container).await
    }

    async fn stop_container(
        &self,
        container: &ContainerId,
        grace: Duration,
    ) -> Result<(), EngineError> {
        self.shared.stop_container(container, grace).await
    }

    async fn remove_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.shared.remove_container(container).await
    }

    async fn remove_pod_sandbox(&self, sandbox: &SandboxId) -> Result<(), EngineError> {
        self.shared.remove_pod_sandbox(sandbox).await
    }

    async fn list_sandboxes(&self) -> Result<Vec<SandboxStatus>, EngineError> {
        self.shared.list_sandboxes().await
    }

    async fn sandbox_status(
        &self,
        sandbox: &SandboxId,
    ) -> Result<Option<SandboxStatus>, EngineError> {
        self.shared.sandbox_status(sandbox).await
    }

    async fn logs(
        &self,
        container: &ContainerId,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        self.shared.logs(container, options).await
    }

    async fn exec(
        &self,
        container: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, EngineError> {
        self.shared.exec(container, command, timeout).await
    }

    async fn stats(&self, container: &ContainerId) -> Result<ContainerStats, EngineError> {
        self.shared.stats(container).await
    }

    async fn list_stats(
        &self,
        containers: &[ContainerId],
    ) -> Result<HashMap<ContainerId, ContainerStats>, EngineError> {
        self.shared.list_stats(containers).await
    }

    async fn throttle(&self, share: Option<f64>) -> Result<(), EngineError> {
        self.shared.throttle(share).await
    }

    async fn exhaust_memory(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.shared.exhaust_memory(container).await
    }

    fn events(&self) -> BoxStream<'static, EngineEvent> {
        events::stream(Arc::clone(&self.shared))
    }
}
