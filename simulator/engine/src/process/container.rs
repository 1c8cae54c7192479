//! One container of the process engine: its files, its process and its life.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::Signal;
use tokio::sync::watch;

use super::command::{self, PodFacts, ProcessSpec};
use super::images::LocalImage;
use super::log_file::LogFile;
use super::records::{self, ContainerRecord, Layout};
use super::resolv;
use super::root_paths::Root;
use super::shim::ShimConfig;
use super::supervisor::Process;
use crate::{
    ContainerConfig, ContainerId, ContainerState, ContainerStatus, EngineError, SandboxId,
};

/// Exit code of what was killed: 128 + SIGKILL.
pub(super) const KILLED: i32 = 137;

/// A container, from its creation to its removal.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) sandbox: SandboxId,
    pub(super) log: Arc<LogFile>,
    /// What it was made from; `None` for one of an earlier life of the node, which never starts.
    pub(super) origin: Option<Origin>,
    /// Orders starting after starting; a container starts once.
    pub(super) starting: tokio::sync::Mutex<()>,
    dir: PathBuf,
    record: Mutex<ContainerRecord>,
    state: watch::Sender<ContainerState>,
    process: Mutex<Option<Process>>,
    oom_killed: AtomicBool,
}

/// What a container was made from.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) config: ContainerConfig,
    pub(super) image: LocalImage,
    pub(super) root: Root,
    pub(super) pod: PodFacts,
}

impl Container {
    pub(super) fn new(
        sandbox: SandboxId,
        dir: PathBuf,
        log: LogFile,
        record: ContainerRecord,
        origin: Option<Origin>,
    ) -> Self {
        Self {
            sandbox,
            log: Arc::new(log),
            origin,
            starting: tokio::sync::Mutex::new(()),
            dir,
            state: watch::Sender::new(record.state.clone()),
            record: Mutex::new(record),
            process: Mutex::new(None),
            oom_killed: AtomicBool::new(false),
        }
    }

    pub(super) fn id(&self) -> ContainerId {
        ContainerId(self.with_record(|record| record.id.clone()))
    }

    pub(super) fn number(&self) -> u64 {
        self.with_record(|record| record.number)
    }

    pub(super) fn is(&self, name: &str, attempt: u32) -> bool {
        self.with_record(|record| record.name == name && record.attempt == attempt)
    }

    pub(super) fn state(&self) -> ContainerState {
        self.state.borrow().clone()
    }

    pub(super) fn status(&self) -> ContainerStatus {
        self.with_record(|record| ContainerStatus {
            id: ContainerId(record.id.clone()),
            name: record.name.clone(),
            attempt: record.attempt,
            image: record.image.clone(),
            image_id: record.image_id.clone(),
            state: self.state(),
        })
    }

