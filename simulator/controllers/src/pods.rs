//! What the controllers keep of a pod.
//!
//! A pod as the API serves it takes several kilobytes in memory; a hundred thousand of them
//! would be half a gigabyte. This record takes a tenth.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodStatus, PodTemplateSpec, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use lab_api::names;
use lab_api::objects::controller_reference;

use crate::runner::{Cached, Index};

/// How far a pod has come in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not all containers have started.
    #[default]
    Pending,
    /// Nobody has heard of the pod.
    Unknown,
    /// At least one container runs, or is about to again.
    Running,
    /// All containers ended well, for good.
    Succeeded,
    /// All containers ended, for good, and not all well.
    Failed,
}

/// A port that a container names, for Services that refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedPort {
    /// Name.
    pub name: String,
    /// Number.
    pub port: i32,
    /// TCP, UDP or SCTP.
    pub protocol: String,
}

/// A pod, reduced to what controllers look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PodRecord {
    /// Metadata; of the annotations only the deletion cost is kept.
    pub metadata: ObjectMeta,
    /// The node it is bound to; empty before.
    pub node: String,
    /// Phase.
    pub phase: Phase,
    /// Address, once it has one.
    pub ip: Option<String>,
    /// Since when it has been ready, or unready.
    pub ready: Ready,
    /// Restarts of the container that restarted most.
    pub restarts: i32,
    /// `spec.tolerations`.
    pub tolerations: Vec<Toleration>,
    /// Ports that have a name.
    pub named_ports: Vec<NamedPort>,
    /// `spec.hostname`.
    pub hostname: Option<String>,
    /// `spec.subdomain`.
    pub subdomain: Option<String>,
}

/// A new pod from the template of its owner, which controls it; the server adds to its name.
pub(crate) fn from_template<K>(owner: &K, template: PodTemplateSpec) -> Pod
where
    K: Resource<DynamicType = ()>,
{
    let wanted = template.metadata.unwrap_or_default();
    let name = owner.meta().name.as_deref().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: owner.meta().namespace.clone(),
            labels: wanted.labels,
            annotations: wanted.annotations,
            finalizers: wanted.finalizers,
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// A pod's Ready condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ready {
    /// True where the condition is True.
    pub holds: bool,
    /// Since when.
    pub since: Option<Timestamp>,
}

impl PodRecord {
    /// Uid.
    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Namespace.
    pub(crate) fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Name.
    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// What an event about the pod names.
    pub(crate) fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: self.metadata.namespace.clone(),
            name: self.metadata.name.clone(),
            uid: self.metadata.uid.clone(),
            resource_version: self.metadata.resource_version.clone(),
            field_path: None,
        }
    }

    /// True where somebody has asked for its deletion.
    pub(crate) fn is_terminating(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// True where it ran to its end.
    pub(crate) fn is_finished(&self) -> bool {
        match self.phase {
            Phase::Succeeded | Phase::Failed => true,
            Phase::Pending | Phase::Unknown | Phase::Running => false,
        }
    }

    /// True where it counts as a replica: neither finished nor being deleted.
    pub(crate) fn is_active(&self) -> bool {
        !self.is_finished() && !self.is_terminating()
    }

    /// When a pod that is ready becomes (or became) available; `None` while it is not ready.
    pub(crate) fn available_at(&self, min_ready: Duration) -> Option<Timestamp> {
        if !self.ready.holds {
            return None;
        }
        let since = self.ready.since.unwrap_or(Timestamp::MIN);
        Some(since.checked_add(min_ready).unwrap_or(Timestamp::MAX))
    }

    /// True where it has been ready for at least `min_ready`.
    pub(crate) fn is_available(&self, min_ready: Duration, now: Timestamp) -> bool {
        self.ready.holds
            && (min_ready.is_zero() || self.available_at(min_ready).is_some_and(|at| at <= now))
    }
}

impl Cached for PodRecord {
    type Object = Pod;

    fn from_object(pod: Pod) -> Self {
        let spec = pod.spec.unwrap_or_default();
        let status = pod.status.unwrap_or_default();
        let named_ports = spec
            .containers
            .iter()
            .flat_map(|container| container.ports.iter().flatten())
            .filter_map(|port| {
                Some(NamedPort {
                    name: port.name.clone()?,
                    port: port.container_port,
                    protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                })
            })
            .collect();
        Self {
            metadata: slim(pod.metadata),
            node: spec.node_name.unwrap_or_default(),
            phase: phase(&status),
            ready: ready(&status),
            restarts: status
                .container_statuses
                .iter()
                .flatten()
                .map(|container| container.restart_count)
                .max()
                .unwrap_or(0),
            ip: status.pod_ip.filter(|ip| !ip.is_empty()),
            tolerations: spec.tolerations.unwrap_or_default(),
            named_ports,
            hostname: spec.hostname,
            subdomain: spec.subdomain,
        }
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn indexes(&self) -> Vec<Index> {
        let namespace = self.namespace();
        let labels = self
            .metadata
            .labels
            .iter()
            .flatten()
            .map(|(key, value)| Index::Label {
                namespace: namespace.to_owned(),
                key: key.clone(),
                value: value.clone(),
            });
        [Index::owner(&self.metadata), Index::Node(self.node.clone())]
            .into_iter()
            .chain(labels)
            .collect()
    }
}

fn slim(mut metadata: ObjectMeta) -> ObjectMeta {
    metadata.managed_fields = None;
    metadata.annotations = metadata
        .annotations
        .and_then(|mut all| all.remove_entry(names::POD_DELETION_COST))
        .map(|cost| [cost].into());
    metadata
}

fn phase(status: &PodStatus) -> Phase {
    match status.phase.as_deref() {
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some("Unknown") => Phase::Unknown,
        Some(_) | None => Phase::Pending,
    }
}

fn ready(status: &PodStatus) -> Ready {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready")
        .map(|condition| Ready {
            holds: condition.status == "True",
            since: condition.last_transition_time.as_ref().map(|at| at.0),
        })
        .unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The record of a pod written as JSON; namespace `default` unless it says otherwise.
    pub(crate) fn record(mut pod: Value) -> PodRecord {
        let metadata = pod["metadata"].as_object_mut().unwrap();
        metadata
            .entry("namespace")
            .or_insert_with(|| json!("default"));
        PodRecord::from_object(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_is_available_after_its_min_ready_time() {
        let pod = record(
            json!({"metadata": {"name": "a"}, "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}),
        );
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let ten = Duration::from_secs(10);
        assert!(pod.is_available(Duration::ZERO, at("2026-01-01T00:00:00Z")));
        assert!(!pod.is_available(ten, at("2026-01-01T00:00:09Z")));
        assert!(pod.is_available(ten, at("2026-01-01T00:00:10Z")));
        assert_eq!(pod.available_at(ten), Some(at("2026-01-01T00:00:10Z")));
    }

    #[test]
    fn a_pod_is_found_by_its_labels_and_its_node() {
        let pod = record(
            json!({"metadata": {"name": "a", "labels": {"app": "web"}}, "spec": {"nodeName": "node-1", "containers": []}}),
        );
        let indexes = pod.indexes();
        assert!(indexes.contains(&Index::Node("node-1".into())));
        assert!(indexes.contains(&Index::Label {
            namespace: "default".into(),
            key: "app".into(),
            value: "web".into()
        }));
        assert!(indexes.contains(&Index::Orphan("default".into())));
    }
}
