//! Which version each Service selects.

use super::pass::{Change, Pass};
use super::spec;

/// Lets a Service select a version, unless it does.
pub(super) fn select(pass: &mut Pass, service: &str, hash: &str) {
    let rollout = pass.rollout.metadata.name.clone().unwrap_or_default();
    let Some(view) = pass.services.get_mut(service) else {
        return;
    };
    if view.hash == hash && view.managed_by.as_ref() == Some(&rollout) {
        return;
    }
    let before = std::mem::replace(&mut view.hash, hash.to_owned());
    view.managed_by = Some(rollout);
    pass.push(Change::Select {
        service: service.to_owned(),
        hash: hash.to_owned(),
    });
    if before != hash {
        pass.tell_now(
            "SwitchService",
            format!("Switched selector for service '{service}' from '{before}' to '{hash}'"),
        );
    }
}

/// The Services of a canary. Each is switched only to a version that is fully up: a Service
/// that selects nothing answers nobody.
pub(super) fn of_canary(pass: &mut Pass) {
    let Some(canary) = spec::canary(&pass.rollout.spec) else {
        return;
    };
    let (stable_service, canary_service) =
        (canary.stable_service.clone(), canary.canary_service.clone());
    let up = |set: Option<&super::set::Set>| {
        set.filter(|set| set.is_available())
            .map(|set| set.hash.clone())
    };
    let stable = up(pass.stable_set());
    let new = up(pass.new_set());
    if let (Some(service), Some(hash)) = (&stable_service, &stable) {
        select(pass, service, hash);
    }
    let target = if pass.is_aborted() && pass.stable.is_some() {
        stable
    } else if super::traffic::rolls_back_gradually(pass).is_some() {
        // The stable version is still too small for what the canary gets.
        None
    } else {
        new
    };
    if let (Some(service), Some(hash)) = (&canary_service, &target) {
        select(pass, service, hash);
    }
}
