//! The labels by which the cluster finds its own containers, networks and volumes again.
//!
//! Everything that is made on a daemon carries at least [`CLUSTER`], so that one listing finds
//! all of it, also what an interrupted start left behind.

use std::collections::HashMap;

use crate::{SandboxConfig, SandboxId};

/// Name of the cluster that owns the thing.
pub const CLUSTER: &str = "devops-lab.cluster";
/// What a container of the cluster itself is for (`control-plane`, `node` …); absent on pods.
pub const ROLE: &str = "devops-lab.role";
/// Name of the node, on node containers and on everything of their pods.
pub const NODE: &str = "devops-lab.node";
/// Namespace of the pod.
pub const POD_NAMESPACE: &str = "devops-lab.pod-namespace";
/// Name of the pod.
pub const POD_NAME: &str = "devops-lab.pod-name";
/// Uid of the pod.
pub const POD_UID: &str = "devops-lab.pod-uid";
/// Name of the container within its pod; absent on the holder of a shared sandbox.
pub const CONTAINER: &str = "devops-lab.container";
/// How often the container was started before.
pub const ATTEMPT: &str = "devops-lab.attempt";
/// The container's own CPU limit in thousandths of a core; absent where it has none. A slow node
/// changes the limit, and must know to what it goes back.
pub(super) const CPU_LIMIT: &str = "devops-lab.cpu-limit-millis";
/// Name of the volume, on containers that only carry one for a moment.
pub(super) const OPENER: &str = "devops-lab.opener";
/// Id of the sandbox.
pub const SANDBOX: &str = "devops-lab.sandbox";
/// The sandbox's configuration as JSON, its address included.
pub const SANDBOX_CONFIG: &str = "devops-lab.sandbox-config";
/// When the node was started under which the sandbox was made: a sandbox of an earlier life of
/// the node is dead.
pub const NODE_BOOT: &str = "devops-lab.node-boot";

/// A sandbox as the labels of any of its containers describe it.
#[derive(Clone, Debug)]
pub(super) struct SandboxIdentity {
    pub(super) id: SandboxId,
    /// With its address filled in.
    pub(super) config: SandboxConfig,
    /// [`NODE_BOOT`].
    pub(super) boot: String,
}

/// Which part of a sandbox a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Holds the network for the others.
    Holder,
    /// Is never started: it carries a volume while the daemon opens it to all users.
    Opener { volume: String },
    /// Runs one of the pod's containers.
    Container { name: String, attempt: u32 },
}

impl SandboxIdentity {
    /// The labels of one part of this sandbox.
    pub(super) fn labels(&self, cluster: &str, node: &str, part: &Part) -> HashMap<String, String> {
        let config = serde_json::to_string(&self.config).expect("a sandbox configuration is JSON");
        let mut labels: HashMap<String, String> = [
            (CLUSTER, cluster),
            (NODE, node),
            (POD_NAMESPACE, &self.config.namespace),
            (POD_NAME, &self.config.name),
            (POD_UID, &self.config.uid),
            (SANDBOX, &self.id.0),
            (SANDBOX_CONFIG, &config),
            (NODE_BOOT, &self.boot),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        match part {
            Part::Holder => {}
            Part::Opener { volume } => {
                labels.insert(OPENER.to_owned(), volume.clone());
            }
            Part::Container { name, attempt } => {
                labels.insert(CONTAINER.to_owned(), name.clone());
                labels.insert(ATTEMPT.to_owned(), attempt.to_string());
            }
        }
        labels
    }

    /// Reads the labels back; `None` where they are not those of a sandbox.
    pub(super) fn read(labels: &HashMap<String, String>) -> Option<(Self, Part)> {
        let identity = Self {
            id: SandboxId(labels.get(SANDBOX)?.clone()),
            config: serde_json::from_str(labels.get(SANDBOX_CONFIG)?).ok()?,
            boot: labels.get(NODE_BOOT)?.clone(),
        };
        let part = match (labels.get(CONTAINER), labels.get(OPENER)) {
            (None, None) => Part::Holder,
            (None, Some(volume)) => Part::Opener {
                volume: volume.clone(),
            },
            (Some(name), _) => Part::Container {
                name: name.clone(),
                attempt: labels.get(ATTEMPT)?.parse().ok()?,
            },
        };
        Some((identity, part))
    }
}

/// A `label` filter for the daemon's listings: all of these must hold.
pub(super) fn filter(labels: &[(&str, &str)]) -> Option<HashMap<String, Vec<String>>> {
    let wanted = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Some(HashMap::from([("label".to_owned(), wanted)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> SandboxIdentity {
        SandboxIdentity {
            id: SandboxId("u1-abcde".into()),
            config: SandboxConfig {
                namespace: "default".into(),
                name: "web-1".into(),
                uid: "u1".into(),
                ip: Some("10.89.2.2".parse().unwrap()),
                ..SandboxConfig::default()
            },
            boot: "2026-01-01T00:00:00Z".into(),
        }
    }

    #[track_caller]
    fn check_round_trip(part: &Part) {
        let labels = identity().labels("lab", "node-1", part);
        let (read, read_part) = SandboxIdentity::read(&labels).expect("labels of a sandbox");
        assert_eq!(read_part, *part);
        assert_eq!(read.id, identity().id);
        assert_eq!(read.boot, identity().boot);
        assert_eq!(read.config.ip, identity().config.ip);
    }

    #[test]
    fn a_sandbox_is_recognised_by_the_labels_it_was_given() {
        check_round_trip(&Part::Holder);
        check_round_trip(&Part::Opener { volume: "v".into() });
        check_round_trip(&Part::Container {
            name: "app".into(),
            attempt: 3,
        });
    }

    #[test]
    fn a_container_of_somebody_else_is_not_taken_for_a_sandbox() {
        let role = HashMap::from([(CLUSTER.to_owned(), "lab".to_owned())]);
        assert!(SandboxIdentity::read(&role).is_none());
    }
}
