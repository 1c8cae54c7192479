//! The sandboxes and containers of one node, and what its last life left behind.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use lab_context::Context;

use super::container::{Container, KILLED, write_record};
use super::group;
use super::log_file::LogFile;
use super::records::{self, ContainerRecord, Layout, SandboxRecord};
use super::rootfs;
use crate::addresses::{AddressPool, PodNetwork};
use crate::{ContainerId, ContainerState, SandboxConfig, SandboxId, SandboxStatus};

/// A sandbox with its containers, oldest first.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) config: SandboxConfig,
    pub(super) ip: Ipv4Addr,
    pub(super) alive: bool,
    pub(super) containers: Vec<Arc<Container>>,
}

/// All sandboxes of a node. The lock is never held while something is waited for.
#[derive(Debug)]
pub(super) struct Sandboxes {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sandboxes: BTreeMap<SandboxId, Sandbox>,
    addresses: AddressPool<SandboxId>,
}

impl Sandboxes {
    /// Clears away what cannot be read, kills what still runs of an earlier life, and lists the
    /// rest as remains.
    pub(super) fn recover(
        layout: &Layout,
        network: PodNetwork,
        context: &Context,
    ) -> io::Result<Self> {
        let mut state = State {
            sandboxes: BTreeMap::new(),
            addresses: AddressPool::new(network),
        };
        for id in names_in(&layout.sandboxes())? {
            match records::read::<SandboxRecord>(&layout.sandbox_record(&id)) {
                Some(record) => state.add_remains(layout, id, record, context)?,
                None => rootfs::remove(&layout.sandbox(&id))?,
            }
        }
        for id in names_in(&layout.all_logs())? {
            if !state.sandboxes.contains_key(&SandboxId(id.clone())) {
                rootfs::remove(&layout.logs(&id))?;
            }
        }
        Ok(Self {
            state: Mutex::new(state),
        })
    }

    /// The live sandbox of this pod, if there is one.
    pub(super) fn of_pod(&self, uid: &str) -> Option<SandboxStatus> {
        let state = self.state();
        let mut sandboxes = state.sandboxes.iter();
        sandboxes
            .find(|(_, sandbox)| sandbox.alive && sandbox.config.uid == uid)
            .map(|(id, sandbox)| sandbox.status(id))
    }

    /// Takes an address for a sandbox to be; the one of the pod's remains where it asks for it.
    pub(super) fn take_address(&self, id: &SandboxId, config: &SandboxConfig) -> Option<Ipv4Addr> {
        let mut state = self.state();
        let State {
            sandboxes,
            addresses,
        } = &mut *state;
        let remains = sandboxes.iter().find(|(_, sandbox)| {
            !sandbox.alive
                && sandbox.config.uid == config.uid
                && Some(IpAddr::V4(sandbox.ip)) == config.ip
        });
        if let Some((old, sandbox)) = remains
            && addresses.pass_on(sandbox.ip.into(), old, id)
        {
            return Some(sandbox.ip);
        }
        addresses.take(id, config.ip)
    }

    /// Gives the address back.
    pub(super) fn release_address(&self, id: &SandboxId, ip: Ipv4Addr) {
        self.state().addresses.release(id, ip.into());
    }

    /// Adds a live sandbox.
    pub(super) fn insert(
        &self,
        id: &SandboxId,
        config: SandboxConfig,
        ip: Ipv4Addr,
    ) -> SandboxStatus {
        let sandbox = Sandbox {
            config,
            ip,
            alive: true,
            containers: Vec::new(),
        };
        let status = sandbox.status(id);
        self.state().sandboxes.insert(id.clone(), sandbox);
        status
    }

    /// Takes a sandbox out of the list; its address stays taken until it is given back.
    pub(super) fn remove(&self, id: &SandboxId) -> Option<Sandbox> {
        self.state().sandboxes.remove(id)
    }

    /// Looks at a live sandbox.
    pub(super) fn with_live<T>(
        &self,
        id: &SandboxId,
        look: impl FnOnce(&mut Sandbox) -> T,
    ) -> Option<T> {
        self.state()
            .sandboxes
            .get_mut(id)
            .filter(|sandbox| sandbox.alive)
            .map(look)
    }

    /// Adds a container, unless the sandbox has gone in the meantime.
    pub(super) fn add_container(&self, container: Arc<Container>) -> bool {
        let sandbox = container.sandbox.clone();
        self.with_live(&sandbox, |sandbox| sandbox.containers.push(container))
            .is_some()
    }

