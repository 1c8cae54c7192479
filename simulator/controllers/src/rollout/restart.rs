//! Restarts: pods older than `spec.restartAt` are replaced, as many at a time as may be missing.

use std::time::Duration;

use super::pass::{Change, Pass, PodView};
use super::spec;

/// Wait before the next pods are looked at, should nothing be heard of the last ones.
const CHECK: Duration = Duration::from_secs(30);

/// True where pods are to be looked at.
pub(super) fn is_due(rollout: &lab_api::rollouts::Rollout, now: jiff::Timestamp) -> bool {
    let done = rollout
        .status
        .as_ref()
        .and_then(|status| status.restarted_at.as_ref());
    let wanted = rollout.spec.restart_at.as_ref();
    wanted.is_some_and(|at| at.0 <= now) && wanted != done
}

/// Replaces old pods.
pub(super) fn reconcile(pass: &mut Pass) {
    let Some(at) = pass.rollout.spec.restart_at.clone() else {
        return;
    };
    if pass.wait_until(at.0) || !is_due(&pass.rollout, pass.now) {
        return;
    }
    let limits = spec::limits(&pass.rollout.spec);
    let available: i32 = pass.sets.iter().map(|set| set.available).sum();
    let going = |pod: &PodView| pod.is_ready && pod.is_terminating;
    let going = i32::try_from(pass.pods.iter().filter(|pod| going(pod)).count()).unwrap_or(0);
    let mut room = available - going - (limits.replicas - limits.unavailable.max(1));
    let mut old: Vec<PodView> = pass
        .pods
        .iter()
        .filter(|pod| pod.created < at.0)
        .cloned()
        .collect();
    if old.is_empty() {
        pass.status.restarted_at = Some(at);
        return;
    }
    let stable = pass.stable_set().map(|set| set.name.clone());
    let new = pass.new_set().map(|set| set.name.clone());
    let rank = |pod: &PodView| {
        if Some(&pod.set) == stable.as_ref() {
            0
        } else if Some(&pod.set) == new.as_ref() {
            1
        } else {
            2
        }
    };
    old.sort_by_key(|pod| (rank(pod), pod.created));
    for pod in old.iter().filter(|pod| !pod.is_terminating) {
        // One that serves nobody is missed by nobody.
        if pod.is_ready {
            if room <= 0 {
                continue;
            }
            room -= 1;
        }
        pass.push(Change::Restart(pod.name.clone()));
    }
    pass.wake_after(CHECK);
}
