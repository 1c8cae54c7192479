//! A canary: one look at it, in the order of upstream's controller.
//!
//! Template or steps changed → begin anew. Otherwise revision → restarts → history → Services →
//! traffic → analysis → ReplicaSets (stable, then new, then others; each scaling ends the look)
//! → pause → status.

use lab_api::rollouts::RolloutStatus;

use super::pass::{Pass, Plan};
use super::pause::{CANARY_STEP, Pauses};
use super::{analysis, conditions, restart, revision, scaling, services, spec, status, traffic};

/// Looks at a canary.
pub(super) fn plan(mut pass: Pass) -> Plan {
    if status::template_changed(&pass) || steps_changed(&pass) {
        revision::renew(&mut pass);
        return begin_anew(pass);
    }
    if pass.new.is_none() {
        revision::create(&mut pass);
        let status = status::base(&pass);
        return finish(pass, status);
    }
    revision::renew(&mut pass);
    restart::reconcile(&mut pass);
    revision::clean_up(&mut pass);
    services::of_canary(&mut pass);
    traffic::reconcile(&mut pass);
    if pass.is_blocked {
        let status = status::base(&pass);
        return finish(pass, status);
    }
    analysis::reconcile(&mut pass);
    let scaled = !pass.pauses.has_added() && scale(&mut pass);
    if !scaled && !pass.pauses.has_added() {
        reconcile_pause(&mut pass);
    }
    advance(pass)
}

fn steps_changed(pass: &Pass) -> bool {
    pass.old.current_step_hash != revision::step_hash(&pass.rollout)
}

fn step_count(pass: &Pass) -> Option<i32> {
    let count = i32::try_from(spec::steps(&pass.rollout.spec).len()).unwrap_or(i32::MAX);
    (count > 0).then_some(count)
}

/// A new template or other steps: the status is that of an update that has not begun.
fn begin_anew(mut pass: Pass) -> Plan {
    let mut status = status::base(&pass);
    status::reset(&mut pass, &mut status);
    status.current_step_index = step_count(&pass).map(|_| 0);
    let back_to_stable = pass.new.is_some() && pass.new == pass.stable;
    if back_to_stable && step_count(&pass).is_some() {
        pass.tell("SkipSteps", "Rollback to stable");
        status.current_step_index = step_count(&pass);
    } else if status::is_rollback_within_window(&pass) && step_count(&pass).is_some() {
        pass.tell("SkipSteps", "Rollback within the window");
        status.current_step_index = step_count(&pass);
    }
    finish(pass, status)
}

/// True where something was scaled.
fn scale(pass: &mut Pass) -> bool {
    scaling::keep_new_and_stable(pass);
    if let Some(stable) = pass.stable.filter(|_| pass.stable != pass.new) {
        let (_, count) = scaling::canary_counts(pass, true);
        if scaling::scale(pass, stable, count) {
            return true;
        }
    }
    scaling::scale_new(pass) || scaling::scale_others_of_canary(pass)
}

/// Begins a pause, or waits for its end.
fn reconcile_pause(pass: &mut Pass) {
    if pass.is_halted() || pass.old.promote_full || pass.is_aborted() {
        return;
    }
    let rollout = std::sync::Arc::clone(&pass.rollout);
    let Some((_, Some(step))) = spec::current_step(&rollout) else {
        return;
    };
    let Some(pause) = &step.pause else {
        return;
    };
    match pass.pauses.since(CANARY_STEP) {
        // Without the condition, a controller that had paused has been told to go on.
        None if !pass.pauses.is_controller_pause() => pass.pauses.add(CANARY_STEP),
        None => {}
        Some(since) => {
            if let Some(wait) = pause.duration.as_ref().and_then(spec::duration)
                && let Ok(end) = since.checked_add(pass.scaled(wait))
            {
                pass.wait_until(end);
            }
        }
    }
}

