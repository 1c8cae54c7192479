//! What a Rollout reports: its conditions, and the phase and message that clients show.

use std::time::Duration;

use jiff::Timestamp;
use lab_api::rollouts::{Rollout, RolloutCondition, RolloutSpec, RolloutStatus};

use super::pass::Pass;
use super::pause::whole_seconds;
use super::spec;

pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const INVALID_SPEC: &str = "InvalidSpec";
const AVAILABLE: &str = "Available";
const PAUSED: &str = "Paused";
const COMPLETED: &str = "Completed";
const HEALTHY: &str = "Healthy";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const ABORTED: &str = "RolloutAborted";
const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const ROLLOUT_PAUSED: &str = "RolloutPaused";
const ROLLOUT_COMPLETED: &str = "RolloutCompleted";

/// The condition of a type.
pub(super) fn get<'a>(status: &'a RolloutStatus, type_: &str) -> Option<&'a RolloutCondition> {
    status.conditions.iter().find(|found| found.type_ == type_)
}

/// Removes the condition of a type.
pub(super) fn remove(status: &mut RolloutStatus, type_: &str) {
    status.conditions.retain(|found| found.type_ != type_);
}

/// Sets a condition given as type, status and reason; false where it says so already.
pub(super) fn set(
    status: &mut RolloutStatus,
    (type_, value, reason): (&str, &str, &str),
    message: String,
    now: Timestamp,
) -> bool {
    let before = get(status, type_);
    if before.is_some_and(|found| found.status == value && found.reason == reason) {
        return false;
    }
    let now = whole_seconds(now);
    let since = before
        .filter(|found| found.status == value)
        .map(|found| found.last_transition_time.clone());
    remove(status, type_);
    status.conditions.push(RolloutCondition {
        type_: type_.to_owned(),
        status: value.to_owned(),
        last_transition_time: since.unwrap_or_else(|| now.clone()),
        last_update_time: now,
        reason: reason.to_owned(),
        message,
    });
    true
}

/// Sets a condition and marks it as updated now, even if it says what it said before.
fn refresh(
    status: &mut RolloutStatus,
    condition: (&str, &str, &str),
    message: String,
    now: Timestamp,
) {
    let since = get(status, condition.0)
        .filter(|found| found.status == condition.1)
        .map(|found| found.last_transition_time.clone());
    remove(status, condition.0);
    set(status, condition, message, now);
    if let (Some(since), Some(last)) = (since, status.conditions.last_mut()) {
        last.last_transition_time = since;
    }
}

/// Notes at the beginning of a look that somebody paused, resumed or retried.
pub(super) fn note_pauses(pass: &mut Pass) {
    let now = pass.now;
    let paused = !pass.old.pause_conditions.is_empty() || pass.rollout.spec.paused == Some(true);
    let reason = |pass: &Pass| get(&pass.status, PROGRESSING).map(|found| found.reason.clone());
    let found = reason(pass);
    let was_paused = found.as_deref() == Some(ROLLOUT_PAUSED);
    let was_aborted = found.as_deref() == Some(ABORTED);
    if !was_aborted && paused != was_paused {
        let (reason, message) = if paused {
            (ROLLOUT_PAUSED, "Rollout is paused")
        } else {
            ("RolloutResumed", "Rollout is resumed")
        };
        let condition = (PROGRESSING, "Unknown", reason);
        set(&mut pass.status, condition, message.to_owned(), now);
    }
    if was_aborted && !pass.old.abort {
        let message = "Retrying Rollout after abort";
        let condition = (PROGRESSING, "Unknown", "RolloutRetry");
        set(&mut pass.status, condition, message.to_owned(), now);
    }
    let said = get(&pass.status, PAUSED).is_some_and(|found| found.status == "True");
    if (paused && !was_aborted) != said {
        let value = if paused && !was_aborted {
            "True"
        } else {
            "False"
        };
        let condition = (PAUSED, value, ROLLOUT_PAUSED);
        set(
            &mut pass.status,
            condition,
            "Rollout is paused".to_owned(),
            now,
        );
    }
}

