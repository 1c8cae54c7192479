//! What runs pods: the [`Engine`] trait, with verbs from the Container Runtime Interface, and
//! its implementations.
//!
//! This crate must never see a Kubernetes type: the node agent translates. One contract suite
//! (in the test kit) runs against every engine.
//!
//! Start reading at [`Engine`].

mod addresses;
pub mod docker;
mod events;
pub mod process;
pub mod simulated;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;

pub use addresses::{InvalidPodNetwork, PodNetwork};

/// Names one pod sandbox on its engine; stable over restarts of the agent.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct SandboxId(pub String);

/// Names one container (one *run* of a container: a restart creates a new one).
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct ContainerId(pub String);

/// An image that is present on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Content digest of the image's configuration (`sha256:…`).
    pub id: String,
    /// The repository digest (`host/name@sha256:…`) where known.
    pub repo_digest: Option<String>,
    /// Unpacked size in bytes.
    pub size_bytes: u64,
}

/// What a pod sandbox is made from.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct SandboxConfig {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Uid of the pod.
    pub uid: String,
    /// Host name that the containers see.
    pub hostname: String,
    /// The address the sandbox had before, or that the node agent's address manager chose.
    pub ip: Option<IpAddr>,
    /// True where more than one container shares the sandbox.
    pub shared: bool,
    /// DNS servers for the containers.
    pub dns_servers: Vec<IpAddr>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// Options of the resolver, such as `ndots:5`.
    #[serde(default)]
    pub dns_options: Vec<String>,
}

/// Where a mount's content lies on the node.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    /// Path inside the container.
    pub container_path: String,
    /// Files to write there, by relative path (ConfigMap, Secret, downward API); empty with
    /// `shared_name` set for an emptyDir. A file under the empty path is the mount itself.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Name of a scratch directory shared by the containers of the sandbox (emptyDir).
    pub shared_name: Option<String>,
    /// True where the container may not write.
    pub read_only: bool,
}

impl Mount {
    /// The content of a mount that is one file, not a directory (a `subPath` that names a key of
    /// a ConfigMap).
    #[must_use]
    pub fn single_file(&self) -> Option<&[u8]> {
        self.files.get("").map(Vec::as_slice)
    }
}

/// What a container is made from.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ContainerConfig {
    /// Name within the pod.
    pub name: String,
    /// How often this container was started before.
    pub attempt: u32,
    /// The image reference as the pod's author wrote it; must be present on the node.
    pub image: String,
    /// Replaces the image's entrypoint where not empty.
    pub command: Vec<String>,
    /// Replaces the image's command where not empty.
    pub args: Vec<String>,
    /// Replaces the image's working directory.
    pub working_dir: Option<String>,
    /// Environment, later entries win.
    pub env: Vec<(String, String)>,
    /// Mounted content.
    pub mounts: Vec<Mount>,
    /// Memory limit in bytes.
    pub memory_limit_bytes: Option<u64>,
    /// CPU limit in thousandths of a core.
    pub cpu_limit_millis: Option<u64>,
    /// CPU request in thousandths of a core (a relative weight).
    pub cpu_request_millis: Option<u64>,
    /// Numeric user to run as.
    pub run_as_user: Option<i64>,
    /// True where the image must not run as root (the engine refuses uid 0).
    pub run_as_non_root: bool,
    /// True where the container may not write to its root file system.
    pub read_only_root: bool,
}

/// Life of a container.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Running since the given moment.
    Running {
        /// When the process started.
        started_at: Timestamp,
    },
    /// Ended.
    Exited {
        /// When the process started, where it did.
        started_at: Option<Timestamp>,
        /// When it ended.
        finished_at: Timestamp,
        /// Exit code; 128 + n after signal n.
        exit_code: i32,
        /// True where the memory limit killed it.
        oom_killed: bool,
    },
}

/// A container as the engine sees it now.
#[derive(Clone, Debug)]
pub struct ContainerStatus {
    /// Its id.
    pub id: ContainerId,
    /// Name within the pod.
    pub name: String,
    /// Restart count at creation.
    pub attempt: u32,
    /// Image reference it was made from.
    pub image: String,
    /// Image digest.
    pub image_id: String,
    /// Its state.
    pub state: ContainerState,
}

/// A sandbox as the engine sees it now.
#[derive(Clone, Debug)]
pub struct SandboxStatus {
    /// Its id.
    pub id: SandboxId,
    /// What it was made from.
    pub config: SandboxConfig,
    /// Its address.
    pub ip: IpAddr,
    /// False where the sandbox itself is gone or dead (after a node's death) and only its
    /// remains are listed.
    pub alive: bool,
    /// Its containers, dead ones included until removed.
    pub containers: Vec<ContainerStatus>,
}

/// Something happened that the agent should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// A container of this sandbox started, ended or was removed.
    SandboxChanged(SandboxId),
    /// Events may have been missed: list again.
    Resync,
}

/// Which part of a log to read.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Keep the stream open and send what comes.
    pub follow: bool,
    /// Only this many last lines.
    pub tail_lines: Option<u64>,
    /// Only lines since this moment.
    pub since: Option<Timestamp>,
    /// Prefix each line with its RFC 3339 time and a space.
    pub timestamps: bool,
}

/// Output of a command run inside a container.
#[derive(Clone, Debug, Default)]
pub struct ExecOutput {
    /// Exit code.
    pub exit_code: i32,
    /// Standard output and error together, cut at 10 KiB.
    pub output: Vec<u8>,
}

/// Use of resources by a container.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContainerStats {
    /// CPU time used since the start, in nanoseconds.
    pub cpu_nanos: u64,
    /// Resident memory in bytes.
    pub memory_bytes: u64,
}

