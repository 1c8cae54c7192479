//! Pods as child processes of the node process: no Docker, no root, no network.
//!
//! What it has in common with a real node: images from the cluster's registry, an address per
//! pod, graceful termination, exit codes, logs, memory limits, and that the death of the node
//! takes its pods along, even by SIGKILL.
//!
//! What it deliberately lacks, because there are no namespaces and no cgroups: a container sees
//! the machine's files, processes and network; every process runs as the user of the node; CPU
//! limits and requests are not enforced; memory limits are enforced by looking at the use once
//! a second; a read-only root file system does not bind root.
//!
//! | File | Subject |
//! |---|---|
//! | `lifecycle` | sandboxes and containers: making, starting, stopping, removing |
//! | `sandboxes`, `container`, `records` | what exists, in memory and on disk |
//! | `supervisor`, `shim`, `group` | processes: starting, watching, killing |
//! | `command`, `rootfs`, `root_paths`, `executable` | what a process is, and the files it sees |
//! | `resolv` | how it finds other Services by name |
//! | `images`, `registry_images` | where images come from |
//! | `log_file`, `log_reader` | logs |
//! | `throttle` | a slow node |
//!
//! Start reading at [`ProcessEngine`].

mod command;
mod container;
mod exec;
mod executable;
mod group;
mod images;
mod lifecycle;
mod log_file;
mod log_reader;
mod memory;
mod proc_files;
mod records;
mod registry_images;
mod resolv;
mod root_paths;
mod rootfs;
mod sandboxes;
mod shim;
mod supervisor;
mod throttle;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use lab_context::Context;
use rustix::fs::FlockOperation;

pub use images::{ImageConfig, ImageSource, LocalImage};
pub use shim::shim_main;

use self::images::ImageIndex;
use self::records::Layout;
use self::registry_images::RegistryImages;
use self::sandboxes::Sandboxes;
use self::supervisor::Supervisor;
use crate::addresses::PodNetwork;
use crate::events::EventBus;
use crate::{
    ContainerConfig, ContainerId, ContainerStats, Engine, EngineError, EngineEvent, ExecOutput,
    Image, LogOptions, SandboxConfig, SandboxId, SandboxStatus,
};

/// How long a new node process waits for the lock of one that was just killed.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// How one node's [`ProcessEngine`] works.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// The directory of this node alone: records, container files, logs.
    pub state_dir: PathBuf,
    /// The directory of unpacked images, which the nodes of a cluster share.
    pub images_dir: PathBuf,
    /// Names of the cluster's registry in image references (`localhost:5001`).
    pub registry_hosts: Vec<String>,
    /// Where that registry listens.
    pub registry_addr: SocketAddr,
    /// The program that calls [`shim_main`] when started as `PROGRAM shim FILE`.
    pub shim: PathBuf,
    /// Where pods get their addresses from: loopback addresses, which need no set-up on Linux.
    pub pod_network: PodNetwork,
    /// Clock and chance.
    pub context: Context,
}

/// The engine whose containers are child processes.
///
/// Dropping the last clone kills them, as does the end of the process, however it comes about.
#[derive(Clone)]
pub struct ProcessEngine {
    shared: Arc<Shared>,
}

struct Shared {
    context: Context,
    shim: PathBuf,
    layout: Layout,
    images: ImageIndex,
    source: Arc<dyn ImageSource>,
    sandboxes: Sandboxes,
    events: EventBus,
    supervisor: Supervisor,
    /// Sandboxes are made one after the other, so that a pod never gets two.
    making_sandbox: tokio::sync::Mutex<()>,
    /// The share of their time that containers get, where it is not all.
    throttle: tokio::sync::watch::Sender<Option<f64>>,
    /// Says that the state directory is in use, until the process ends.
    _lock: File,
}

