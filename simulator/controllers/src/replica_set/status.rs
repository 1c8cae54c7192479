//! What a ReplicaSet reports of its pods.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::min_ready;
use crate::patch::nonzero;
use crate::pods::PodRecord;
use crate::runner::Error;

/// Why the pods are not as they should be, for the condition ReplicaFailure.
#[derive(Debug)]
pub(super) struct Failure {
    reason: &'static str,
    /// What the API refused.
    pub error: Error,
}

impl Failure {
    /// A pod could not be created.
    pub(super) fn create(error: Error) -> Self {
        let reason = "FailedCreate";
        Self { reason, error }
    }

    /// A pod could not be deleted.
    pub(super) fn delete(error: Error) -> Self {
        let reason = "FailedDelete";
        Self { reason, error }
    }
}

/// The status of a ReplicaSet with these `active` pods.
pub(super) fn observe(
    replica_set: &ReplicaSet,
    active: &[Arc<PodRecord>],
    failure: Option<&Failure>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let min_ready = min_ready(replica_set);
    let count = |holds: &dyn Fn(&PodRecord) -> bool| {
        i32::try_from(active.iter().filter(|pod| holds(pod)).count()).unwrap_or(i32::MAX)
    };
    let conditions = conditions(replica_set, failure, now);
    ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: nonzero(count(&|pod| has_template_labels(replica_set, pod))),
        ready_replicas: nonzero(count(&|pod| pod.ready.holds)),
        available_replicas: nonzero(count(&|pod| pod.is_available(min_ready, now))),
        observed_generation: replica_set.metadata.generation,
        conditions: (!conditions.is_empty()).then_some(conditions),
        // Behind a feature gate upstream.
        terminating_replicas: None,
    }
}

/// How long until the next ready pod counts as available.
pub(super) fn next_available(
    replica_set: &ReplicaSet,
    active: &[Arc<PodRecord>],
    now: Timestamp,
) -> Option<Duration> {
    let min_ready = min_ready(replica_set);
    active
        .iter()
        .filter_map(|pod| pod.available_at(min_ready))
        .filter(|at| *at > now)
        .min()
        .and_then(|at| Duration::try_from(at.duration_since(now)).ok())
}

fn has_template_labels(replica_set: &ReplicaSet, pod: &PodRecord) -> bool {
    let template = replica_set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.as_ref()?.metadata.as_ref()?.labels.as_ref());
    let labels = pod.metadata.labels.as_ref();
    template
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

fn conditions(
    replica_set: &ReplicaSet,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Vec<ReplicaSetCondition> {
    let before = replica_set
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let (failed, mut others): (Vec<_>, Vec<_>) = before
        .cloned()
        .partition(|condition| condition.type_ == "ReplicaFailure");
    if let Some(failure) = failure {
        let since = failed
            .into_iter()
            .find(|condition| condition.reason.as_deref() == Some(failure.reason))
            .and_then(|condition| condition.last_transition_time);
        others.push(ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some(failure.reason.to_owned()),
            message: Some(failure.error.answer()),
            last_transition_time: Some(since.unwrap_or(Time(now))),
        });
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::record;
    use serde_json::json;

    #[test]
    fn pods_are_counted_as_labelled_ready_and_available() {
        let replica_set: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": 4},
            "spec": {"minReadySeconds": 10, "selector": {}, "template": {"metadata": {"labels": {"app": "web"}}}}}))
        .unwrap();
        let ready =
            |at: &str| json!([{"type": "Ready", "status": "True", "lastTransitionTime": at}]);
        let pod = |name: &str, app: &str, conditions: serde_json::Value| {
            Arc::new(record(
                json!({"metadata": {"name": name, "labels": {"app": app}},
                "status": {"phase": "Running", "conditions": conditions}}),
            ))
        };
        let pods = [
            pod("old", "web", ready("2026-01-01T00:00:00Z")),
            pod("new", "web", ready("2026-01-01T00:00:07Z")),
            pod("starting", "other", json!([])),
        ];
        let now = "2026-01-01T00:00:10Z".parse().unwrap();
        let expected = ReplicaSetStatus {
            replicas: 3,
            fully_labeled_replicas: Some(2),
            ready_replicas: Some(2),
            available_replicas: Some(1),
            observed_generation: Some(4),
            ..ReplicaSetStatus::default()
        };
        assert_eq!(observe(&replica_set, &pods, None, now), expected);
        assert_eq!(
            next_available(&replica_set, &pods, now),
            Some(Duration::from_secs(7))
        );
        assert_eq!(next_available(&replica_set, &pods[..1], now), None);
    }
}
