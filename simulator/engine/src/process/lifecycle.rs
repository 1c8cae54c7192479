//! Making, starting, stopping and removing sandboxes and containers.
//!
//! Each verb runs to its end once begun (see `carried_out`), so a caller that goes away leaves
//! nothing half-made.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use rustix::process::Signal;

use super::command::{self, PodFacts};
use super::container::{Container, Origin, write_record};
use super::images::{self, LocalImage};
use super::log_file::LogFile;
use super::records::{self, ContainerRecord, Layout, SandboxRecord};
use super::supervisor::{Launch, OutputSink, Process, Scope};
use super::{Shared, blocking, resolv, rootfs};
use crate::{
    ContainerConfig, ContainerId, ContainerState, EngineError, SandboxConfig, SandboxId,
    SandboxStatus,
};

/// Length of the random end of a sandbox's id. Ids also mark processes, so they must differ
/// between all clusters of a machine.
const SUFFIX: usize = 8;

/// Length of a pod's name within a sandbox's id, which is a file name.
const NAME_IN_ID: usize = 60;

/// The shim's configuration for a container's first process.
const SHIM_CONFIG: &str = "shim.json";

impl Shared {
    pub(super) fn container(&self, id: &ContainerId) -> Result<Arc<Container>, EngineError> {
        self.sandboxes
            .container(id)
            .ok_or_else(|| EngineError::NotFound(format!("container {}", id.0)))
    }
}

/// Makes a sandbox, or finds the live one of the same pod.
pub(super) async fn run_sandbox(
    shared: Arc<Shared>,
    config: SandboxConfig,
) -> Result<SandboxStatus, EngineError> {
    let _one_at_a_time = shared.making_sandbox.lock().await;
    if let Some(present) = shared.sandboxes.of_pod(&config.uid) {
        return Ok(present);
    }
    let id = new_sandbox_id(&shared, &config.name);
    let Some(ip) = shared.sandboxes.take_address(&id, &config) else {
        return Err(EngineError::runtime(
            "giving the pod an address",
            "all addresses of this node are taken",
        ));
    };
    let (layout, name, record) = (
        shared.layout.clone(),
        id.0.clone(),
        SandboxRecord { config, ip },
    );
    let made = blocking("making the pod's directory", move || {
        write_sandbox(&layout, &name, &record)
            .inspect_err(|_| remove_sandbox_files(&layout, &name))?;
        Ok(record.config)
    });
    match made.await {
        Ok(config) => {
            let status = shared.sandboxes.insert(&id, config, ip);
            shared.events.changed(&id);
            Ok(status)
        }
        Err(error) => {
            shared.sandboxes.release_address(&id, ip);
            Err(error)
        }
    }
}

fn new_sandbox_id(shared: &Shared, pod: &str) -> SandboxId {
    let readable: String = pod
        .chars()
        .take(NAME_IN_ID)
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .collect();
    SandboxId(format!("{readable}-{}", shared.context.suffix(SUFFIX)))
}

fn write_sandbox(layout: &Layout, id: &str, record: &SandboxRecord) -> io::Result<()> {
    fs::create_dir_all(layout.containers(id))?;
    fs::create_dir_all(layout.shared(id))?;
    fs::create_dir_all(layout.logs(id))?;
    records::write(&layout.sandbox_record(id), record)
}

fn remove_sandbox_files(layout: &Layout, id: &str) {
    for dir in [layout.sandbox(id), layout.logs(id)] {
        if let Err(error) = rootfs::remove(&dir) {
            tracing::warn!(dir = %dir.display(), %error, "the files of a pod could not be removed");
        }
    }
}

