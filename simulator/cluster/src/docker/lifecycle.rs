//! Stopping, starting again, killing and removing what is there.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::query_parameters::{
    KillContainerOptions, ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions,
    RemoveVolumeOptions, StopContainerOptions,
};
use futures::{StreamExt, TryStreamExt, stream};
use lab_engine::docker::labels;

use super::bring_up::{BringUpError, concurrent_starts, start};
use super::plan::{Role, STOP_SECONDS, container_name};
use super::{
    CONCURRENT_CALLS, DockerError, cluster_label, gone_is_fine, inventory, label_filter, refusal,
};

/// Pods that an agent was about to make may appear while the rest is removed; they are found by
/// looking again.
const ROUNDS: usize = 10;
/// Between two looks, and before asking again for what the daemon is still letting go.
const PAUSE: Duration = Duration::from_millis(100);

/// How much was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Containers, pods' included.
    pub containers: usize,
    /// Networks.
    pub networks: usize,
    /// Volumes.
    pub volumes: usize,
}

/// Ends the cluster's own containers in order; their pods end with the nodes. Everything stays
/// on the disk for [`start_existing`].
///
/// # Errors
///
/// Where the daemon refuses.
pub async fn stop(docker: &Docker, cluster: &str) -> Result<(), DockerError> {
    let parts = inventory::list(docker, cluster).await?;
    stream::iter(parts.into_iter().filter(|part| part.running))
        .map(|part| async move {
            let options = StopContainerOptions {
                t: Some(STOP_SECONDS),
                ..StopContainerOptions::default()
            };
            gone_is_fine(docker.stop_container(&part.container, Some(options)).await).map_err(
                DockerError::at(format!("stopping container {}", part.container)),
            )
        })
        .buffer_unordered(CONCURRENT_CALLS)
        .try_collect()
        .await
}

/// Starts what [`stop`], a crash or a reboot left, the control plane first. Starting what runs
/// does nothing.
///
/// # Errors
///
/// Where a container cannot be started: a port may have been taken meanwhile.
pub async fn start_existing(docker: &Docker, cluster: &str) -> Result<(), BringUpError> {
    let parts = inventory::list(docker, cluster).await?;
    stream::iter(parts)
        .map(|part| async move { start(docker, &part.container, part.role).await })
        .buffer_unordered(concurrent_starts())
        .try_collect()
        .await
}

/// Kills one part at once, as a power cut would. Killing what is dead does nothing.
///
/// # Errors
///
/// Where there is no such part, or the daemon refuses.
pub async fn kill(docker: &Docker, cluster: &str, component: &str) -> Result<(), DockerError> {
    let name = container_name(cluster, component);
    let options = KillContainerOptions {
        signal: "SIGKILL".to_owned(),
    };
    match docker.kill_container(&name, Some(options)).await {
        Err(error) if refusal(&error).0 == 409 => Ok(()),
        other => other.map_err(DockerError::at(format!("killing container {name}"))),
    }
}

/// Removes one node's container and its pods.
///
/// # Errors
///
/// Where the daemon refuses.
pub async fn remove_node(docker: &Docker, cluster: &str, node: &str) -> Result<(), DockerError> {
    // The node first: its agent would make the pods again.
    remove_container(docker, &container_name(cluster, node)).await?;
    let found = inventory::containers(docker, &cluster_label(cluster)).await?;
    let pods = found
        .into_iter()
        .filter(|c| inventory::label(c, labels::NODE) == Some(node));
    remove_containers(docker, pods.filter_map(|container| container.id).collect()).await?;
    let own = format!("{}={node}", labels::NODE);
    remove_volumes(
        docker,
        |labels_of_volume| labels_of_volume.contains(&own),
        cluster,
    )
    .await?;
    Ok(())
}

