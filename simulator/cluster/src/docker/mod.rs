//! The cluster's own containers on a Docker daemon: what they are made from, how they come up,
//! stop, come back and go.
//!
//! Every part is one container from one image, and that image is this program's own
//! executable. All of them, and their network and volumes, carry the label
//! `devops-lab.cluster`, so that [`remove_all`] finds what an interrupted start left behind.
//! What runs *inside* the containers is not known here: their configuration is passed on as
//! text. Pods are not made here either, but by the agents in the node containers.
//!
//! The order of a start: [`Daemon::connect`], [`import_system_image`] beside
//! [`claim_network`], a [`DockerPlan`], [`bring_up`]. Start reading at [`DockerPlan`].

mod addresses;
mod anchor;
mod bring_up;
mod daemon;
mod inventory;
mod lifecycle;
mod local_route;
mod network;
mod plan;
mod save;
mod system_image;

pub use addresses::{ClusterNetwork, MAX_NODES};
pub use anchor::{SignalWatch, protect_agent};
pub use bring_up::{BringUpError, Progress, bring_up, start_part};
pub use daemon::{Daemon, DaemonError};
pub use inventory::{ClusterSummary, LogRequest, PartStatus, list, list_clusters, logs};
pub use lifecycle::{Removed, kill, remove_all, remove_node, start_existing, stop};
pub use local_route::add_local_route;
pub use network::{NetworkError, claim_network};
pub use plan::{DockerPlan, NodePlan, Ports, Role, STATE_DIR};
pub use save::{SaveError, save};
pub use system_image::{
    ImageError, RUNTIME_IMAGE, SystemImage, import_images, import_system_image,
};

use std::collections::HashMap;

/// Calls to the daemon at a time where the order does not matter; measured: more delete no
/// faster.
const CONCURRENT_CALLS: usize = 8;

/// A call to the daemon that failed.
#[derive(Debug, thiserror::Error)]
#[error("Docker failed at {doing}")]
pub struct DockerError {
    doing: String,
    source: bollard::errors::Error,
}

impl DockerError {
    /// For `map_err`: says what was being done.
    fn at(doing: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let doing = doing.into();
        move |source| Self { doing, source }
    }
}

/// The HTTP status and the words of the daemon's refusal.
fn refusal(error: &bollard::errors::Error) -> (u16, &str) {
    match error {
        bollard::errors::Error::DockerResponseServerError {
            status_code,
            message,
        } => (*status_code, message),
        _ => (0, ""),
    }
}

/// `Ok` where the error only says that the thing is not there.
fn gone_is_fine(result: Result<(), bollard::errors::Error>) -> Result<(), bollard::errors::Error> {
    match result {
        Err(error) if refusal(&error).0 == 404 => Ok(()),
        other => other,
    }
}

/// A `label` filter for the daemon's listings. A label without value matches any value.
fn label_filter(label: &str) -> Option<HashMap<String, Vec<String>>> {
    Some(HashMap::from([(
        "label".to_owned(),
        vec![label.to_owned()],
    )]))
}

/// The label that marks a thing as the cluster's, as `key=value`.
fn cluster_label(cluster: &str) -> String {
    format!("{}={cluster}", lab_engine::docker::labels::CLUSTER)
}
