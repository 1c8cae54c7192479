//! Pods as the scheduler keeps them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use k8s_openapi::api::core::v1::{Affinity, ObjectReference, Toleration, TopologySpreadConstraint};
use lab_api::objects::controller_of;
use lab_api::pods::Requests;

use crate::watched::WatchedPod;

/// One pod, slim: what its siblings share lies in the template.
#[derive(Clone, Debug, PartialEq)]
pub struct PodInfo {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Uid, the identity in every table of this crate.
    pub uid: Arc<str>,
    /// True once its deletion was asked for; it keeps its room until it is gone.
    pub terminating: bool,
    /// Everything else.
    pub template: Arc<Template>,
}

/// What the pods of one ReplicaSet have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    /// Uid of the controller.
    pub owner: Option<Arc<str>>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Effective requests.
    pub requests: Requests,
    /// Higher goes first.
    pub priority: i32,
    /// `spec.nodeSelector`.
    pub node_selector: BTreeMap<String, String>,
    /// `spec.affinity`.
    pub affinity: Affinity,
    /// `spec.tolerations`.
    pub tolerations: Vec<Toleration>,
    /// `spec.topologySpreadConstraints`.
    pub spread: Vec<TopologySpreadConstraint>,
}

impl PodInfo {
    /// What events about the pod name.
    #[must_use]
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(self.namespace.to_string()),
            name: Some(self.name.to_string()),
            uid: Some(self.uid.to_string()),
            ..ObjectReference::default()
        }
    }
}

impl Template {
    /// True where other pods decide where this one may go, so that a change among them may
    /// give it a place.
    pub(crate) fn looks_at_other_pods(&self) -> bool {
        self.affinity.pod_affinity.is_some()
            || self.affinity.pod_anti_affinity.is_some()
            || !self.spread.is_empty()
    }

    fn read(pod: &WatchedPod) -> Self {
        let spec = &pod.spec;
        Self {
            owner: controller_of(&pod.metadata).map(|owner| Arc::from(owner.uid.as_str())),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            requests: spec.requests(),
            priority: spec.priority.unwrap_or_default(),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            affinity: spec.affinity.clone().unwrap_or_default(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            spread: spec.topology_spread_constraints.clone().unwrap_or_default(),
        }
    }
}

/// Reads pods, and lets the pods of one controller share their template.
#[derive(Debug, Default)]
pub struct Templates {
    latest: HashMap<Arc<str>, Weak<Template>>,
    /// Size at which entries without pods are swept out.
    sweep_at: usize,
}

impl Templates {
    /// The slim form of `pod`.
    pub fn read(&mut self, pod: &WatchedPod) -> PodInfo {
        let meta = &pod.metadata;
        let text = |text: &Option<String>| Arc::from(text.as_deref().unwrap_or_default());
        PodInfo {
            namespace: text(&meta.namespace),
            name: text(&meta.name),
            uid: text(&meta.uid),
            terminating: meta.deletion_timestamp.is_some(),
            template: self.share(Template::read(pod)),
        }
    }

    fn share(&mut self, template: Template) -> Arc<Template> {
        let Some(owner) = template.owner.clone() else {
            return Arc::new(template);
        };
        if let Some(latest) = self.latest.get(&owner).and_then(Weak::upgrade)
            && *latest == template
        {
            return latest;
        }
        let template = Arc::new(template);
        self.latest.insert(owner, Arc::downgrade(&template));
        if self.latest.len() > self.sweep_at {
            self.latest.retain(|_, latest| latest.strong_count() > 0);
            // Doubling keeps the cost of sweeping constant per insertion.
            self.sweep_at = 2 * self.latest.len() + 64;
        }
        template
    }
}
