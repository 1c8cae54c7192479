//! The cluster's bridge network.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use lab_engine::docker::labels;

use super::addresses::{Block, ClusterNetwork};
use super::{DockerError, refusal};

/// Somebody else may take a block between looking and creating; more than a few such accidents
/// in a row are no accident.
const ATTEMPTS: usize = 5;

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Every block overlaps with a network that is there.
    #[error(
        "no block of addresses from 10.89.0.0/16 to 10.120.0.0/16 is free; docker network ls lists \
         Docker's networks, and docker network prune removes unused ones"
    )]
    NoneFree,
    /// The name belongs to a network that is not ours.
    #[error(
        "a Docker network {name:?} exists that no cluster made; choose another --name, or remove it \
         (docker network rm {name})"
    )]
    NotOurs {
        /// Its name.
        name: String,
    },
    /// The daemon failed.
    #[error(transparent)]
    Docker(#[from] DockerError),
}

/// The cluster's network: the one that is there, or a new one on a free block of addresses.
///
/// # Errors
///
/// Where no block is free, or the daemon refuses.
pub async fn claim_network(docker: &Docker, cluster: &str) -> Result<ClusterNetwork, NetworkError> {
    if let Some(present) = present(docker, cluster).await? {
        return Ok(present);
    }
    let mut refused = Vec::new();
    for _ in 0..ATTEMPTS {
        let mut taken = taken(docker).await?;
        taken.extend(refused.iter().copied());
        let network = ClusterNetwork::choose(&taken).ok_or(NetworkError::NoneFree)?;
        match docker.create_network(request(cluster, network)).await {
            Ok(_) => return Ok(network),
            // "Pool overlaps with other one on this address space".
            Err(error) if refusal(&error).1.contains("overlap") => {
                refused.extend(Block::parse(&network.subnet()));
            }
            Err(error) => {
                return Err(DockerError::at("creating the cluster's network")(error).into());
            }
        }
    }
    Err(NetworkError::NoneFree)
}

async fn present(docker: &Docker, cluster: &str) -> Result<Option<ClusterNetwork>, NetworkError> {
    let found = match docker.inspect_network(cluster, None).await {
        Ok(found) => found,
        Err(error) if refusal(&error).0 == 404 => return Ok(None),
        Err(error) => {
            return Err(DockerError::at("looking for the cluster's network")(error).into());
        }
    };
    let ours = found
        .labels
        .is_some_and(|found| found.get(labels::CLUSTER).is_some_and(|c| c == cluster));
    let blocks = found.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    let network = blocks
        .iter()
        .find_map(|block| ClusterNetwork::parse(block.subnet.as_deref()?));
    match network.filter(|_| ours) {
        Some(network) => Ok(Some(network)),
        None => Err(NetworkError::NotOurs {
            name: cluster.to_owned(),
        }),
    }
}

/// Blocks of Docker's own networks and of whatever else this machine has routes to, such as a
/// company's VPN.
async fn taken(docker: &Docker) -> Result<Vec<Block>, NetworkError> {
    let networks = docker
        .list_networks(None)
        .await
        .map_err(DockerError::at("listing networks"))?;
    let blocks = networks
        .into_iter()
        .filter_map(|network| network.ipam?.config)
        .flatten();
    let mut taken: Vec<Block> = blocks
        .filter_map(|block| Block::parse(block.subnet.as_deref()?))
        .collect();
    // Absent where Docker lives in a virtual machine of its own; then its routes are unknown.
    if let Ok(table) = tokio::fs::read_to_string("/proc/net/route").await {
        taken.extend(Block::of_routes(&table));
    }
    Ok(taken)
}

fn request(cluster: &str, network: ClusterNetwork) -> NetworkCreateRequest {
    let block = IpamConfig {
        subnet: Some(network.subnet()),
        // Our own addresses lie outside, so that Docker never gives one of them away.
        ip_range: Some(network.dynamic_range()),
        gateway: Some(network.bridge().to_string()),
        ..IpamConfig::default()
    };
    NetworkCreateRequest {
        name: cluster.to_owned(),
        driver: Some("bridge".to_owned()),
        ipam: Some(Ipam {
            config: Some(vec![block]),
            ..Ipam::default()
        }),
        labels: Some(HashMap::from([(
            labels::CLUSTER.to_owned(),
            cluster.to_owned(),
        )])),
        ..NetworkCreateRequest::default()
    }
}