    /// The process, while it runs.
    pub(super) fn process(&self) -> Option<Process> {
        self.process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Its memory limit and process, where both exist.
    pub(super) fn watched(&self) -> Option<(u64, Process)> {
        let limit = self.origin.as_ref()?.config.memory_limit_bytes?;
        Some((limit, self.process()?))
    }

    /// Notes that the process was started.
    pub(super) fn started(&self, process: Process, state: ContainerState) {
        let leader = process.leader.clone();
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        self.change(state, |record| record.leader = Some(leader));
    }

    /// Notes that the process ended.
    pub(super) fn ended(&self, state: ContainerState) {
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.change(state, |_| {});
    }

    /// Kills it for its use of memory.
    pub(super) fn kill_for_memory(&self, process: &Process) {
        self.oom_killed.store(true, Ordering::Relaxed);
        process.kill();
    }

    /// The state of one that ended now with this code.
    pub(super) fn exited(&self, now: jiff::Timestamp, exit_code: i32) -> ContainerState {
        let started_at = match self.state() {
            ContainerState::Running { started_at } => Some(started_at),
            ContainerState::Created | ContainerState::Exited { .. } => None,
        };
        let oom_killed = exit_code == KILLED && self.oom_killed.load(Ordering::Relaxed);
        ContainerState::Exited {
            started_at,
            finished_at: now,
            exit_code,
            oom_killed,
        }
    }

    /// Waits until it has ended.
    pub(super) async fn wait_for_end(&self) {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state
            .wait_for(|state| matches!(state, ContainerState::Exited { .. }))
            .await;
    }

    /// The signal that asks it to end.
    pub(super) fn stop_signal(&self) -> Signal {
        let named = self
            .origin
            .as_ref()
            .and_then(|origin| origin.image.config.stop_signal.as_deref());
        named.and_then(signal_named).unwrap_or(Signal::TERM)
    }

    /// Decides what its first process is.
    pub(super) fn first_process(&self) -> Result<ProcessSpec, EngineError> {
        let Origin {
            config,
            image,
            root,
            pod,
        } = self.origin()?;
        command::for_container(config, &image.config, root, pod)
    }

    /// Decides what a further process in it is.
    pub(super) fn further_process(&self, words: &[String]) -> Result<ProcessSpec, EngineError> {
        let Origin {
            config,
            image,
            root,
            pod,
        } = self.origin()?;
        command::for_exec(words, config, &image.config, root, pod)
    }

    fn origin(&self) -> Result<&Origin, EngineError> {
        self.origin.as_ref().ok_or_else(|| {
            EngineError::InvalidContainer(format!("container {} was lost", self.id().0))
        })
    }

    /// Writes down for the shim what to become, in a file of this name beside the record.
    pub(super) fn write_shim_config(&self, name: &str, spec: ProcessSpec) -> io::Result<PathBuf> {
        let ProcessSpec {
            program,
            name: argv0,
            args,
            env,
            working_dir,
        } = spec;
        let config = ShimConfig {
            parent: std::process::id(),
            program,
            name: argv0,
            args,
            env,
            working_dir,
            resolv_conf: Some(self.dir.join(resolv::FILE)).filter(|file| file.exists()),
        };
        let path = self.dir.join(name);
        records::write(&path, &config)?;
        Ok(path)
    }

    /// Writes down how its processes resolve names, for the shim.
    pub(super) fn write_resolv_conf(&self, text: Option<&str>) -> io::Result<()> {
        match text {
            Some(text) => fs::write(self.dir.join(resolv::FILE), text),
            None => Ok(()),
        }
    }

    /// Removes its files and its log.
    pub(super) fn remove_files(&self) -> io::Result<()> {
        self.log.remove();
        super::rootfs::remove(&self.dir)
    }

    fn change(&self, state: ContainerState, update: impl FnOnce(&mut ContainerRecord)) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.state = state.clone();
        update(&mut record);
        write_record(&self.dir, &record);
        drop(record);
        self.state.send_replace(state);
    }

    fn with_record<T>(&self, read: impl FnOnce(&ContainerRecord) -> T) -> T {
        read(&self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes the record. One that cannot be written makes a container that ended look lost after
/// a restart of the node, which is no reason to fail now.
pub(super) fn write_record(dir: &Path, record: &ContainerRecord) {
    // The directory is gone where the container was removed in this moment.
    if fs::exists(dir).unwrap_or(false)
        && let Err(error) = records::write(&Layout::container_record(dir), record)
    {
        tracing::warn!(container = record.id, %error, "the state of a container could not be written down");
    }
}

/// The signals that images name in practice.
fn signal_named(name: &str) -> Option<Signal> {
    match name.trim_start_matches("SIG") {
        "TERM" | "15" => Some(Signal::TERM),
        "INT" | "2" => Some(Signal::INT),
        "QUIT" | "3" => Some(Signal::QUIT),
        "HUP" | "1" => Some(Signal::HUP),
        "KILL" | "9" => Some(Signal::KILL),
        "USR1" | "10" => Some(Signal::USR1),
        "USR2" | "12" => Some(Signal::USR2),
        "WINCH" | "28" => Some(Signal::WINCH),
        _ => None,
    }
}
