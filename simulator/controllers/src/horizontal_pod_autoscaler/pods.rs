//! Which of a workload's pods count how, when their use is averaged.
//!
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details>

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use lab_api::pods::{phase, pod_condition};
use lab_api::quantity::parse_millis;

/// A pod, reduced to what the arithmetic looks at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PodView {
    pub(super) name: String,
    pub(super) phase: String,
    pub(super) terminating: bool,
    pub(super) started: Option<Timestamp>,
    /// The Ready condition and since when it is so.
    pub(super) ready: Option<(bool, Timestamp)>,
    /// Containers in their order, with what they request of each resource, in thousandths.
    pub(super) requests: Vec<(String, BTreeMap<String, i64>)>,
}

/// The use of one pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// In thousandths of the unit.
    pub(super) milli: i64,
    /// End of the window.
    pub(super) time: Timestamp,
    /// Length of the window.
    pub(super) window: Duration,
}

/// The use of a workload's pods, by name.
pub(super) type Samples = BTreeMap<String, Sample>;

/// How long a pod's CPU is doubted after its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Within this time of its start, a pod's CPU counts only while it is ready.
    pub(super) cpu_initialization: Duration,
    /// A pod that became unready this soon after its start has never been ready.
    pub(super) initial_readiness: Duration,
}

/// Pods by how they count.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Groups {
    /// How many count fully.
    pub(super) ready: usize,
    /// Not ready yet.
    pub(super) unready: Vec<String>,
    /// Running, without a sample.
    pub(super) missing: Vec<String>,
    /// Ended or ending.
    pub(super) ignored: Vec<String>,
}

impl PodView {
    pub(super) fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let ready = pod_condition(pod, "Ready").and_then(|condition| {
            let since = condition.last_transition_time.as_ref()?.0;
            Some((condition.status == "True", since))
        });
        let spec = pod.spec.as_ref();
        let sidecars = spec
            .into_iter()
            .flat_map(|spec| spec.init_containers.iter().flatten())
            .filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let containers = spec.into_iter().flat_map(|spec| &spec.containers);
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            phase: phase(pod).to_owned(),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            started: status.and_then(|status| Some(status.start_time.as_ref()?.0)),
            ready,
            requests: containers.chain(sidecars).map(requests).collect(),
        }
    }

    /// True where it runs and its Ready condition holds.
    pub(super) fn is_ready(&self) -> bool {
        self.phase == "Running" && self.ready.is_some_and(|(holds, _)| holds)
    }
}

fn requests(container: &Container) -> (String, BTreeMap<String, i64>) {
    let resources = container.resources.as_ref();
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    let amounts = requests
        .into_iter()
        .flatten()
        .filter_map(|(name, quantity)| {
            let milli = i64::try_from(parse_millis(&quantity.0).ok()?).ok()?;
            Some((name.clone(), milli))
        });
    (container.name.clone(), amounts.collect())
}

/// Sorts pods by how they count. `is_cpu` applies the doubts about young pods: their CPU is that
/// of starting up.
pub(super) fn group(
    pods: &[PodView],
    samples: &Samples,
    is_cpu: bool,
    patience: Patience,
    now: Timestamp,
) -> Groups {
    let mut groups = Groups::default();
    for pod in pods {
        let name = || pod.name.clone();
        let sample = samples.get(&pod.name);
        match sample {
            _ if pod.terminating || pod.phase == "Failed" => groups.ignored.push(name()),
            _ if pod.phase == "Pending" => groups.unready.push(name()),
            None => groups.missing.push(name()),
            Some(sample) if is_cpu && is_unready(pod, sample, patience, now) => {
                groups.unready.push(name());
            }
            Some(_) => groups.ready += 1,
        }
    }
    groups
}

fn is_unready(pod: &PodView, sample: &Sample, patience: Patience, now: Timestamp) -> bool {
    let (Some((ready, since)), Some(started)) = (pod.ready, pod.started) else {
        return true;
    };
    if started + patience.cpu_initialization > now {
        // The window must not reach back to before the pod was ready.
        return !ready || sample.time < since + sample.window;
    }
    !ready && started + patience.initial_readiness > since
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 10_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// A running pod, started and (un)ready at these moments.
    fn pod(started: i64, ready: bool, since: i64) -> PodView {
        PodView {
            name: "p".into(),
            phase: "Running".into(),
            started: Some(at(started)),
            ready: Some((ready, at(since))),
            ..PodView::default()
        }
    }

    #[track_caller]
    fn case(pod: PodView, sampled: bool, is_cpu: bool, expected: &str) {
        let sample = Sample {
            milli: 1,
            time: at(NOW - 5),
            window: Duration::from_secs(15),
        };
        let samples = if sampled {
            Samples::from([("p".into(), sample)])
        } else {
            Samples::new()
        };
        let patience = Patience {
            cpu_initialization: Duration::from_secs(300),
            initial_readiness: Duration::from_secs(30),
        };
        let groups = group(&[pod], &samples, is_cpu, patience, at(NOW));
        let found = match groups {
            Groups { ready: 1, .. } => "ready",
            Groups { ref unready, .. } if !unready.is_empty() => "unready",
            Groups { ref missing, .. } if !missing.is_empty() => "missing",
            _ => "ignored",
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn pods_count_as_far_as_their_figures_can_be_trusted() {
        let old = || pod(1000, true, 1100);
        case(old(), true, true, "ready");
        case(old(), false, true, "missing");
        let failed = PodView {
            phase: "Failed".into(),
            ..old()
        };
        case(failed, true, true, "ignored");
        let ending = PodView {
            terminating: true,
            ..old()
        };
        case(ending, true, true, "ignored");
        let pending = PodView {
            phase: "Pending".into(),
            ..old()
        };
        case(pending, false, true, "unready");
        // Young: only while ready, and only if the whole window lies after it became ready.
        case(pod(NOW - 100, false, NOW - 100), true, true, "unready");
        case(pod(NOW - 100, true, NOW - 90), true, true, "ready");
        case(pod(NOW - 100, true, NOW - 15), true, true, "unready");
        // Old: one that was ready once and is not now still counts; one that never was does not.
        case(pod(1000, false, 9000), true, true, "ready");
        case(pod(1000, false, 1010), true, true, "unready");
        // Only CPU is that of starting up.
        case(pod(NOW - 100, false, NOW - 100), true, false, "ready");
        let unknown = PodView {
            ready: None,
            ..old()
        };
        case(unknown, true, true, "unready");
    }
}