/// Sets everything that follows from a status whose counts, hashes and selectors are known.
pub(super) fn report(pass: &mut Pass, status: &mut RolloutStatus) {
    let paused = !pass.old.pause_conditions.is_empty() || pass.rollout.spec.paused == Some(true);
    let healthy = is_healthy(&pass.rollout, status);
    let became_unhealthy = report_health(pass, status, healthy && !paused);
    if pass.is_aborted() {
        report_abort(pass, status);
    } else {
        report_progress(pass, status, (healthy, paused, became_unhealthy));
    }
    report_availability(pass, status);
    report_failure(pass, status);
    report_completion(pass, status);
}

/// Answers whether it was healthy until now.
fn report_health(pass: &Pass, status: &mut RolloutStatus, healthy: bool) -> bool {
    if healthy {
        let message = "Rollout is healthy".to_owned();
        set(
            status,
            (HEALTHY, "True", "RolloutHealthy"),
            message,
            pass.now,
        );
        return false;
    }
    let message = "Rollout is not healthy".to_owned();
    get(status, HEALTHY).is_some()
        && set(
            status,
            (HEALTHY, "False", "RolloutHealthy"),
            message,
            pass.now,
        )
}

fn report_abort(pass: &mut Pass, status: &mut RolloutStatus) {
    let mut message = format!("Rollout aborted update to revision {}", pass.revision);
    if !pass.pauses.abort_message.is_empty() {
        message = format!("{message}: {}", pass.pauses.abort_message);
    }
    if set(
        status,
        (PROGRESSING, "False", ABORTED),
        message.clone(),
        pass.now,
    ) {
        pass.warn(ABORTED, message);
    }
}

fn report_progress(
    pass: &mut Pass,
    status: &mut RolloutStatus,
    (healthy, paused, became_unhealthy): (bool, bool, bool),
) {
    let now = pass.now;
    let subject = subject(pass);
    if healthy {
        let message = format!("{subject} has successfully progressed.");
        set(
            status,
            (PROGRESSING, "True", NEW_SET_AVAILABLE),
            message,
            now,
        );
    } else if has_progressed(&pass.rollout.spec, &pass.old, status) || became_unhealthy {
        let promoted = status.stable_rs == status.current_pod_hash;
        let (reason, message) = if promoted && became_unhealthy {
            // Pods restart or move: that is no update, and must not run into its deadline.
            let message = "Rollout does not have minimum availability".to_owned();
            ("ReplicaSetNotAvailable", message)
        } else {
            ("ReplicaSetUpdated", format!("{subject} is progressing."))
        };
        refresh(status, (PROGRESSING, "True", reason), message, now);
    } else if !paused
        && !waits_at_step(&pass.rollout)
        && is_overdue(&pass.rollout.spec, status, now)
    {
        let message = format!("{subject} has timed out progressing.");
        set(
            status,
            (PROGRESSING, "False", DEADLINE_EXCEEDED),
            message.clone(),
            now,
        );
        if pass.rollout.spec.progress_deadline_abort == Some(true) {
            pass.pauses.abort(message.clone());
            pass.warn(ABORTED, message);
        }
    }
}

fn subject(pass: &Pass) -> String {
    match pass.new_set() {
        Some(new) => format!("ReplicaSet {:?}", new.name),
        None => format!(
            "Rollout {:?}",
            pass.rollout.metadata.name.as_deref().unwrap_or_default()
        ),
    }
}

/// True for a step that may take as long as it likes.
fn waits_at_step(rollout: &Rollout) -> bool {
    matches!(spec::current_step(rollout), Some((_, Some(step)))
        if step.analysis.is_some() || step.pause.is_some())
}

