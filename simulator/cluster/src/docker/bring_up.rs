//! Making and starting a cluster's containers.

use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::CreateContainerOptions;
use futures::{StreamExt, TryStreamExt, stream};

use super::plan::{DockerPlan, NodePlan, Part, Role};
use super::{DockerError, refusal};

/// What a start reports while it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A part's container runs; whether the part serves is for its own health to say.
    Started {
        /// Name of the container.
        container: String,
        /// What it is for.
        role: Role,
        /// Since the start began.
        after: Duration,
    },
}

/// Why a cluster did not come up. What was made until then is labelled: `remove_all` finds it.
#[derive(Debug, thiserror::Error)]
pub enum BringUpError {
    /// Somebody listens there already.
    #[error(
        "port {port} on 127.0.0.1 is taken, and {role} needs it; find the program (ss -ltnp 'sport = \
         :{port}') or choose another port in the cluster's configuration"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// Whose it was to be.
        role: Role,
    },
    /// A container has the name.
    #[error("a container {name:?} is there already; remove it with: docker rm -f {name}")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The plan has no address for the node.
    #[error(
        "node {name:?} has place {index}, but the address plan ends at {}",
        super::MAX_NODES
    )]
    NoAddress {
        /// Name of the node.
        name: String,
        /// Its place.
        index: u8,
    },
    /// The daemon failed.
    #[error(transparent)]
    Docker(#[from] DockerError),
}

/// Makes and starts every container of the plan; its network and image must be there.
///
/// Measured on two cores: starting is bound by the processor, so that a little more than one
/// start per core is fastest in all, and taking the parts in their order has the control plane
/// up first, which the others wait for anyway.
///
/// # Errors
///
/// At the first container that cannot be made or started. The others may run by then.
pub async fn bring_up(
    docker: &Docker,
    plan: &DockerPlan,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<(), BringUpError> {
    for NodePlan {
        name,
        index,
        config: _,
    } in &plan.nodes
    {
        if plan.network.node(*index).is_none() {
            return Err(BringUpError::NoAddress {
                name: name.clone(),
                index: *index,
            });
        }
    }
    let begun = tokio::time::Instant::now();
    stream::iter(plan.parts())
        .map(|part| async move {
            let (container, role) = (part.name.clone(), part.role);
            create_and_start(docker, part).await?;
            progress(Progress::Started {
                container,
                role,
                after: begun.elapsed(),
            });
            Ok(())
        })
        .buffer_unordered(concurrent_starts())
        .try_collect()
        .await
}

/// Makes and starts one more node of a running cluster.
///
/// # Errors
///
/// Where it cannot be made or started.
pub async fn start_part(
    docker: &Docker,
    plan: &DockerPlan,
    node: &NodePlan,
) -> Result<(), BringUpError> {
    let part = plan.node(node).ok_or_else(|| BringUpError::NoAddress {
        name: node.name.clone(),
        index: node.index,
    })?;
    create_and_start(docker, part).await
}

/// One more than there are cores.
pub(super) fn concurrent_starts() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get() + 1)
}

async fn create_and_start(docker: &Docker, part: Part) -> Result<(), BringUpError> {
    let Part { name, role, body } = part;
    let options = CreateContainerOptions {
        name: Some(name.clone()),
        ..CreateContainerOptions::default()
    };
    docker
        .create_container(Some(options), body)
        .await
        .map_err(|error| match refusal(&error).0 {
            409 => BringUpError::NameTaken { name: name.clone() },
            _ => DockerError::at(format!("creating container {name}"))(error).into(),
        })?;
    start(docker, &name, role).await
}

/// Starts a container that is there.
pub(super) async fn start(docker: &Docker, name: &str, role: Role) -> Result<(), BringUpError> {
    docker
        .start_container(name, None)
        .await
        .map_err(|error| match taken_port(refusal(&error).1) {
            Some(port) => BringUpError::PortTaken { port, role },
            None => DockerError::at(format!("starting container {name}"))(error).into(),
        })
}

/// The port in `Bind for 127.0.0.1:6443 failed: port is already allocated`, or in `listen tcp4
/// 127.0.0.1:6443: bind: address already in use`.
fn taken_port(message: &str) -> Option<u16> {
    if !message.contains("already allocated") && !message.contains("address already in use") {
        return None;
    }
    let (_, rest) = message.split_once("127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: Option<u16>) {
        assert_eq!(taken_port(message), expected, "{message}");
    }

    #[test]
    fn a_taken_port_is_read_from_the_daemons_words() {
        check(
            "driver failed programming external connectivity on endpoint lab-control-plane (1): \
             Bind for 127.0.0.1:6443 failed: port is already allocated",
            Some(6443),
        );
        check(
            "driver failed programming external connectivity on endpoint x (1): Error starting \
             userland proxy: listen tcp4 127.0.0.1:8080: bind: address already in use",
            Some(8080),
        );
        check("Address already in use", None);
        check("no such image", None);
    }
}
