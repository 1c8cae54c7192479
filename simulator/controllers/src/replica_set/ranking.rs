//! Which pods go first when there are too many.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset>

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use lab_api::names::POD_DELETION_COST;

use crate::pods::PodRecord;

/// How many pods of the same application each node runs.
#[derive(Debug, Default)]
pub(super) struct Siblings(HashMap<String, usize>);

impl Siblings {
    /// Counts `pods` by node.
    pub(super) fn count(pods: &[Arc<PodRecord>]) -> Self {
        let mut by_node = HashMap::new();
        for pod in pods {
            *by_node.entry(pod.node.clone()).or_default() += 1;
        }
        Self(by_node)
    }

    fn of(&self, pod: &PodRecord) -> usize {
        self.0.get(&pod.node).copied().unwrap_or(0)
    }
}

/// The `count` pods to delete.
pub(super) fn first_to_delete(
    pods: &[Arc<PodRecord>],
    count: usize,
    siblings: &Siblings,
    now: Timestamp,
) -> Vec<Arc<PodRecord>> {
    let mut ranked = pods.to_vec();
    ranked.sort_by_cached_key(|pod| rank(pod, siblings, now));
    ranked.truncate(count);
    ranked
}

/// Lower goes first: the pod that serves least, costs least to delete, or is least proven.
///
/// Kubernetes compares ready times within a bucket by uid and only equal times by restarts,
/// which is not a total order; here restarts and age always come before the uid.
fn rank(pod: &PodRecord, siblings: &Siblings, now: Timestamp) -> impl Ord + use<> {
    (
        !pod.node.is_empty(),
        pod.phase,
        pod.ready.holds,
        deletion_cost(pod),
        Reverse(siblings.of(pod)),
        bucket(pod.ready.since.filter(|_| pod.ready.holds), now),
        Reverse(pod.restarts),
        bucket(pod.metadata.creation_timestamp.as_ref().map(|at| at.0), now),
        pod.uid().to_owned(),
    )
}

fn deletion_cost(pod: &PodRecord) -> i32 {
    pod.metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(POD_DELETION_COST)?.parse().ok())
        .unwrap_or(0)
}

/// The age's order of magnitude, so that pods of about one age go in random order and not the
/// youngest always first. An unknown moment counts as younger than any.
fn bucket(since: Option<Timestamp>, now: Timestamp) -> i64 {
    let Some(since) = since else { return -2 };
    let age = now.as_nanosecond() - since.as_nanosecond();
    u128::try_from(age)
        .ok()
        .and_then(u128::checked_ilog2)
        .map_or(-1, i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::record;
    use serde_json::{Value, json};

    const NOW: &str = "2026-01-01T12:00:00Z";

    /// A pod that is as good as can be, changed by `patch`.
    fn pod(uid: &str, patch: Value) -> Arc<PodRecord> {
        let mut base = json!({
            "metadata": {"name": uid, "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "node-1", "containers": []},
            "status": {"phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z"}],
                "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0}]},
        });
        merge(&mut base, patch);
        Arc::new(record(base))
    }

    fn merge(into: &mut Value, patch: Value) {
        match (into, patch) {
            (Value::Object(into), Value::Object(patch)) => {
                for (key, value) in patch {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, patch) => *into = patch,
        }
    }

    /// The pod changed by `worse` is deleted rather than the one changed by `better`, whatever
    /// their uids.
    #[track_caller]
    fn case(worse: &Value, better: &Value) {
        for (worse_uid, better_uid) in [("a", "b"), ("b", "a")] {
            let pods = [
                pod(better_uid, better.clone()),
                pod(worse_uid, worse.clone()),
            ];
            let crowd = [
                pod("x", json!({})),
                pod("y", json!({})),
                pod("z", json!({"spec": {"nodeName": "node-2"}})),
            ];
            let siblings = Siblings::count(&crowd);
            let gone = first_to_delete(&pods, 1, &siblings, NOW.parse().unwrap());
            assert_eq!(gone[0].uid(), worse_uid);
        }
    }

    fn ready_since(at: &str) -> Value {
        json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at}]}})
    }

    #[test]
    fn the_least_useful_pod_goes_first() {
        let good = json!({});
        case(&json!({"spec": {"nodeName": null}}), &good);
        case(&json!({"status": {"phase": "Pending"}}), &good);
        case(
            &json!({"status": {"phase": "Pending"}}),
            &json!({"status": {"phase": "Unknown"}}),
        );
        case(&json!({"status": {"conditions": []}}), &good);
        case(
            &json!({"metadata": {"annotations": {POD_DELETION_COST: "-5"}}}),
            &good,
        );
        case(
            &good,
            &json!({"metadata": {"annotations": {POD_DELETION_COST: "10"}}}),
        );
        case(&good, &json!({"spec": {"nodeName": "node-2"}}));
        case(&ready_since("2026-01-01T11:59:00Z"), &good);
        case(
            &json!({"status": {"containerStatuses": [
                {"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 4}]}}),
            &good,
        );
        case(
            &json!({"metadata": {"creationTimestamp": "2026-01-01T11:00:00Z"}}),
            &good,
        );
    }

    #[test]
    fn an_earlier_criterion_outweighs_all_later_ones() {
        case(
            &json!({"status": {"phase": "Pending"}, "metadata": {"annotations": {POD_DELETION_COST: "1000"}}}),
            &json!({"status": {"conditions": []}, "metadata": {"annotations": {POD_DELETION_COST: "-1000"}}}),
        );
        case(
            &json!({"metadata": {"annotations": {POD_DELETION_COST: "-1"}}, "spec": {"nodeName": "node-2"}}),
            &json!({"status": {"containerStatuses": [
                {"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 9}]}}),
        );
    }

    #[test]
    fn pods_of_about_one_age_go_in_the_order_of_their_uids() {
        let pods = [
            pod("b", ready_since("2026-01-01T00:02:00Z")),
            pod("a", ready_since("2026-01-01T00:01:00Z")),
        ];
        let gone = first_to_delete(&pods, 1, &Siblings::default(), NOW.parse().unwrap());
        assert_eq!(gone[0].uid(), "a");
    }

    #[test]
    fn an_unreadable_deletion_cost_counts_as_none() {
        let odd = pod(
            "a",
            json!({"metadata": {"annotations": {POD_DELETION_COST: "much"}}}),
        );
        assert_eq!(deletion_cost(&odd), 0);
    }
}