/// Makes a container, or finds the one of the same name and attempt.
pub(super) async fn create(
    shared: Arc<Shared>,
    sandbox: SandboxId,
    config: ContainerConfig,
) -> Result<ContainerId, EngineError> {
    let missing = || EngineError::NotFound(format!("sandbox {}", sandbox.0));
    let image = shared.images.get(&config.image);
    let image = image.ok_or_else(|| EngineError::NotFound(format!("image {:?}", config.image)))?;
    images::check_user(&image.config, config.run_as_user, config.run_as_non_root)?;
    check_name(&config.name)?;
    let id = ContainerId(format!("{}_{}-{}", sandbox.0, config.name, config.attempt));
    let looked = shared.sandboxes.with_live(&sandbox, |found| {
        let present = found
            .containers
            .iter()
            .any(|container| container.is(&config.name, config.attempt));
        let number = found.containers.last().map_or(0, |last| last.number() + 1);
        let pod = PodFacts {
            container: id.0.clone(),
            hostname: found.config.hostname.clone(),
            ip: found.ip,
            dns_servers: found.config.dns_servers.clone(),
            dns_search: found.config.dns_search.clone(),
        };
        let dns = resolv::text(&found.config);
        (!present).then_some((number, pod, dns))
    });
    let Some((number, pod, dns)) = looked.ok_or_else(missing)? else {
        return Ok(id);
    };
    let context = format!("making the files of container {:?}", config.name);
    let (making, owner) = (Arc::clone(&shared), sandbox.clone());
    let made = blocking(context, move || {
        let made = make_container(&making, owner, number, config, image, pod)?;
        made.write_resolv_conf(dns.as_deref())?;
        Ok(made)
    })
    .await?;
    if shared.sandboxes.add_container(Arc::clone(&made)) {
        return Ok(id);
    }
    // The sandbox was removed meanwhile, and its directory may have come back to life by this.
    let layout = shared.layout.clone();
    let gone = sandbox.0.clone();
    blocking("removing a container", move || {
        remove_sandbox_files(&layout, &gone);
        Ok(())
    })
    .await?;
    Err(missing())
}

/// Names become file names.
fn check_name(name: &str) -> Result<(), EngineError> {
    if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
        return Err(EngineError::InvalidContainer(format!(
            "{name:?} cannot be the name of a container"
        )));
    }
    Ok(())
}

fn make_container(
    shared: &Shared,
    sandbox: SandboxId,
    number: u64,
    mut config: ContainerConfig,
    image: LocalImage,
    pod: PodFacts,
) -> io::Result<Arc<Container>> {
    let layout = &shared.layout;
    let dir = layout.container(&sandbox.0, &config.name, config.attempt);
    // What a failed attempt has left would be mixed into the image.
    rootfs::remove(&dir)?;
    let make = || {
        fs::create_dir_all(&dir)?;
        let working_dir = command::working_dir(&config, &image.config);
        let root = rootfs::prepare(
            &image.rootfs,
            &dir,
            &layout.shared(&sandbox.0),
            working_dir,
            &config,
        )?;
        let path = layout.log(&sandbox.0, &config.name, config.attempt);
        Ok((root, LogFile::create(path, shared.context.clone())?))
    };
    let (root, log) = make().inspect_err(|_: &io::Error| {
        // Clearing up is best effort: the error that led here is the one to tell.
        let _ = rootfs::remove(&dir);
    })?;
    let record = ContainerRecord {
        id: pod.container.clone(),
        number,
        name: config.name.clone(),
        attempt: config.attempt,
        image: config.image.clone(),
        image_id: image.id.clone(),
        state: ContainerState::Created,
        leader: None,
    };
    write_record(&dir, &record);
    // The content is in the files now; secrets need not stay in memory.
    config.mounts.clear();
    let origin = Origin {
        config,
        image,
        root,
        pod,
    };
    Ok(Arc::new(Container::new(
        sandbox,
        dir,
        log,
        record,
        Some(origin),
    )))
}