/// Promotes, or goes on to the next step, or stays.
fn advance(mut pass: Pass) -> Plan {
    let mut status = status::base(&pass);
    let steps = step_count(&pass);
    let mut index = steps.map(|_| pass.old.current_step_index.unwrap_or(0));
    let in_window = status::is_rollback_within_window(&pass);
    if pass.old.promote_full || in_window {
        pass.pauses.clear();
        pass.pauses.remove_abort();
        index = steps;
    }
    if let Some(reason) = promotion(&pass, in_window) {
        status::promote(&mut pass, &mut status, &reason);
        status.current_step_index = steps;
        return finish(pass, status);
    }
    if pass.is_aborted() {
        let promoted = status.stable_rs == status.current_pod_hash;
        status.current_step_index = steps.map(|count| if promoted { count } else { 0 });
        return finish(pass, status);
    }
    if !pass.old.promote_full && !in_window && completes_step(&pass) {
        index = index.map(|index| index + 1);
        status.canary.current_step_analysis_run_status = None;
        pass.pauses.remove(CANARY_STEP);
        let name = spec::current_step(&pass.rollout)
            .and_then(|(_, step)| step)
            .map(spec::describe)
            .unwrap_or_default();
        let (done, count) = (index.unwrap_or(0), steps.unwrap_or(0));
        let message = format!("Rollout step {done}/{count} completed ({name})");
        pass.tell("RolloutStepCompleted", message);
    }
    status.current_step_index = index;
    finish(pass, status)
}

/// Why the new version becomes the stable one now, if it does.
fn promotion(pass: &Pass, in_window: bool) -> Option<String> {
    if pass.stable.is_none() {
        let replicas = spec::replicas(&pass.rollout.spec);
        let up = pass.new_set().is_some_and(|new| new.available >= replicas);
        return up.then(|| "Initial deploy".to_owned());
    }
    let replicas = spec::replicas(&pass.rollout.spec);
    if pass.is_aborted() || pass.new_set().is_none_or(|new| new.available != replicas) {
        return None;
    }
    if pass.old.promote_full {
        return Some("Full promotion requested".to_owned());
    }
    if in_window {
        return Some("Rollback within window".to_owned());
    }
    let count = step_count(pass).unwrap_or(0);
    let done = count == 0 || pass.old.current_step_index == Some(count);
    done.then(|| format!("Completed all {count} canary steps"))
}

fn completes_step(pass: &Pass) -> bool {
    if pass.is_halted() || pass.pauses.has_added() {
        return false;
    }
    let Some((_, Some(step))) = spec::current_step(&pass.rollout) else {
        return false;
    };
    if let Some(pause) = &step.pause {
        let since = pass.pauses.since(CANARY_STEP);
        let wait = pause.duration.as_ref().and_then(spec::duration);
        let lasted = |(since, wait)| Pauses::has_lasted(since, pass.scaled(wait), pass.now);
        return pass.pauses.was_resumed(CANARY_STEP) || since.zip(wait).is_some_and(lasted);
    }
    if step.set_weight.is_some() || step.set_canary_scale.is_some() {
        let weight = step.set_weight;
        let routed = pass.weights.as_ref();
        // The router may not have been told yet, because stable was too small for its share.
        let told =
            weight.is_none() || routed.is_none_or(|routed| Some(routed.canary.weight) == weight);
        return scaling::is_at_counts(pass, true) && told;
    }
    if step.analysis.is_some() {
        return analysis::step_succeeded(pass);
    }
    step.set_header_route.is_some()
}

/// Fills in what every way out reports.
fn finish(mut pass: Pass, mut status: RolloutStatus) -> Plan {
    let sum = |of: fn(&super::set::Set) -> i32| pass.sets.iter().map(of).sum::<i32>();
    status.available_replicas = sum(|set| set.available);
    status.hpa_replicas = sum(|set| set.replicas);
    status.selector = status::selector(pass.rollout.spec.selector.as_ref());
    status.current_step_hash = revision::step_hash(&pass.rollout);
    conditions::report(&mut pass, &mut status);
    status::finish(pass, status)
}