    /// Takes a container out of the list.
    pub(super) fn remove_container(&self, container: &Container) {
        if let Some(sandbox) = self.state().sandboxes.get_mut(&container.sandbox) {
            let id = container.id();
            sandbox.containers.retain(|other| other.id() != id);
        }
    }

    /// The container with this id.
    pub(super) fn container(&self, id: &ContainerId) -> Option<Arc<Container>> {
        let state = self.state();
        let mut containers = state
            .sandboxes
            .values()
            .flat_map(|sandbox| &sandbox.containers);
        containers.find(|container| container.id() == *id).cloned()
    }

    /// Every container of every sandbox.
    pub(super) fn containers(&self) -> Vec<Arc<Container>> {
        self.state()
            .sandboxes
            .values()
            .flat_map(|sandbox| sandbox.containers.iter().cloned())
            .collect()
    }

    /// What the agent sees.
    pub(super) fn list(&self) -> Vec<SandboxStatus> {
        self.state()
            .sandboxes
            .iter()
            .map(|(id, sandbox)| sandbox.status(id))
            .collect()
    }

    /// What the agent sees of one.
    pub(super) fn status(&self, id: &SandboxId) -> Option<SandboxStatus> {
        self.state()
            .sandboxes
            .get(id)
            .map(|sandbox| sandbox.status(id))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sandbox {
    fn status(&self, id: &SandboxId) -> SandboxStatus {
        SandboxStatus {
            id: id.clone(),
            config: self.config.clone(),
            ip: self.ip.into(),
            alive: self.alive,
            containers: self
                .containers
                .iter()
                .map(|container| container.status())
                .collect(),
        }
    }
}

impl State {
    fn add_remains(
        &mut self,
        layout: &Layout,
        id: String,
        record: SandboxRecord,
        context: &Context,
    ) -> io::Result<()> {
        let containers = remains_of_containers(layout, &id, context)?;
        let id = SandboxId(id);
        // Held so that no other pod gets it before this one's successor does.
        self.addresses.take(&id, Some(record.ip.into()));
        let SandboxRecord { config, ip } = record;
        self.sandboxes.insert(
            id,
            Sandbox {
                config,
                ip,
                alive: false,
                containers,
            },
        );
        Ok(())
    }
}

fn remains_of_containers(
    layout: &Layout,
    sandbox: &str,
    context: &Context,
) -> io::Result<Vec<Arc<Container>>> {
    let mut found = Vec::new();
    for name in names_in(&layout.containers(sandbox))? {
        let dir = layout.containers(sandbox).join(name);
        match records::read::<ContainerRecord>(&Layout::container_record(&dir)) {
            Some(record) => found.push((dir, record)),
            None => rootfs::remove(&dir)?,
        }
    }
    found.sort_by_key(|(_, record)| record.number);
    kill_leftovers(found.iter().map(|(_, record)| record));
    let now = context.now();
    Ok(found
        .into_iter()
        .map(|(dir, record)| {
            let record = lost(record, now);
            write_record(&dir, &record);
            let log = LogFile::finished(
                layout.log(sandbox, &record.name, record.attempt),
                context.clone(),
            );
            Arc::new(Container::new(
                SandboxId(sandbox.to_owned()),
                dir,
                log,
                record,
                None,
            ))
        })
        .collect())
}

fn kill_leftovers<'a>(records: impl Iterator<Item = &'a ContainerRecord>) {
    let unfinished: Vec<_> = records
        .filter(|record| !matches!(record.state, ContainerState::Exited { .. }))
        .collect();
    if unfinished.is_empty() {
        return;
    }
    let ids: HashSet<String> = unfinished.iter().map(|record| record.id.clone()).collect();
    let leaders: Vec<_> = unfinished
        .iter()
        .filter_map(|record| record.leader.clone())
        .collect();
    group::kill_leftovers(&ids, &leaders);
}

/// What becomes of a container when its node dies: it was killed with it.
fn lost(record: ContainerRecord, now: Timestamp) -> ContainerRecord {
    let started_at = match record.state {
        ContainerState::Created => None,
        ContainerState::Running { started_at } => Some(started_at),
        ContainerState::Exited { .. } => return record,
    };
    let state = ContainerState::Exited {
        started_at,
        finished_at: now,
        exit_code: KILLED,
        oom_killed: false,
    };
    ContainerRecord { state, ..record }
}

/// The names in a directory; none where it does not exist.
fn names_in(dir: &std::path::Path) -> io::Result<Vec<String>> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect(),
    }
}
