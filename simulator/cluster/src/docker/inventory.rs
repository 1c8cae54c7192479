//! What of a cluster is there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bollard::Docker;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    ListContainersOptions, ListNetworksOptions, ListVolumesOptions, LogsOptions,
};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use lab_engine::docker::labels;

use super::plan::{Role, container_name};
use super::{DockerError, cluster_label, label_filter};

/// One of the cluster's own containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartStatus {
    /// Name of the container.
    pub container: String,
    /// Name within the cluster: `registry`, `node-1`.
    pub component: String,
    /// What it is for.
    pub role: Role,
    /// True where it runs (a paused one hangs, but runs).
    pub running: bool,
    /// The daemon's words: `Up 2 minutes`, `Exited (137) 4 seconds ago`.
    pub status: String,
    /// The image it was made from.
    pub image: String,
    /// Its address, while it runs.
    pub address: Option<IpAddr>,
}

/// A cluster of which at least something is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSummary {
    /// Its name.
    pub name: String,
    /// Own containers that run.
    pub running: usize,
    /// Own containers in all; 0 where only a network or volumes are left.
    pub parts: usize,
}

/// Which part of a log is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogRequest {
    /// Keep the stream open and send what comes.
    pub follow: bool,
    /// Only this many last lines.
    pub tail_lines: Option<u64>,
}

/// The cluster's own containers, stopped ones included, in the order of starting.
///
/// # Errors
///
/// Where the daemon does not answer.
pub async fn list(docker: &Docker, cluster: &str) -> Result<Vec<PartStatus>, DockerError> {
    let found = containers(docker, &cluster_label(cluster)).await?;
    let mut parts: Vec<_> = found
        .iter()
        .filter_map(|container| part(cluster, container))
        .collect();
    parts.sort_by(|a, b| (a.role, natural(&a.component)).cmp(&(b.role, natural(&b.component))));
    Ok(parts)
}

/// Every cluster on the daemon of which something is there.
///
/// # Errors
///
/// Where the daemon does not answer.
pub async fn list_clusters(docker: &Docker) -> Result<Vec<ClusterSummary>, DockerError> {
    let mut clusters = BTreeMap::<String, (usize, usize)>::new();
    for container in containers(docker, labels::CLUSTER).await? {
        let Some(name) = label(&container, labels::CLUSTER) else {
            continue;
        };
        let entry = clusters.entry(name.to_owned()).or_default();
        if label(&container, labels::ROLE).is_some() {
            entry.0 += usize::from(runs(&container));
            entry.1 += 1;
        }
    }
    let options = ListNetworksOptions {
        filters: label_filter(labels::CLUSTER),
    };
    let networks = docker
        .list_networks(Some(options))
        .await
        .map_err(DockerError::at("listing networks"))?;
    let options = ListVolumesOptions {
        filters: label_filter(labels::CLUSTER),
    };
    let volumes = docker
        .list_volumes(Some(options))
        .await
        .map_err(DockerError::at("listing volumes"))?;
    let of_networks = networks.into_iter().filter_map(|network| network.labels);
    let of_volumes = volumes
        .volumes
        .into_iter()
        .flatten()
        .map(|volume| volume.labels);
    for mut labels_found in of_networks.chain(of_volumes) {
        if let Some(name) = labels_found.remove(labels::CLUSTER) {
            clusters.entry(name).or_default();
        }
    }
    Ok(clusters
        .into_iter()
        .map(|(name, (running, parts))| ClusterSummary {
            name,
            running,
            parts,
        })
        .collect())
}

/// What a part has written, oldest first. An unknown component is an error of the first item.
pub fn logs(
    docker: &Docker,
    cluster: &str,
    component: &str,
    request: LogRequest,
) -> BoxStream<'static, Result<Bytes, DockerError>> {
    let name = container_name(cluster, component);
    let options = LogsOptions {
        follow: request.follow,
        stdout: true,
        stderr: true,
        tail: request
            .tail_lines
            .map_or_else(|| "all".to_owned(), |lines| lines.to_string()),
        ..LogsOptions::default()
    };
    docker
        .logs(&name, Some(options))
        .map(move |line| match line {
            Ok(line) => Ok(line.into_bytes()),
            Err(error) => Err(DockerError::at(format!("reading the log of {name}"))(error)),
        })
        .boxed()
}

/// Containers with this label, dead ones included.
pub(super) async fn containers(
    docker: &Docker,
    label: &str,
) -> Result<Vec<ContainerSummary>, DockerError> {
    let options = ListContainersOptions {
        all: true,
        filters: label_filter(label),
        ..ListContainersOptions::default()
    };
    docker
        .list_containers(Some(options))
        .await
        .map_err(DockerError::at("listing containers"))
}

pub(super) fn label<'a>(container: &'a ContainerSummary, label: &str) -> Option<&'a str> {
    container.labels.as_ref()?.get(label).map(String::as_str)
}

pub(super) fn runs(container: &ContainerSummary) -> bool {
    matches!(
        container.state,
        Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED)
    )
}

fn part(cluster: &str, container: &ContainerSummary) -> Option<PartStatus> {
    let role = Role::parse(label(container, labels::ROLE)?)?;
    let name = container
        .names
        .as_ref()?
        .first()?
        .trim_start_matches('/')
        .to_owned();
    let networks = container
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let endpoint = networks.and_then(|networks| networks.get(cluster));
    Some(PartStatus {
        component: label(container, labels::NODE)
            .unwrap_or(role.as_str())
            .to_owned(),
        role,
        running: runs(container),
        status: container.status.clone().unwrap_or_default(),
        image: container.image.clone().unwrap_or_default(),
        address: endpoint.and_then(|endpoint| endpoint.ip_address.as_deref()?.parse().ok()),
        container: name,
    })
}

/// Sorts `node-10` after `node-9`.
fn natural(name: &str) -> (&str, u64) {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (text, number) = name.split_at(name.len() - digits);
    (text, number.parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_listed_as_people_count() {
        let mut names = ["node-10", "node-9", "node-1", "registry"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["node-1", "node-9", "node-10", "registry"]);
    }
}
