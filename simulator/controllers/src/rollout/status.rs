//! The parts of a Rollout's status that both strategies share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use lab_api::rollouts::{BlueGreenStatus, CanaryStatus, RolloutStatus};

use super::conditions::{self, INVALID_SPEC};
use super::pass::{Pass, Plan};
use super::spec;

/// True where the template is another one than the status is about.
pub(super) fn template_changed(pass: &Pass) -> bool {
    !pass.old.current_pod_hash.is_empty() && pass.old.current_pod_hash != pass.new_hash()
}

/// Counts, hashes and what is kept from before.
pub(super) fn base(pass: &Pass) -> RolloutStatus {
    let sum = |of: fn(&super::set::Set) -> i32| pass.sets.iter().map(of).sum::<i32>();
    let current_pod_hash = pass.new_hash();
    let is_canary = spec::canary(&pass.rollout.spec).is_some();
    let mut status = RolloutStatus {
        promote_full: pass.old.promote_full && current_pod_hash != pass.old.stable_rs,
        current_pod_hash,
        stable_rs: pass.old.stable_rs.clone(),
        replicas: sum(|set| set.replicas),
        updated_replicas: pass.new_set().map_or(0, |new| new.replicas),
        ready_replicas: sum(|set| set.ready),
        collision_count: pass.old.collision_count,
        restarted_at: pass.status.restarted_at.clone(),
        conditions: pass.status.conditions.clone(),
        ..RolloutStatus::default()
    };
    if is_canary {
        status.canary = CanaryStatus {
            weights: pass.weights.clone(),
            ..CanaryStatus::default()
        };
        status.current_step_index = pass.old.current_step_index;
        status.current_step_hash = pass.old.current_step_hash.clone();
    } else {
        status.blue_green = BlueGreenStatus {
            scale_up_preview_check_point: pass.old.blue_green.scale_up_preview_check_point,
            ..BlueGreenStatus::default()
        };
    }
    pass.current.write(&mut status);
    conditions::remove(&mut status, INVALID_SPEC);
    status
}

/// Makes it the status of an update that has not begun.
pub(super) fn reset(pass: &mut Pass, status: &mut RolloutStatus) {
    pass.pauses.clear();
    pass.pauses.remove_abort();
    // New pods are young enough.
    status.restarted_at = pass.rollout.spec.restart_at.clone();
    status.promote_full = false;
    status.blue_green.scale_up_preview_check_point = false;
    pass.current = super::analysis::CurrentRuns::default();
    pass.current.write(status);
}

/// Makes the new version the one that serves users.
pub(super) fn promote(pass: &mut Pass, status: &mut RolloutStatus, reason: &str) {
    pass.pauses.clear();
    pass.pauses.remove_abort();
    status.promote_full = false;
    status.blue_green.scale_up_preview_check_point = false;
    if status.stable_rs != status.current_pod_hash {
        status.stable_rs = status.current_pod_hash.clone();
        let (revision, hash) = (pass.revision, &status.current_pod_hash);
        let message = format!("Rollout completed update to revision {revision} ({hash}): {reason}");
        pass.tell("RolloutCompleted", message);
    }
}

/// True for a way back to a version that is not further back than `rollbackWindow` says.
pub(super) fn is_rollback_within_window(pass: &Pass) -> bool {
    let (Some(new), Some(stable)) = (pass.new_set(), pass.stable_set()) else {
        return false;
    };
    let window = pass
        .rollout
        .spec
        .rollback_window
        .as_ref()
        .and_then(|window| window.revisions)
        .filter(|revisions| *revisions > 0);
    let Some(window) = window.and_then(|revisions| usize::try_from(revisions).ok()) else {
        return false;
    };
    let between = pass
        .sets
        .iter()
        .filter(|set| new.created < set.created && set.created < stable.created);
    new.created < stable.created && between.count() < window
}

/// A label selector as in a query.
pub(super) fn selector(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else {
        return String::new();
    };
    let equal = selector.match_labels.iter().flatten();
    let equal = equal.map(|(key, value)| format!("{key}={value}"));
    let others = selector
        .match_expressions
        .iter()
        .flatten()
        .map(|expression| {
            let (key, values) = (
                &expression.key,
                expression.values.clone().unwrap_or_default(),
            );
            match expression.operator.as_str() {
                "In" => format!("{key} in ({})", values.join(",")),
                "NotIn" => format!("{key} notin ({})", values.join(",")),
                "DoesNotExist" => format!("!{key}"),
                _ => key.clone(),
            }
        });
    equal.chain(others).collect::<Vec<_>>().join(",")
}

/// Pauses, phase and the next moment to look: the end of every look.
pub(super) fn finish(mut pass: Pass, mut status: RolloutStatus) -> Plan {
    pass.pauses.write(&mut status, pass.now);
    status.observed_generation = pass.rollout.metadata.generation.unwrap_or(0).to_string();
    let (phase, message) = conditions::phase(&pass.rollout.spec, &status);
    status.phase = phase.to_owned();
    status.message = message;
    // A person resumes by clearing the conditions alone.
    let was_paused = !pass.old.pause_conditions.is_empty() || pass.old.controller_pause;
    match (was_paused, status.pause_conditions.first()) {
        (false, Some(pause)) => {
            let message = format!("Rollout is paused ({})", pause.reason);
            pass.tell("RolloutPaused", message);
        }
        (true, None) if !status.abort => pass.tell("RolloutResumed", "Rollout is resumed"),
        (true, None) | (false, None) | (true, Some(_)) => {}
    }
    if let Some(wait) = conditions::next_deadline(&pass.rollout, &status, pass.now) {
        pass.wake_after(wait);
    }
    pass.done(status)
}
