//! Questions that many parts ask of a pod.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec};

use crate::quantity::{cpu_millis, memory_bytes};

/// The condition of this type, if the pod has it.
#[must_use]
pub fn pod_condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == type_)
}

/// True where the pod's Ready condition is True.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    pod_condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// True where the pod has been ready for at least `min_ready`.
#[must_use]
pub fn is_available(pod: &Pod, min_ready: Duration, now: Timestamp) -> bool {
    let Some(ready) = pod_condition(pod, "Ready").filter(|condition| condition.status == "True")
    else {
        return false;
    };
    min_ready.is_zero()
        || ready.last_transition_time.as_ref().is_some_and(|since| {
            u64::try_from(now.as_second() - since.0.as_second())
                .is_ok_and(|age| age >= min_ready.as_secs())
        })
}

/// The pod's phase; `Pending` before anybody wrote one.
#[must_use]
pub fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

/// True where the pod ran to its end.
#[must_use]
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// True where the pod counts as a replica: neither finished nor being deleted.
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// What a pod asks of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

/// The pod's effective requests: the sum over containers, or the largest init container where
/// that is more (init containers run one at a time, before the others).
#[must_use]
pub fn requests(spec: &PodSpec) -> Requests {
    let of = |container: &k8s_openapi::api::core::v1::Container| {
        let requests = container
            .resources
            .as_ref()
            .and_then(|r| r.requests.as_ref());
        Requests {
            cpu_millis: cpu_millis(requests.and_then(|r| r.get("cpu"))),
            memory_bytes: memory_bytes(requests.and_then(|r| r.get("memory"))),
        }
    };
    let running = spec
        .containers
        .iter()
        .map(of)
        .fold(Requests::default(), |sum, one| Requests {
            cpu_millis: sum.cpu_millis.saturating_add(one.cpu_millis),
            memory_bytes: sum.memory_bytes.saturating_add(one.memory_bytes),
        });
    spec.init_containers
        .iter()
        .flatten()
        .map(of)
        .fold(running, |most, one| Requests {
            cpu_millis: most.cpu_millis.max(one.cpu_millis),
            memory_bytes: most.memory_bytes.max(one.memory_bytes),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(value: serde_json::Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_pod_is_available_only_after_its_min_ready_time() {
        let pod = pod(json!({"metadata": {}, "status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(is_available(
            &pod,
            Duration::ZERO,
            at("2026-01-01T00:00:00Z")
        ));
        assert!(!is_available(
            &pod,
            Duration::from_secs(10),
            at("2026-01-01T00:00:09Z")
        ));
        assert!(is_available(
            &pod,
            Duration::from_secs(10),
            at("2026-01-01T00:00:10Z")
        ));
    }

    #[test]
    fn the_largest_init_container_can_dominate_the_requests() {
        let pod = pod(json!({"metadata": {}, "spec": {
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "2"}}}],
            "containers": [
                {"name": "a", "resources": {"requests": {"cpu": "500m", "memory": "1Mi"}}},
                {"name": "b", "resources": {"requests": {"cpu": "250m"}}}]}}));
        let expected = Requests {
            cpu_millis: 2000,
            memory_bytes: 1 << 20,
        };
        assert_eq!(requests(pod.spec.as_ref().unwrap()), expected);
    }
}