/// What a container that does not really run is said to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimulatedUsage {
    /// CPU in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// Why an engine could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The image is nowhere to be had; the text says where was looked and what to do.
    #[error("{message}")]
    ImageNotFound {
        /// Where was looked, and the next step.
        message: String,
    },
    /// The image's reference cannot be parsed.
    #[error("image reference {image:?} is not valid: {reason}")]
    InvalidImageName {
        /// The reference.
        image: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The pull began and failed.
    #[error("pull of {image:?} failed: {reason}")]
    PullFailed {
        /// The reference.
        image: String,
        /// What went wrong.
        reason: String,
    },
    /// The container's configuration cannot be carried out (no such program, root refused …).
    #[error("{0}")]
    InvalidContainer(String),
    /// The sandbox or container is not there (any more).
    #[error("{0} not found")]
    NotFound(String),
    /// The engine cannot do this by its nature.
    #[error("the {engine} engine cannot {verb}")]
    Unsupported {
        /// Name of the engine.
        engine: &'static str,
        /// What was asked.
        verb: &'static str,
    },
    /// The machinery below failed (Docker daemon, operating system).
    #[error("{context}: {source}")]
    Runtime {
        /// What was being done.
        context: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl EngineError {
    /// Wraps a failure of the machinery below with what was being done.
    pub fn runtime(
        context: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Runtime {
            context: context.into(),
            source: source.into(),
        }
    }
}

/// What a node agent asks of the thing that runs its pods; verbs from the CRI.
///
/// Every verb is idempotent where that makes sense (stopping what is stopped, removing what is
/// gone) and safe to cancel.
/// <https://kubernetes.io/docs/concepts/architecture/cri/>
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Short name for messages and `Node.status.nodeInfo.containerRuntimeVersion`
    /// (`docker://20.10.24`, `process://0.1.0`).
    fn runtime_version(&self) -> String;

    /// The image if it is present on the node.
    async fn image_status(&self, image: &str) -> Result<Option<Image>, EngineError>;

    /// Brings the image to the node.
    async fn pull_image(&self, image: &str) -> Result<Image, EngineError>;

    /// Makes the sandbox: an address and a life shared by the pod's containers.
    async fn run_pod_sandbox(&self, config: &SandboxConfig) -> Result<SandboxStatus, EngineError>;

    /// Makes a container without starting it.
    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
    ) -> Result<ContainerId, EngineError>;

    /// Starts a created container.
    async fn start_container(&self, container: &ContainerId) -> Result<(), EngineError>;

    /// Asks the container to end (TERM), and kills it when `grace` has passed. Returns when it
    /// has ended.
    async fn stop_container(
        &self,
        container: &ContainerId,
        grace: Duration,
    ) -> Result<(), EngineError>;

    /// Removes a container and its log.
    async fn remove_container(&self, container: &ContainerId) -> Result<(), EngineError>;

    /// Kills what still runs in the sandbox and removes all of it.
    async fn remove_pod_sandbox(&self, sandbox: &SandboxId) -> Result<(), EngineError>;

    /// Every sandbox of this node with its containers, dead ones included.
    async fn list_sandboxes(&self) -> Result<Vec<SandboxStatus>, EngineError>;

    /// One sandbox; `None` when it is gone.
    async fn sandbox_status(
        &self,
        sandbox: &SandboxId,
    ) -> Result<Option<SandboxStatus>, EngineError>;

    /// The container's output, oldest first; ends at its present end unless `follow`.
    async fn logs(
        &self,
        container: &ContainerId,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError>;

    /// Runs a command to its end inside a running container (probes, preStop).
    async fn exec(
        &self,
        container: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, EngineError>;

    /// Resources used by a running container.
    async fn stats(&self, container: &ContainerId) -> Result<ContainerStats, EngineError>;

    /// Resources used by several running containers; what is gone is left out. Engines that can
    /// answer for all of them in one look do so.
    async fn list_stats(
        &self,
        containers: &[ContainerId],
    ) -> Result<HashMap<ContainerId, ContainerStats>, EngineError> {
        let asked = containers.iter().map(async |id| (id, self.stats(id).await));
        let mut all = HashMap::with_capacity(containers.len());
        for (id, answer) in futures::future::join_all(asked).await {
            match answer {
                Ok(stats) => {
                    all.insert(id.clone(), stats);
                }
                Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// What a container of this pod is scripted to use, for engines whose pods do not really
    /// run; `None` where nobody scripted it. `sharers` counts the running pods with the same
    /// labels, among which a load is shared.
    fn simulated_usage(
        &self,
        pod: &SandboxConfig,
        container: &str,
        sharers: usize,
    ) -> Option<SimulatedUsage> {
        let _ = (pod, container, sharers);
        None
    }

    /// Gives every container of the node this share of its time, between 0 and 1; all of it with
    /// `None`. Containers that come later keep theirs until the next call.
    async fn throttle(&self, share: Option<f64>) -> Result<(), EngineError> {
        let _ = share;
        Ok(())
    }

    /// Takes a running container's memory away, so that it ends as one that used too much.
    async fn exhaust_memory(&self, container: &ContainerId) -> Result<(), EngineError> {
        let _ = container;
        Ok(())
    }

    /// True where pods have no reachable address (simulated): the agent then asks
    /// [`Engine::simulated_probe`] instead of connecting.
    fn pods_are_simulated(&self) -> bool {
        false
    }

    /// What a probe of this container would find, for engines without reachable pods.
    async fn simulated_probe(&self, container: &ContainerId) -> bool {
        let _ = container;
        true
    }

    /// Things to look at, as they happen. The first item is always [`EngineEvent::Resync`].
    fn events(&self) -> BoxStream<'static, EngineEvent>;
}