fn is_healthy(rollout: &Rollout, status: &RolloutStatus) -> bool {
    let replicas = spec::replicas(&rollout.spec);
    let strategy = if let Some(blue_green) = spec::blue_green(&rollout.spec) {
        let selected = |hash: &str| hash == status.current_pod_hash;
        selected(&status.blue_green.active_selector)
            && (blue_green.preview_service.is_none()
                || selected(&status.blue_green.preview_selector))
    } else {
        let steps = i32::try_from(spec::steps(&rollout.spec).len()).unwrap_or(i32::MAX);
        let done = steps == 0 || status.current_step_index.is_none_or(|index| index == steps);
        done && is_promoted(status) && status.replicas == replicas
    };
    let observed = rollout
        .status
        .as_ref()
        .map(|status| status.observed_generation.clone());
    strategy
        && status.updated_replicas == replicas
        && status.available_replicas == replicas
        && observed == Some(rollout.metadata.generation.unwrap_or(0).to_string())
}

fn is_promoted(status: &RolloutStatus) -> bool {
    !status.stable_rs.is_empty() && status.stable_rs == status.current_pod_hash
}

fn has_progressed(spec: &RolloutSpec, before: &RolloutStatus, now: &RolloutStatus) -> bool {
    let strategy = if spec::blue_green(spec).is_some() {
        before.blue_green.active_selector != now.blue_green.active_selector
            || before.blue_green.preview_selector != now.blue_green.preview_selector
    } else {
        let step = (before.current_step_index, now.current_step_index);
        before.stable_rs != now.stable_rs
            || matches!(step, (Some(before), Some(now)) if before != now)
            || before.current_step_hash != now.current_step_hash
    };
    let old = |status: &RolloutStatus| status.replicas - status.updated_replicas;
    strategy
        || now.updated_replicas != before.updated_replicas
        || old(now) < old(before)
        || now.ready_replicas > before.ready_replicas
        || now.available_replicas > before.available_replicas
}

fn overdue_at(spec: &RolloutSpec, status: &RolloutStatus) -> Option<Timestamp> {
    let progress = get(status, PROGRESSING)?;
    if progress.reason == NEW_SET_AVAILABLE || progress.reason == DEADLINE_EXCEEDED {
        return None;
    }
    progress
        .last_update_time
        .0
        .checked_add(spec::progress_deadline(spec))
        .ok()
}

fn is_overdue(spec: &RolloutSpec, status: &RolloutStatus, now: Timestamp) -> bool {
    get(status, PROGRESSING).is_some_and(|progress| progress.reason == DEADLINE_EXCEEDED)
        || overdue_at(spec, status).is_some_and(|at| at < now)
}

/// When the lack of progress becomes a failure, unless it cannot.
pub(super) fn next_deadline(
    rollout: &Rollout,
    status: &RolloutStatus,
    now: Timestamp,
) -> Option<Duration> {
    let paused = !status.pause_conditions.is_empty() || rollout.spec.paused == Some(true);
    if paused || status.abort || waits_at_step(rollout) || is_healthy(rollout, status) {
        return None;
    }
    let left = overdue_at(&rollout.spec, status)?.duration_since(now);
    // Times in a status are whole seconds, hence one more.
    Some(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1))
}

fn report_availability(pass: &Pass, status: &mut RolloutStatus) {
    let replicas = spec::replicas(&pass.rollout.spec);
    let available = if spec::blue_green(&pass.rollout.spec).is_some() {
        pass.set_of(&status.blue_green.active_selector)
            .is_some_and(|active| active.is_saturated(replicas))
    } else {
        pass.sets.iter().map(|set| set.available).sum::<i32>() >= replicas
    };
    let (value, message) = if available {
        ("True", "Rollout has minimum availability")
    } else {
        ("False", "Rollout does not have minimum availability")
    };
    set(
        status,
        (AVAILABLE, value, "AvailableReason"),
        message.to_owned(),
        pass.now,
    );
}

