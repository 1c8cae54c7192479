//! Faults that the daemon plays on the containers of this node.

use std::time::Duration;

use bollard::models::ContainerUpdateBody;
use bollard::query_parameters::KillContainerOptions;

use super::{Shared, errors};
use crate::{ContainerId, ContainerState, EngineError};

/// The least memory that the daemon takes as a limit, in bytes.
const LEAST_MEMORY: i64 = 6 << 20;
/// How long a container may live within that before it is killed: one that needs no more is
/// rare, and would wait for the kernel for ever.
const PATIENCE: Duration = Duration::from_secs(3);
/// The whole of one core, as the daemon counts.
const CORE: f64 = 1e9;

impl Shared {
    /// See [`crate::Engine::throttle`]. A container without a limit of its own gets this share of
    /// one core, and with `None` all the machine has: the daemon cannot take a limit away.
    pub(super) async fn throttle(&self, share: Option<f64>) -> Result<(), EngineError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "a number of nanoseconds per second"
        )]
        let nano_cpus = (share.unwrap_or(cores as f64) * CORE) as i64;
        for sandbox in self.list_sandboxes().await? {
            for container in &sandbox.containers {
                if !matches!(container.state, ContainerState::Running { .. }) {
                    continue;
                }
                let body = ContainerUpdateBody {
                    nano_cpus: Some(nano_cpus.max(10_000_000)),
                    ..ContainerUpdateBody::default()
                };
                let updated = self.docker.update_container(&container.id.0, body).await;
                errors::gone_is_fine(updated).map_err(|error| {
                    EngineError::runtime(format!("slowing container {}", container.id.0), error)
                })?;
            }
        }
        Ok(())
    }

    /// See [`crate::Engine::exhaust_memory`].
    pub(super) async fn exhaust_memory(&self, container: &ContainerId) -> Result<(), EngineError> {
        let body = ContainerUpdateBody {
            memory: Some(LEAST_MEMORY),
            memory_swap: Some(LEAST_MEMORY),
            ..ContainerUpdateBody::default()
        };
        // Where the kernel does not shrink what is in use, the kill below is the end.
        if let Err(error) = self.docker.update_container(&container.0, body).await {
            tracing::debug!(container = container.0, %error, "memory not taken away");
        }
        tokio::time::sleep(PATIENCE).await;
        let kill = KillContainerOptions {
            signal: "SIGKILL".to_owned(),
        };
        // Fails for one that has ended, which is what is wanted.
        if let Err(error) = self.docker.kill_container(&container.0, Some(kill)).await {
            tracing::debug!(container = container.0, %error, "container has ended");
        }
        Ok(())
    }
}