impl ProcessEngine {
    /// Takes possession of the node's directory; what an earlier life left running there is
    /// killed, and listed as dead until it is removed.
    ///
    /// # Errors
    /// `Runtime` where the directory cannot be used, or another process is using it.
    pub async fn new(config: ProcessConfig) -> Result<Self, EngineError> {
        let (hosts, addr, dir) = (
            config.registry_hosts.clone(),
            config.registry_addr,
            config.images_dir.clone(),
        );
        let open = move || Ok(RegistryImages::open(hosts, addr, &dir));
        let source = blocking("opening the directory of images", open).await??;
        Self::with_images(config, Arc::new(source)).await
    }

    /// As [`ProcessEngine::new`], with images from elsewhere than the cluster's registry.
    ///
    /// # Errors
    /// As for [`ProcessEngine::new`].
    pub async fn with_images(
        config: ProcessConfig,
        source: Arc<dyn ImageSource>,
    ) -> Result<Self, EngineError> {
        let lock = lock(&config.state_dir).await?;
        let state_dir = config.state_dir.clone();
        let open = move || Shared::open(config, source, lock);
        let context = format!("opening the node's directory {}", state_dir.display());
        let shared = Arc::new(blocking(context, open).await?);
        memory::watch(&shared);
        throttle::watch(&shared, shared.throttle.subscribe());
        Ok(Self { shared })
    }
}

impl Shared {
    fn open(config: ProcessConfig, source: Arc<dyn ImageSource>, lock: File) -> io::Result<Self> {
        let ProcessConfig {
            state_dir,
            images_dir: _,
            registry_hosts: _,
            registry_addr: _,
            shim,
            pod_network,
            context,
        } = config;
        let images = ImageIndex::open(images::index_path(&state_dir));
        let layout = Layout::new(state_dir);
        Ok(Self {
            sandboxes: Sandboxes::recover(&layout, pod_network, &context)?,
            context,
            shim,
            layout,
            images,
            source,
            events: EventBus::new(),
            supervisor: Supervisor::start()?,
            making_sandbox: tokio::sync::Mutex::new(()),
            throttle: tokio::sync::watch::Sender::new(None),
            _lock: lock,
        })
    }
}

/// Makes the directory, for its owner only, and locks it. A node that was killed a moment ago
/// may hold the lock until the kernel has cleared it away.
async fn lock(state_dir: &Path) -> Result<File, EngineError> {
    let failed = |error| {
        EngineError::runtime(
            format!("using the node's directory {}", state_dir.display()),
            error,
        )
    };
    let make = || {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)?;
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(Layout::new(state_dir.to_owned()).lock())
    };
    let file = make().map_err(failed)?;
    let deadline = tokio::time::Instant::now() + LOCK_WAIT;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                if tokio::time::Instant::now() >= deadline {
                    return Err(failed(io::Error::other("another node process is using it")));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
}

/// Does file work where it may block. It is carried to its end even if nobody waits for it any
/// more.
async fn blocking<T: Send + 'static>(
    context: impl Into<String>,
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, EngineError> {
    let done = tokio::task::spawn_blocking(act)
        .await
        .map_err(io::Error::other);
    done.and_then(|result| result)
        .map_err(|error| EngineError::runtime(context, error))
}

/// Carries work to its end even if the caller goes away in the middle.
async fn carried_out<T: Send + 'static>(
    work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
) -> Result<T, EngineError> {
    let done = tokio::spawn(work).await;
    done.map_err(|error| EngineError::runtime("working on a container", error))?
}

#[async_trait]
impl Engine for ProcessEngine {
    fn runtime_version(&self) -> String {
        format!("process://{}", env!("CARGO_PKG_VERSION"))
    }

    async fn image_status(&self, image: &str) -> Result<Option<Image>, EngineError> {
        Ok(self.shared.images.get(image).map(|image| image.to_image()))
    }