/// Passes on what a ReplicaSet says about pods that it cannot create or delete.
fn report_failure(pass: &Pass, status: &mut RolloutStatus) {
    let failure = pass
        .new_set()
        .into_iter()
        .chain(&pass.sets)
        .filter_map(|set| set.object.status.as_ref()?.conditions.as_ref())
        .flatten()
        .find(|condition| condition.type_ == REPLICA_FAILURE);
    match failure {
        None => remove(status, REPLICA_FAILURE),
        Some(failure) => {
            let reason = failure.reason.as_deref().unwrap_or_default();
            let message = failure.message.clone().unwrap_or_default();
            set(
                status,
                (REPLICA_FAILURE, &failure.status, reason),
                message,
                pass.now,
            );
        }
    }
}

fn report_completion(pass: &mut Pass, status: &mut RolloutStatus) {
    let message = ROLLOUT_COMPLETED.to_owned();
    if is_promoted(status) {
        set(
            status,
            (COMPLETED, "True", ROLLOUT_COMPLETED),
            message,
            pass.now,
        );
    } else if set(
        status,
        (COMPLETED, "False", ROLLOUT_COMPLETED),
        message,
        pass.now,
    ) {
        // Where its ReplicaSet is yet to come, the revision is too.
        let begun = pass.revision != super::revision::of_rollout(&pass.rollout);
        let revision = if begun {
            pass.revision
        } else {
            pass.revision + 1
        };
        let message = format!(
            "Rollout not completed, started update to revision {revision} ({})",
            status.current_pod_hash
        );
        pass.tell("RolloutNotCompleted", message);
    }
}

/// Sets InvalidSpec.
pub(super) fn set_invalid(status: &mut RolloutStatus, message: String, now: Timestamp) {
    if get(status, INVALID_SPEC).is_some_and(|found| found.message == message) {
        return;
    }
    remove(status, INVALID_SPEC);
    set(status, (INVALID_SPEC, "True", INVALID_SPEC), message, now);
}

/// The phase and message of a status that is otherwise complete.
pub(super) fn phase(spec: &RolloutSpec, status: &RolloutStatus) -> (&'static str, String) {
    if let Some(invalid) = get(status, INVALID_SPEC) {
        return ("Degraded", format!("{INVALID_SPEC}: {}", invalid.message));
    }
    let failed =
        |found: &&RolloutCondition| [ABORTED, DEADLINE_EXCEEDED].contains(&found.reason.as_str());
    if let Some(failed) = status.conditions.iter().find(failed) {
        return ("Degraded", format!("{}: {}", failed.reason, failed.message));
    }
    if spec.paused == Some(true) {
        return ("Paused", "manually paused".to_owned());
    }
    if let Some(pause) = status.pause_conditions.first() {
        return ("Paused", pause.reason.clone());
    }
    let message = unfinished(spec, status);
    let phase = if message.is_empty() {
        "Healthy"
    } else {
        "Progressing"
    };
    (phase, message.to_owned())
}

/// What is still to be done; empty where nothing is.
fn unfinished(spec: &RolloutSpec, status: &RolloutStatus) -> &'static str {
    if spec.restart_at.is_some() && spec.restart_at != status.restarted_at {
        return "rollout is restarting";
    }
    if status.updated_replicas < spec::replicas(spec) {
        return "more replicas need to be updated";
    }
    if status.available_replicas < status.updated_replicas {
        return "updated replicas are still becoming available";
    }
    if let Some(blue_green) = spec::blue_green(spec) {
        let active = &status.blue_green.active_selector;
        if active.is_empty() || *active != status.current_pod_hash {
            return "active service cutover pending";
        }
        if !is_promoted(status) {
            let run = status
                .blue_green
                .post_promotion_analysis_run_status
                .as_ref();
            let finished = run.is_some_and(|run| super::analysis::is_finished(&run.status));
            if blue_green.post_promotion_analysis.is_some() && !finished {
                return "waiting for analysis to complete";
            }
            return "waiting for post-promotion verification to complete";
        }
        return "";
    }
    if !spec::is_routed(spec) && status.replicas > status.updated_replicas {
        return "old replicas are pending termination";
    }
    if !is_promoted(status) {
        return "waiting for all steps to complete";
    }
    ""
}
