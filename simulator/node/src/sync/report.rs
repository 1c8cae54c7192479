//! What is said of a pod: ends counted, waits explained, the status written.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use lab_api::pods::pod_condition;
use lab_engine::{ContainerState, SandboxStatus};
use serde_json::{Value, json};

use super::{Pass, PassError, PodMemory, Reported};
use crate::duration;
use crate::plan::{BACKOFF_RESET, backoff, latest};
use crate::status::{Observed, Waiting, pod_status};

impl Pass<'_> {
    /// Counts runs that ended early, once each: the measure of the back-off.
    pub(super) fn note_ends(&self, memory: &mut PodMemory, sandbox: Option<&SandboxStatus>) {
        for container in sandbox.into_iter().flat_map(|sandbox| &sandbox.containers) {
            let ContainerState::Exited {
                started_at,
                finished_at,
                ..
            } = container.state
            else {
                continue;
            };
            let is_latest =
                latest(sandbox, &container.name).is_some_and(|run| run.id == container.id);
            if !is_latest || memory.counted.get(&container.name) == Some(&container.id) {
                continue;
            }
            memory
                .counted
                .insert(container.name.clone(), container.id.clone());
            let ran = started_at.map_or(Duration::ZERO, |at| {
                Duration::try_from(finished_at.duration_since(at)).unwrap_or_default()
            });
            let failures = memory.failures.entry(container.name.clone()).or_default();
            *failures = if ran >= self.shared.context.scale(BACKOFF_RESET) {
                1
            } else {
                *failures + 1
            };
        }
    }

    /// Turns waits that outlast this pass into the reasons that people know: a pull that is
    /// being held back, a container that keeps crashing.
    pub(super) fn explain_waits(&self, memory: &mut PodMemory, sandbox: Option<&SandboxStatus>) {
        self.note_held_pulls(memory);
        let Some(spec) = &self.pod.spec else { return };
        let policy = spec.restart_policy.as_deref().unwrap_or("Always");
        for container in spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
        {
            let Some(run) = latest(sandbox, &container.name) else {
                continue;
            };
            match run.state {
                ContainerState::Exited { exit_code, .. }
                    if !memory.retries.contains_key(&container.name) =>
                {
                    let restarts = policy == "Always" || (policy == "OnFailure" && exit_code != 0);
                    let failures = memory.failures.get(&container.name).copied().unwrap_or(0);
                    let pause = backoff(failures);
                    if restarts && !pause.is_zero() {
                        self.note_crash_loop(memory, container, pause);
                    }
                }
                ContainerState::Running { .. } => {
                    memory.waiting.remove(&container.name);
                }
                ContainerState::Created | ContainerState::Exited { .. } => {}
            }
        }
    }

    /// A pull that failed a moment ago is now one that is being held back.
    fn note_held_pulls(&self, memory: &mut PodMemory) {
        let now = self.now();
        let containers = self.pod.spec.iter().flat_map(|spec| {
            let init = spec.init_containers.iter().flatten();
            init.chain(&spec.containers)
        });
        for container in containers {
            let retry = memory.retries.get(&container.name);
            let is_held = retry.is_some_and(|retry| now >= retry.shown_until);
            let waiting = memory.waiting.get_mut(&container.name);
            let Some(waiting) = waiting.filter(|w| is_held && w.reason == "ErrImagePull") else {
                continue;
            };
            let image = container.image.as_deref().unwrap_or_default();
            let message = format!("Back-off pulling image {image:?}");
            waiting.reason = "ImagePullBackOff";
            waiting.message = format!("{message}: ErrImagePull: {}", waiting.message);
            let reference = self.reference_to(container);
            self.events.normal(&reference, "BackOff", message);
            let message = format!("Error: {}", waiting.reason);
            self.events.warning(&reference, "Failed", message);
        }
    }

    pub(super) fn note_crash_loop(
        &self,
        memory: &mut PodMemory,
        container: &Container,
        pause: Duration,
    ) {
        let pod = format!(
            "{}_{}({})",
            self.pod.name_any(),
            self.pod.namespace().unwrap_or_default(),
            self.entry.uid
        );
        let length = duration::text(pause);
        let message = format!(
            "back-off {length} restarting failed container={} pod={pod}",
            container.name
        );
        let waiting = Waiting {
            reason: "CrashLoopBackOff",
            message,
        };
        if memory.waiting.get(&container.name) != Some(&waiting) {
            let text = format!(
                "Back-off restarting failed container {} in pod {pod}",
                container.name
            );
            self.events
                .warning(&self.reference_to(container), "BackOff", text);
            memory.waiting.insert(container.name.clone(), waiting);
        }
    }

    /// Writes the status where it differs from what was written last.
    pub(super) async fn report(
        &self,
        memory: &mut PodMemory,
        sandbox: Option<&SandboxStatus>,
    ) -> Result<(), PassError> {
        // Before the status is made: of the many that may wait here, none holds one meanwhile.
        let _turn = self.shared.writes.acquire().await;
        let status = self.status(memory, sandbox);
        let Ok(status) = serde_json::to_value(&status) else {
            return Ok(());
        };
        let fingerprint = fingerprint(&status);
        if let Some(reported) = &memory.reported
            && reported.fingerprint == fingerprint
            && !overruled(self.pod, reported.revision, &status)
        {
            return Ok(());
        }
        if self.shared.is_cut_off(self.pod) {
            return Err(PassError::CutOff);
        }
        let patch = json!({"metadata": {"uid": self.entry.uid}, "status": with_nulls(status)});
        let written = self
            .api()
            .patch_status(
                &self.pod.name_any(),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await;
        match written {
            Ok(pod) => {
                memory.reported = Some(Reported {
                    fingerprint,
                    revision: revision(&pod),
                })
            }
            // Gone, or replaced by a namesake: the watch will say.
            Err(kube::Error::Api(refused)) if refused.code == 404 || refused.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn status(&self, memory: &PodMemory, sandbox: Option<&SandboxStatus>) -> PodStatus {
        let runtime = self.engine().runtime_version();
        let verdicts = &self.entry.verdicts;
        let observed = Observed {
            pod: self.pod,
            node: self.node,
            sandbox,
            waiting: &memory.waiting,
            lost: &memory.lost,
            earlier_runs: &memory.earlier_runs,
            verdict: &|container, run| {
                (
                    verdicts.started(container, run),
                    verdicts.ready(container, run),
                )
            },
            runtime: &runtime,
            now: self.now(),
        };
        pod_status(&observed)
    }
}

/// True where somebody else wrote another readiness after our last write: the control plane takes
/// pods of a silent node for not ready, and does not take that back when the node returns.
fn overruled(pod: &Pod, reported: u64, status: &Value) -> bool {
    let ours = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready")
        .and_then(|condition| condition["status"].as_str());
    let theirs = pod_condition(pod, "Ready").map(|condition| condition.status.as_str());
    revision(pod) > reported && theirs.is_some() && theirs != ours
}

/// Revisions of this API server are numbers that grow.
pub(super) fn revision(pod: &Pod) -> u64 {
    pod.resource_version()
        .and_then(|revision| revision.parse().ok())
        .unwrap_or(0)
}

/// A merge patch keeps what it does not name, so what must vanish is named as null.
fn with_nulls(mut status: Value) -> Value {
    if let Some(map) = status.as_object_mut() {
        for field in ["reason", "message"] {
            map.entry(field).or_insert(Value::Null);
        }
    }
    status
}

/// Tells statuses apart by all but the moments at which conditions changed: those of unchanged
/// conditions are kept from the pod as last seen, which may lag behind.
fn fingerprint(status: &Value) -> u64 {
    fn feed(value: &Value, hasher: &mut DefaultHasher) {
        match value {
            Value::Object(fields) => {
                let timeless = |key: &str| !matches!(key, "lastTransitionTime" | "startTime");
                for (key, value) in fields.iter().filter(|(key, _)| timeless(key)) {
                    key.hash(hasher);
                    feed(value, hasher);
                }
                "}".hash(hasher);
            }
            Value::Array(items) => {
                items.iter().for_each(|item| feed(item, hasher));
                "]".hash(hasher);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                value.hash(hasher);
            }
        }
    }
    let mut hasher = DefaultHasher::new();
    feed(status, &mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(revision: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"resourceVersion": revision},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    #[track_caller]
    fn case(pod: &Pod, expected: bool) {
        let status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(overruled(pod, 10, &status), expected);
    }

    #[test]
    fn a_readiness_that_was_taken_away_is_given_back() {
        case(&pod("11", "False"), true);
    }

    #[test]
    fn statuses_differ_in_everything_but_the_moments_of_change() {
        let status = |ready: &str, at: &str| {
            json!({"startTime": at, "conditions": [
                {"type": "Ready", "status": ready, "lastTransitionTime": at}]})
        };
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:09Z");
        assert_eq!(
            fingerprint(&status("True", early)),
            fingerprint(&status("True", late))
        );
        assert_ne!(
            fingerprint(&status("True", early)),
            fingerprint(&status("False", early))
        );
        assert_ne!(
            fingerprint(&json!([["a"], "b"])),
            fingerprint(&json!([["a", "b"]]))
        );
    }

    #[test]
    fn an_old_view_of_the_pod_is_no_contradiction() {
        case(&pod("9", "False"), false);
        case(&pod("11", "True"), false);
    }
}
