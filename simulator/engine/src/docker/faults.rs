//! Faults that the daemon plays on the containers of this node.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use bollard::models::{ContainerSummaryStateEnum, ContainerUpdateBody};
use bollard::query_parameters::KillContainerOptions;

use super::status::{Found, KILLED};
use super::{Shared, errors, labels, spec};
use crate::{ContainerId, ContainerState, EngineError};

/// The least memory that the daemon takes as a limit, in bytes.
const LEAST_MEMORY: i64 = 6 << 20;
/// How long a container may live within that before it is killed: one that needs no more is
/// rare, and would wait for the kernel for ever.
const PATIENCE: Duration = Duration::from_secs(3);
/// A core in the unit of limits.
const CORE_MILLIS: u64 = 1000;
/// What the daemon takes for "no limit".
const UNLIMITED: i64 = -1;

impl Shared {
    /// See [`crate::Engine::throttle`]. A container gets this share of its own limit, or of one
    /// core where it has none.
    pub(super) async fn throttle(&self, share: Option<f64>) -> Result<(), EngineError> {
        for part in self.summaries(&[]).await? {
            let (Some(id), Some(labels)) = (part.id, part.labels) else {
                continue;
            };
            // Of a sandbox, its holder and its openers use no processor.
            let running = part.state == Some(ContainerSummaryStateEnum::RUNNING);
            if !running || !labels.contains_key(labels::CONTAINER) {
                continue;
            }
            let limit = labels.get(labels::CPU_LIMIT);
            let body = ContainerUpdateBody {
                cpu_period: Some(spec::CPU_PERIOD_US),
                cpu_quota: Some(quota(share, limit.and_then(|limit| limit.parse().ok()))),
                ..ContainerUpdateBody::default()
            };
            let updated = self.docker.update_container(&id, body).await;
            errors::gone_is_fine(updated)
                .map_err(|error| EngineError::runtime(format!("slowing container {id}"), error))?;
        }
        Ok(())
    }

    /// What came of a container, knowing which ones ran out of memory by [`Self::exhaust_memory`].
    pub(super) fn told_of_memory(&self, mut found: Found) -> Found {
        if let ContainerState::Exited {
            exit_code: KILLED,
            oom_killed,
            ..
        } = &mut found.state
        {
            *oom_killed |= self.exhausted().contains(&found.id);
        }
        found
    }

    fn exhausted(&self) -> MutexGuard<'_, HashSet<String>> {
        self.exhausted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
        // The daemon knows only of the kernel's own kills.
        self.exhausted().insert(container.0.clone());
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

/// The quota of a container with this limit in thousandths of a core, on a node that gives this
/// share.
fn quota(share: Option<f64>, limit: Option<u64>) -> i64 {
    let Some(share) = share else {
        return limit.map_or(UNLIMITED, spec::cpu_quota);
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "thousandths of a core, and a share between 0 and 1"
    )]
    let millis = (limit.unwrap_or(CORE_MILLIS) as f64 * share) as u64;
    spec::cpu_quota(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_node_gives_a_share_of_a_limit_and_gives_the_limit_back() {
        assert_eq!(quota(Some(0.2), None), 20_000);
        assert_eq!(quota(Some(0.2), Some(500)), 10_000);
        assert_eq!(quota(None, Some(500)), 50_000);
        assert_eq!(quota(None, None), UNLIMITED);
        assert_eq!(quota(Some(0.001), Some(10)), spec::cpu_quota(0));
    }
}
