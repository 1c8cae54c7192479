//! What exists in a simulated engine, and the names it goes by.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;

use crate::addresses::{AddressPool, PodNetwork};
use crate::{
    ContainerConfig, ContainerId, ContainerState, ContainerStatus, EngineError, Image,
    SandboxConfig, SandboxId, SandboxStatus,
};

pub(super) struct State {
    pub(super) last_number: u64,
    /// By number, and so in the order of creation. Boxed, because the nodes of a tree that only
    /// grows at its end stay half empty.
    pub(super) sandboxes: BTreeMap<u64, Box<Sandbox>>,
    /// Live sandboxes by the uid of their pod.
    pub(super) by_uid: HashMap<Box<str>, u64>,
    pub(super) addresses: AddressPool<u64>,
    /// Images that were pulled; containers share the name.
    pub(super) images: BTreeMap<Arc<str>, Image>,
}

pub(super) struct Sandbox {
    pub(super) config: SandboxConfig,
    pub(super) ip: IpAddr,
    pub(super) alive: bool,
    pub(super) containers: Vec<Container>,
}

pub(super) struct Container {
    pub(super) name: Box<str>,
    pub(super) attempt: u32,
    pub(super) image: Arc<str>,
    pub(super) state: ContainerState,
}

/// Where a container is: `simulated-12/web/0` is sandbox 12, name `web`, attempt 0.
pub(super) struct Place<'a> {
    pub(super) sandbox: u64,
    pub(super) name: &'a str,
    pub(super) attempt: u32,
}

impl<'a> Place<'a> {
    pub(super) fn of(id: &'a ContainerId) -> Option<Self> {
        let (sandbox, rest) = id.0.split_once('/')?;
        let (name, attempt) = rest.rsplit_once('/')?;
        Some(Self {
            sandbox: sandbox_number(sandbox)?,
            name,
            attempt: attempt.parse().ok()?,
        })
    }
}

pub(super) fn sandbox_number(id: &str) -> Option<u64> {
    id.strip_prefix("simulated-")?.parse().ok()
}

pub(super) fn sandbox_id(number: u64) -> SandboxId {
    SandboxId(format!("simulated-{number}"))
}

pub(super) fn container_id(sandbox: u64, name: &str, attempt: u32) -> ContainerId {
    ContainerId(format!("simulated-{sandbox}/{name}/{attempt}"))
}

impl State {
    pub(super) fn new(network: PodNetwork) -> Self {
        Self {
            last_number: 0,
            sandboxes: BTreeMap::new(),
            by_uid: HashMap::new(),
            addresses: AddressPool::new(network),
            images: BTreeMap::new(),
        }
    }

    pub(super) fn container(&self, id: &ContainerId) -> Option<&Container> {
        let place = Place::of(id)?;
        self.sandboxes
            .get(&place.sandbox)?
            .containers
            .iter()
            .find(|container| container.is(&place))
    }

    pub(super) fn container_mut(&mut self, id: &ContainerId) -> Option<&mut Container> {
        let place = Place::of(id)?;
        self.sandboxes
            .get_mut(&place.sandbox)?
            .containers
            .iter_mut()
            .find(|container| container.is(&place))
    }

    pub(super) fn status(&self, number: u64) -> Option<SandboxStatus> {
        self.sandboxes
            .get(&number)
            .map(|sandbox| self.status_of(number, sandbox))
    }

    pub(super) fn status_of(&self, number: u64, sandbox: &Sandbox) -> SandboxStatus {
        let containers = sandbox.containers.iter().map(|container| ContainerStatus {
            id: container_id(number, &container.name, container.attempt),
            name: container.name.to_string(),
            attempt: container.attempt,
            image: container.image.to_string(),
            image_id: self
                .images
                .get(&container.image)
                .map(|image| image.id.clone())
                .unwrap_or_default(),
            state: container.state.clone(),
        });
        SandboxStatus {
            id: sandbox_id(number),
            config: sandbox.config.clone(),
            ip: sandbox.ip,
            alive: sandbox.alive,
            containers: containers.collect(),
        }
    }

    pub(super) fn add_sandbox(&mut self, config: &SandboxConfig) -> Result<u64, EngineError> {
        let number = self.last_number + 1;
        let Some(ip) = self.addresses.take(&number, config.ip) else {
            return Err(EngineError::runtime(
                "giving the pod an address",
                "all addresses of the network are taken",
            ));
        };
        self.last_number = number;
        self.by_uid.insert(config.uid.as_str().into(), number);
        let sandbox = Sandbox {
            config: config.clone(),
            ip: ip.into(),
            alive: true,
            containers: Vec::new(),
        };
        self.sandboxes.insert(number, Box::new(sandbox));
        Ok(number)
    }

    /// Adds a container, or finds the one of the same name and attempt.
    pub(super) fn add_container(
        &mut self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
    ) -> Result<ContainerId, EngineError> {
        let Some((image, _)) = self.images.get_key_value(config.image.as_str()) else {
            return Err(EngineError::NotFound(format!("image {:?}", config.image)));
        };
        let image = Arc::clone(image);
        let missing = || EngineError::NotFound(format!("sandbox {}", sandbox.0));
        let number = sandbox_number(&sandbox.0).ok_or_else(missing)?;
        let there = self
            .sandboxes
            .get_mut(&number)
            .filter(|sandbox| sandbox.alive)
            .ok_or_else(missing)?;
        let place = Place {
            sandbox: number,
            name: &config.name,
            attempt: config.attempt,
        };
        if !there
            .containers
            .iter()
            .any(|container| container.is(&place))
        {
            let name = config.name.as_str().into();
            // Most pods have one container; doubling would reserve four.
            there.containers.reserve_exact(1);
            there.containers.push(Container {
                name,
                attempt: config.attempt,
                image,
                state: ContainerState::Created,
            });
        }
        Ok(container_id(number, &config.name, config.attempt))
    }
}

impl Container {
    pub(super) fn is(&self, place: &Place<'_>) -> bool {
        *self.name == *place.name && self.attempt == place.attempt
    }

    /// Ends it where it has not ended yet, and says whether that made a difference.
    pub(super) fn end(&mut self, now: Timestamp, exit_code: i32, oom_killed: bool) -> bool {
        let started_at = match self.state {
            ContainerState::Created => None,
            ContainerState::Running { started_at } => Some(started_at),
            ContainerState::Exited { .. } => return false,
        };
        self.state = ContainerState::Exited {
            started_at,
            finished_at: now,
            exit_code,
            oom_killed,
        };
        true
    }
}