    async fn pull_image(&self, image: &str) -> Result<Image, EngineError> {
        let pulled = self.shared.source.pull(image).await?;
        let (shared, name, status) = (
            Arc::clone(&self.shared),
            image.to_owned(),
            pulled.to_image(),
        );
        blocking("noting a pulled image", move || {
            shared.images.put(&name, pulled)
        })
        .await?;
        Ok(status)
    }

    async fn run_pod_sandbox(&self, config: &SandboxConfig) -> Result<SandboxStatus, EngineError> {
        carried_out(lifecycle::run_sandbox(
            Arc::clone(&self.shared),
            config.clone(),
        ))
        .await
    }

    async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
    ) -> Result<ContainerId, EngineError> {
        carried_out(lifecycle::create(
            Arc::clone(&self.shared),
            sandbox.clone(),
            config.clone(),
        ))
        .await
    }

    async fn start_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        let container = self.shared.container(container)?;
        carried_out(lifecycle::start(Arc::clone(&self.shared), container)).await
    }

    async fn stop_container(
        &self,
        container: &ContainerId,
        grace: Duration,
    ) -> Result<(), EngineError> {
        match self.shared.sandboxes.container(container) {
            Some(container) => carried_out(lifecycle::stop(container, grace)).await,
            None => Ok(()),
        }
    }

    async fn remove_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        match self.shared.sandboxes.container(container) {
            Some(container) => {
                carried_out(lifecycle::remove(Arc::clone(&self.shared), container)).await
            }
            None => Ok(()),
        }
    }

    async fn remove_pod_sandbox(&self, sandbox: &SandboxId) -> Result<(), EngineError> {
        carried_out(lifecycle::remove_sandbox(
            Arc::clone(&self.shared),
            sandbox.clone(),
        ))
        .await
    }

    async fn list_sandboxes(&self) -> Result<Vec<SandboxStatus>, EngineError> {
        Ok(self.shared.sandboxes.list())
    }

    async fn sandbox_status(
        &self,
        sandbox: &SandboxId,
    ) -> Result<Option<SandboxStatus>, EngineError> {
        Ok(self.shared.sandboxes.status(sandbox))
    }

    async fn logs(
        &self,
        container: &ContainerId,
        options: &LogOptions,
    ) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
        log_reader::read(&self.shared.container(container)?.log, options).await
    }

    async fn exec(
        &self,
        container: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, EngineError> {
        let container = self.shared.container(container)?;
        carried_out(exec::run(
            Arc::clone(&self.shared),
            container,
            command.to_vec(),
            timeout,
        ))
        .await
    }

    async fn stats(&self, container: &ContainerId) -> Result<ContainerStats, EngineError> {
        let process = self.shared.container(container)?.process();
        blocking("reading /proc", move || {
            Ok(process.map(|process| process.usage()).unwrap_or_default())
        })
        .await
    }

    async fn list_stats(
        &self,
        containers: &[ContainerId],
    ) -> Result<HashMap<ContainerId, ContainerStats>, EngineError> {
        let running: Vec<(ContainerId, u32)> = containers
            .iter()
            .filter_map(|id| {
                let process = self.shared.container(id).ok()?.process()?;
                Some((id.clone(), process.leader.pid))
            })
            .collect();
        blocking("reading /proc", move || {
            let leaders = running.iter().map(|(_, leader)| *leader).collect();
            let used = group::usage_by_session(&leaders);
            let of = |(id, leader)| Some((id, *used.get(&leader)?));
            Ok(running.into_iter().filter_map(of).collect())
        })
        .await
    }

    async fn throttle(&self, share: Option<f64>) -> Result<(), EngineError> {
        self.shared.throttle.send_replace(share);
        Ok(())
    }

    async fn exhaust_memory(&self, container: &ContainerId) -> Result<(), EngineError> {
        let container = self.shared.container(container)?;
        if let Some(process) = container.process() {
            container.kill_for_memory(&process);
        }
        Ok(())
    }

    fn events(&self) -> BoxStream<'static, EngineEvent> {
        self.shared.events.stream()
    }
}