/// Starts a container that was not started before.
pub(super) async fn start(
    shared: Arc<Shared>,
    container: Arc<Container>,
) -> Result<(), EngineError> {
    let _one_at_a_time = container.starting.lock().await;
    let id = container.id();
    match container.state() {
        ContainerState::Created => {}
        ContainerState::Running { .. } => return Ok(()),
        ContainerState::Exited { .. } => {
            return Err(EngineError::InvalidContainer(format!(
                "container {} has ended",
                id.0
            )));
        }
    }
    let planned = Arc::clone(&container);
    let spec = blocking("looking at the container's program", move || {
        Ok(planned.first_process())
    })
    .await??;
    let written = Arc::clone(&container);
    let config_path = blocking("writing the shim's configuration", move || {
        written.write_shim_config(SHIM_CONFIG, spec)
    })
    .await?;
    let sink: Arc<dyn OutputSink> = Arc::clone(&container.log) as _;
    let scope = Scope::Container(id.0.clone());
    let launch = Launch {
        shim: shared.shim.clone(),
        config_path,
        container: id.0.clone(),
        scope,
        sink,
    };
    let launched = shared.supervisor.launch(launch).await;
    let process = launched
        .map_err(|error| EngineError::runtime(format!("starting container {}", id.0), error))?;
    container.started(
        process.clone(),
        ContainerState::Running {
            started_at: shared.context.now(),
        },
    );
    shared.events.changed(&container.sandbox);
    note_end(&shared, container.clone(), process);
    Ok(())
}

/// Notes the end of the process when it comes.
fn note_end(shared: &Arc<Shared>, container: Arc<Container>, process: Process) {
    // Without holding on to the engine: its going is what ends its containers.
    let weak = Arc::downgrade(shared);
    shared.supervisor.spawn(async move {
        let exit_code = process.ended().await;
        if let Some(shared) = weak.upgrade() {
            container.ended(container.exited(shared.context.now(), exit_code));
            shared.events.changed(&container.sandbox);
        }
    });
}

/// Asks the container to end, kills it after `grace`, and waits for its end. The grace is what
/// the application's author asked for, so the cluster's speed does not shorten it.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>
pub(super) async fn stop(container: Arc<Container>, grace: Duration) -> Result<(), EngineError> {
    // A start that is under way has to be over before it is known what to stop.
    let _start_is_over = container.starting.lock().await;
    let Some(process) = container.process() else {
        return Ok(());
    };
    if !grace.is_zero() {
        // As in Kubernetes, the first process alone; what it started is its own affair.
        process.signal(container.stop_signal());
        if tokio::time::timeout(grace, container.wait_for_end())
            .await
            .is_ok()
        {
            return Ok(());
        }
    }
    process.signal(Signal::KILL);
    container.wait_for_end().await;
    Ok(())
}

/// Kills the container where it runs, and removes it with its log.
pub(super) async fn remove(
    shared: Arc<Shared>,
    container: Arc<Container>,
) -> Result<(), EngineError> {
    stop(Arc::clone(&container), Duration::ZERO).await?;
    shared.sandboxes.remove_container(&container);
    let sandbox = container.sandbox.clone();
    let removed = blocking("removing a container's files", move || {
        container.remove_files()
    })
    .await;
    shared.events.changed(&sandbox);
    removed
}

/// Kills what runs in the sandbox and removes all of it. The address becomes free when nothing
/// can be using it any more.
pub(super) async fn remove_sandbox(shared: Arc<Shared>, id: SandboxId) -> Result<(), EngineError> {
    let Some(sandbox) = shared.sandboxes.remove(&id) else {
        return Ok(());
    };
    join_all(
        sandbox
            .containers
            .into_iter()
            .map(|container| stop(container, Duration::ZERO)),
    )
    .await;
    let (layout, name) = (shared.layout.clone(), id.0.clone());
    let removed = blocking("removing a pod's files", move || {
        remove_sandbox_files(&layout, &name);
        Ok(())
    });
    removed.await?;
    shared.sandboxes.release_address(&id, sandbox.ip);
    shared.events.changed(&id);
    Ok(())
}
