//! A ReplicaSet as the decisions about a Rollout see it.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use lab_api::rollouts::{DESIRED_REPLICAS, POD_TEMPLATE_HASH, REVISION, SCALE_DOWN_DEADLINE};

use crate::deployment::size::wanted;

/// One ReplicaSet of a Rollout.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// The object as the cache has it.
    pub object: Arc<ReplicaSet>,
    /// Name.
    pub name: String,
    /// Hash of its template.
    pub hash: String,
    /// `spec.replicas`, as far as it has been decided.
    pub wanted: i32,
    /// Pods that exist.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that are available.
    pub available: i32,
    /// When it was created.
    pub created: Timestamp,
    /// Its revision; 0 where it has none yet.
    pub revision: i64,
    /// What the Rollout wanted in all when it last resized this ReplicaSet.
    pub noted: Option<i32>,
    /// When it is to be scaled down, as written.
    pub deadline: Option<String>,
}

impl Set {
    /// Reads what matters of a ReplicaSet.
    pub(super) fn of(object: &Arc<ReplicaSet>) -> Self {
        let meta = &object.metadata;
        let note = |key: &str| meta.annotations.as_ref()?.get(key).cloned();
        let status = object.status.clone().unwrap_or_default();
        let hash = meta
            .labels
            .as_ref()
            .and_then(|labels| labels.get(POD_TEMPLATE_HASH));
        Self {
            name: meta.name.clone().unwrap_or_default(),
            hash: hash.cloned().unwrap_or_default(),
            wanted: wanted(object),
            replicas: status.replicas,
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            created: meta
                .creation_timestamp
                .as_ref()
                .map_or(Timestamp::MIN, |at| at.0),
            revision: note(REVISION)
                .and_then(|number| number.parse().ok())
                .unwrap_or(0),
            noted: note(DESIRED_REPLICAS).and_then(|number| number.parse().ok()),
            deadline: note(SCALE_DOWN_DEADLINE),
            object: Arc::clone(object),
        }
    }

    /// The moment of its deadline, where it has one that can be read.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.deadline.as_ref()?.parse().ok()
    }

    /// True where all the pods it asks for are available, and it asks for any.
    pub(super) fn is_available(&self) -> bool {
        self.wanted > 0 && self.available >= self.wanted
    }

    /// True where it is as large as the Rollout wants to be, and says so.
    pub(super) fn is_saturated(&self, replicas: i32) -> bool {
        self.wanted == replicas && self.available == replicas && self.noted == Some(replicas)
    }

    /// Pods that count when others are to be scaled down. Pods of a ReplicaSet whose own
    /// availability does not matter count even if they never come up, lest a broken version
    /// block its replacement.
    pub(super) fn counted(&self, whether_available_or_not: bool) -> i32 {
        if whether_available_or_not || self.wanted < self.available {
            self.wanted
        } else {
            self.available
        }
    }
}
