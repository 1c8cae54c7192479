//! Blue/green: a second full set of pods behind a preview Service, and a switch of the active
//! one.
//!
//! <https://argo-rollouts.readthedocs.io/en/stable/features/bluegreen/>

use std::time::Duration;

use lab_api::rollouts::{BlueGreenStrategy, RolloutStatus};

use super::pass::{Pass, Plan};
use super::pause::{BLUE_GREEN, Pauses};
use super::{analysis, conditions, restart, revision, scaling, services, spec, status};

/// Looks at a blue/green Rollout.
pub(super) fn plan(mut pass: Pass) -> Plan {
    if pass.new.is_none() {
        if status::template_changed(&pass) {
            let mut begun = status::base(&pass);
            status::reset(&mut pass, &mut begun);
            revision::create(&mut pass);
            begun.conditions.clone_from(&pass.status.conditions);
            return finish(pass, begun);
        }
        revision::create(&mut pass);
        let status = status::base(&pass);
        return finish(pass, status);
    }
    revision::renew(&mut pass);
    if status::template_changed(&pass) {
        select_preview(&mut pass);
        let mut begun = status::base(&pass);
        status::reset(&mut pass, &mut begun);
        return finish(pass, begun);
    }
    select_preview(&mut pass);
    restart::reconcile(&mut pass);
    scale(&mut pass);
    reconcile_pause(&mut pass);
    select_active(&mut pass);
    analysis::reconcile(&mut pass);
    revision::clean_up(&mut pass);
    advance(pass)
}

fn strategy(pass: &Pass) -> BlueGreenStrategy {
    spec::blue_green(&pass.rollout.spec)
        .cloned()
        .unwrap_or_default()
}

/// The version that users are served by; empty where the Service selects by no version yet.
fn active(pass: &Pass) -> String {
    selected(pass, strategy(pass).active_service.as_ref())
}

fn selected(pass: &Pass, service: Option<&String>) -> String {
    service
        .and_then(|name| pass.services.get(name))
        .map(|service| service.hash.clone())
        .unwrap_or_default()
}

fn select_preview(pass: &mut Pass) {
    if pass.is_halted() {
        return;
    }
    if let (Some(service), Some(new)) = (strategy(pass).preview_service, pass.new_set()) {
        let hash = new.hash.clone();
        services::select(pass, &service, &hash);
    }
}

fn scale(pass: &mut Pass) {
    let replicas = spec::replicas(&pass.rollout.spec);
    // Going back to a version that was leaving, its deadline is the mark of it until it serves.
    let is_retry = pass.old.aborted_at.is_some() && !pass.is_aborted();
    if pass.new == pass.stable || is_retry {
        scaling::keep_new_and_stable(pass);
    }
    let active = active(pass);
    let index = pass
        .sets
        .iter()
        .position(|set| !active.is_empty() && set.hash == active);
    if let Some(index) = index {
        scaling::scale(pass, index, replicas);
    }
    if index.is_none() || index != pass.new {
        scaling::scale_new(pass);
    }
    scaling::scale_others_of_blue_green(pass);
}

/// True where the new version goes straight to users: nobody has a version yet, somebody asked
/// for it, or it was there a moment ago and its pods still are.
fn is_fast(pass: &Pass) -> bool {
    let active = active(pass);
    pass.was_leaving
        || pass.old.promote_full
        || active.is_empty()
        || active == pass.new_hash()
        || status::is_rollback_within_window(pass)
}

/// True where the controller has to wait before the switch.
fn needs_pause(strategy: &BlueGreenStrategy) -> bool {
    strategy.auto_promotion_enabled == Some(false)
        || strategy.auto_promotion_seconds.unwrap_or(0) > 0
}

fn is_ready_for_pause(pass: &Pass) -> bool {
    let count = scaling::new_count(pass);
    pass.new_set()
        .is_some_and(|new| new.wanted == count && new.available == count)
}

fn reconcile_pause(pass: &mut Pass) {
    if pass.is_aborted() || !is_ready_for_pause(pass) || pass.is_halted() {
        return;
    }
    let strategy = strategy(pass);
    if is_fast(pass) || !needs_pause(&strategy) {
        pass.pauses.remove(BLUE_GREEN);
        return;
    }
    // Past the check-point the preview has grown because its pause was over.
    let past = pass.old.blue_green.scale_up_preview_check_point;
    if past || !analysis::pre_promotion_succeeded(pass) {
        return;
    }
    match pass.pauses.since(BLUE_GREEN) {
        Some(_) if has_completed_pause(pass) => pass.pauses.remove(BLUE_GREEN),
        Some(since) => {
            if let Some(wait) = promotion_wait(pass, &strategy)
                && let Ok(end) = since.checked_add(wait)
            {
                pass.wait_until(end);
            }
        }
        None if !pass.pauses.is_controller_pause() => pass.pauses.add(BLUE_GREEN),
        None => {}
    }
}

/// How long until the new version is promoted by itself; only a person promotes it where
/// automatic promotion is off.
fn promotion_wait(pass: &Pass, strategy: &BlueGreenStrategy) -> Option<Duration> {
    let seconds = u64::try_from(strategy.auto_promotion_seconds.unwrap_or(0)).unwrap_or(0);
    (strategy.auto_promotion_enabled != Some(false))
        .then(|| pass.scaled(Duration::from_secs(seconds)))
}