/// Removes everything that carries the cluster's label: containers, pods, volumes, network.
///
/// # Errors
///
/// Where the daemon refuses. What is left is found by calling again.
pub async fn remove_all(docker: &Docker, cluster: &str) -> Result<Removed, DockerError> {
    let mut removed = Removed::default();
    for _ in 0..ROUNDS {
        let found = inventory::containers(docker, &cluster_label(cluster)).await?;
        if found.is_empty() {
            break;
        }
        removed.containers += found.len();
        // Nodes first, or their agents would make pods again.
        let is_node = |c: &_| inventory::label(c, labels::ROLE) == Some(Role::Node.as_str());
        let (nodes, others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_node);
        for batch in [nodes, others] {
            remove_containers(
                docker,
                batch
                    .into_iter()
                    .filter_map(|container| container.id)
                    .collect(),
            )
            .await?;
        }
    }
    removed.volumes = remove_volumes(docker, |_| true, cluster).await?;
    removed.networks = remove_networks(docker, cluster).await?;
    Ok(removed)
}

async fn remove_containers(docker: &Docker, ids: Vec<String>) -> Result<(), DockerError> {
    // Owned values only: a future that borrows across the stream is not provably `Send`.
    let remove = |id: String| {
        let docker = docker.clone();
        async move { remove_container(&docker, &id).await }
    };
    stream::iter(ids)
        .map(remove)
        .buffer_unordered(CONCURRENT_CALLS)
        .try_collect()
        .await
}

async fn remove_container(docker: &Docker, name: &str) -> Result<(), DockerError> {
    let options = RemoveContainerOptions {
        force: true,
        v: true,
        ..RemoveContainerOptions::default()
    };
    // 409: somebody else is removing it.
    patiently(&[409], || {
        docker.remove_container(name, Some(options.clone()))
    })
    .await
    .map_err(DockerError::at(format!("removing container {name}")))
}

async fn remove_volumes(
    docker: &Docker,
    wanted: impl Fn(&[String]) -> bool,
    cluster: &str,
) -> Result<usize, DockerError> {
    let options = ListVolumesOptions {
        filters: label_filter(&cluster_label(cluster)),
    };
    let listed = docker
        .list_volumes(Some(options))
        .await
        .map_err(DockerError::at("listing volumes"))?;
    let mut removed = 0;
    for volume in listed.volumes.unwrap_or_default() {
        let own: Vec<String> = volume
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if wanted(&own) {
            patiently(&[409], || {
                docker.remove_volume(&volume.name, None::<RemoveVolumeOptions>)
            })
            .await
            .map_err(DockerError::at(format!("removing volume {}", volume.name)))?;
            removed += 1;
        }
    }
    Ok(removed)
}

async fn remove_networks(docker: &Docker, cluster: &str) -> Result<usize, DockerError> {
    let options = ListNetworksOptions {
        filters: label_filter(&cluster_label(cluster)),
    };
    let listed = docker
        .list_networks(Some(options))
        .await
        .map_err(DockerError::at("listing networks"))?;
    let ids: Vec<String> = listed
        .into_iter()
        .filter_map(|network| network.id)
        .collect();
    for id in &ids {
        // 403: "has active endpoints", until the daemon has let go of the last container.
        patiently(&[403, 409], || docker.remove_network(id))
            .await
            .map_err(DockerError::at("removing the cluster's network"))?;
    }
    Ok(ids.len())
}

/// Asks again while the daemon is still busy with the thing, which it says by these statuses;
/// gone is done.
async fn patiently<F>(busy: &[u16], ask: impl Fn() -> F) -> Result<(), Error>
where
    // Not an async closure: whether its future may change threads cannot be said in bounds yet.
    F: Future<Output = Result<(), Error>> + Send,
{
    const TRIES: usize = 100;
    for _ in 0..TRIES {
        match gone_is_fine(ask().await) {
            Err(error) if busy.contains(&refusal(&error).0) => tokio::time::sleep(PAUSE).await,
            other => return other,
        }
    }
    gone_is_fine(ask().await)
}