fn has_completed_pause(pass: &Pass) -> bool {
    if pass.pauses.has_added() {
        return false;
    }
    let strategy = strategy(pass);
    if pass.old.blue_green.scale_up_preview_check_point || !needs_pause(&strategy) {
        return true;
    }
    if pass.pauses.was_resumed(BLUE_GREEN) {
        return true;
    }
    let since = pass.pauses.since(BLUE_GREEN);
    let lasted = |(since, wait)| Pauses::has_lasted(since, wait, pass.now);
    since
        .zip(promotion_wait(pass, &strategy))
        .is_some_and(lasted)
}

fn select_active(pass: &mut Pass) {
    let Some(service) = strategy(pass).active_service else {
        return;
    };
    if pass.old.abort {
        let stable = pass.old.stable_rs.clone();
        if !stable.is_empty() {
            services::select(pass, &service, &stable);
        }
        return;
    }
    if pass.is_halted() {
        return;
    }
    let replicas = spec::replicas(&pass.rollout.spec);
    let saturated = pass.new_set().is_some_and(|new| new.is_saturated(replicas));
    if !is_ready_for_pause(pass) || !saturated {
        return;
    }
    let promoted = has_completed_pause(pass) && analysis::pre_promotion_succeeded(pass);
    if is_fast(pass) || promoted {
        let hash = pass.new_hash();
        services::select(pass, &service, &hash);
    }
}

/// True while the old version is kept because the analysis after the switch is not done and
/// nobody said how long to keep it.
pub(super) fn keeps_old_for_analysis(pass: &Pass) -> bool {
    let strategy = strategy(pass);
    strategy.post_promotion_analysis.is_some()
        && strategy.scale_down_delay_seconds.is_none()
        && !analysis::skips_post_promotion(pass)
        && !analysis::post_promotion_succeeded(pass)
}

fn advance(mut pass: Pass) -> Plan {
    let mut status = status::base(&pass);
    status.blue_green.active_selector = active(&pass);
    if pass.old.promote_full || status::is_rollback_within_window(&pass) {
        pass.pauses.clear();
        pass.pauses.remove_abort();
    }
    match promotion(&pass, &status) {
        Some(reason) => status::promote(&mut pass, &mut status, &reason),
        None => status.blue_green.scale_up_preview_check_point = check_point(&pass),
    }
    finish(pass, status)
}

/// Why the new version becomes the stable one now, if it does.
fn promotion(pass: &Pass, status: &RolloutStatus) -> Option<String> {
    let active = &status.blue_green.active_selector;
    let replicas = spec::replicas(&pass.rollout.spec);
    if pass.stable.is_none() || active.is_empty() {
        let up = pass.new_set().is_some_and(|new| new.available >= replicas);
        return up.then(|| "Initial deploy".to_owned());
    }
    if *active != status.current_pod_hash {
        return None;
    }
    if pass.old.promote_full {
        return Some("Full promotion requested".to_owned());
    }
    if status::is_rollback_within_window(pass) {
        return Some("Rollback within window".to_owned());
    }
    if pass.is_aborted() {
        return None;
    }
    if strategy(pass).post_promotion_analysis.is_some() {
        if pass.was_leaving {
            let name = pass
                .new_set()
                .map(|new| new.name.clone())
                .unwrap_or_default();
            return Some(format!("Rollback to '{name}' within scaleDownDelay"));
        }
        if pass.stable != pass.new && !analysis::post_promotion_succeeded(pass) {
            return None;
        }
    }
    Some("Completed blue-green update".to_owned())
}

/// True once the preview has been up in its own size and is to grow to the full one.
fn check_point(pass: &Pass) -> bool {
    let Some(preview) = strategy(pass).preview_replica_count else {
        return false;
    };
    if pass.old.blue_green.scale_up_preview_check_point {
        return true;
    }
    analysis::pre_promotion_succeeded(pass)
        && has_completed_pause(pass)
        && pass.new_set().is_some_and(|new| new.available == preview)
}

/// Fills in what every way out reports. Autoscalers and clients count the active version.
fn finish(mut pass: Pass, mut status: RolloutStatus) -> Plan {
    let strategy = strategy(&pass);
    status.blue_green.preview_selector = selected(&pass, strategy.preview_service.as_ref());
    status.blue_green.active_selector = active(&pass);
    match pass.set_of(&status.blue_green.active_selector) {
        Some(active) => {
            status.hpa_replicas = active.replicas;
            status.available_replicas = active.available;
            status.ready_replicas = active.ready;
            let selector = active.object.spec.as_ref().map(|spec| &spec.selector);
            status.selector = status::selector(selector);
        }
        None => {
            status.hpa_replicas = pass.sets.iter().map(|set| set.replicas).sum();
            status.available_replicas = pass.sets.iter().map(|set| set.available).sum();
            status.selector = status::selector(pass.rollout.spec.selector.as_ref());
        }
    }
    conditions::report(&mut pass, &mut status);
    status::finish(pass, status)
}
