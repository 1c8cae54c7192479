//! The weight of a canary at the traffic router.
//!
//! <https://argo-rollouts.readthedocs.io/en/stable/features/traffic-management/>

use std::time::Duration;

use lab_api::rollouts::{TrafficWeights, WeightDestination};

use super::counts::share_down;
use super::gateway;
use super::pass::{Change, Pass};
use super::scaling::is_at_counts;
use super::spec;

/// Wait before a route that is not there, or not as it must be, is looked at again.
const RETRY: Duration = Duration::from_secs(5);

/// Wait before a route is looked at again while it divides traffic: somebody may have applied
/// their own file over it.
const LOOK: Duration = Duration::from_secs(30);

/// Wait before the endpoints of a Service are looked at again. Their EndpointSlices tell of
/// themselves when they change.
const ENDPOINTS: Duration = Duration::from_secs(1);

/// What the router is to do.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// Weight of the canary.
    weight: i32,
    /// True where the routes that steps made are to go.
    removes_routes: bool,
}

/// Brings the router to the weight that the present state allows.
pub(super) fn reconcile(pass: &mut Pass) {
    if !spec::is_routed(&pass.rollout.spec) {
        pass.weights = None;
        return;
    }
    let wanted = wanted(pass);
    if must_wait_for_stable(pass, &wanted) {
        return;
    }
    if must_wait_for_endpoints(pass, &wanted) {
        pass.wake_after(ENDPOINTS);
        return;
    }
    let routes = if wanted.removes_routes {
        Vec::new()
    } else {
        let index = spec::current_step(&pass.rollout).map_or(0, |(index, _)| index);
        spec::header_routes(&pass.rollout.spec, index)
            .into_iter()
            .map(|(name, matches)| (name.to_owned(), matches.to_vec()))
            .collect()
    };
    match gateway::changes(&pass.rollout, &pass.routes, wanted.weight, &routes) {
        Ok(changed) => {
            for route in changed {
                pass.push(Change::PutRoute(Box::new(route)));
            }
            record(pass, wanted.weight);
            if wanted.weight > 0 {
                pass.wake_after(LOOK);
            }
        }
        Err(message) => {
            pass.is_blocked = true;
            pass.wake_after(RETRY);
            pass.warn("TrafficRoutingError", message);
        }
    }
}

fn wanted(pass: &Pass) -> Wanted {
    let max = spec::max_weight(&pass.rollout.spec);
    let replicas = spec::replicas(&pass.rollout.spec);
    let dynamic = spec::is_dynamic(&pass.rollout.spec);
    let present = pass
        .old
        .canary
        .weights
        .as_ref()
        .map(|weights| weights.canary.weight);
    let available = pass.new_set().map_or(0, |new| new.available);
    let without_routes = |weight| Wanted {
        weight,
        removes_routes: true,
    };
    let with_routes = |weight| Wanted {
        weight,
        removes_routes: false,
    };
    if rolls_back_gradually(pass).is_some() {
        return without_routes(bearable(pass));
    }
    if pass.is_promoted() || pass.stable.is_none() {
        return without_routes(0);
    }
    if pass.is_aborted() {
        return without_routes(if dynamic { bearable(pass) } else { 0 });
    }
    if available == 0 {
        return without_routes(0);
    }
    if pass.old.promote_full {
        let weight = if dynamic {
            share_down(max, available.min(replicas), replicas)
        } else {
            present.unwrap_or(0)
        };
        return without_routes(weight);
    }
    match spec::current_step(&pass.rollout) {
        // Without steps the Services alone move the traffic.
        None => with_routes(0),
        // Not yet as many pods as the new weight needs.
        Some((index, _)) if !is_at_counts(pass, false) => {
            with_routes(spec::weight_before(&pass.rollout.spec, index))
        }
        Some((_, Some(_))) => with_routes(spec::current_weight(&pass.rollout)),
        Some((_, None)) => with_routes(max),
    }
}

/// What the canary must still get while the stable version grows back, and never more than it
/// gets already.
fn bearable(pass: &Pass) -> i32 {
    let max = spec::max_weight(&pass.rollout.spec);
    let replicas = spec::replicas(&pass.rollout.spec);
    let stable = pass.stable_set().map_or(0, |stable| stable.available);
    let weight = max - share_down(max, stable.min(replicas), replicas);
    let weights = pass.old.canary.weights.as_ref();
    weights.map_or(weight, |weights| weight.min(weights.canary.weight))
}

/// The hash of the canary that still gets traffic after somebody went back to the stable
/// version, where that one shrank meanwhile.
pub(super) fn rolls_back_gradually(pass: &Pass) -> Option<String> {
    let new = pass.new_set()?;
    let weights = pass.old.canary.weights.as_ref()?;
    let canary = &weights.canary;
    let gradual = spec::is_dynamic(&pass.rollout.spec)
        && pass.old.stable_rs == new.hash
        && !canary.pod_template_hash.is_empty()
        && canary.pod_template_hash != new.hash
        && canary.weight > 0
        && new.available < spec::replicas(&pass.rollout.spec);
    gradual.then(|| canary.pod_template_hash.clone())
}

/// True where the stable version has too few pods for the share it would get. An abort does not
/// wait: few good pods are better than any number of bad ones.
fn must_wait_for_stable(pass: &Pass, wanted: &Wanted) -> bool {
    let Some(stable) = pass.other_stable() else {
        return false;
    };
    let spec = &pass.rollout.spec;
    let max = spec::max_weight(spec);
    let present = pass
        .old
        .canary
        .weights
        .as_ref()
        .map(|weights| weights.canary.weight);
    present.is_some_and(|present| present != wanted.weight)
        && !pass.is_aborted()
        && stable.available < share_down(spec::replicas(spec), max - wanted.weight, max)
}

/// True where a Service would get a larger share before anything of its version answers there:
/// its selector may just have been switched, and the router must not be told before the
/// EndpointSlices have been, or it would send requests where nobody is.
fn must_wait_for_endpoints(pass: &Pass, wanted: &Wanted) -> bool {
    let spec = &pass.rollout.spec;
    let Some(canary) = spec::canary(spec) else {
        return false;
    };
    let present = pass.old.canary.weights.as_ref();
    let Some(present) = present.map(|weights| weights.canary.weight) else {
        return false;
    };
    let (service, set) = if wanted.weight > present {
        (&canary.canary_service, pass.new_set())
    } else if wanted.weight < present && !pass.is_aborted() {
        (&canary.stable_service, pass.stable_set())
    } else {
        return false;
    };
    // A version without pods has nothing to wait for.
    let Some(set) = set.filter(|set| set.available > 0) else {
        return false;
    };
    let view = service.as_ref().and_then(|name| pass.services.get(name));
    let of_set = |pod: &String| {
        let rest = pod.strip_prefix(&set.name);
        rest.is_some_and(|rest| rest.starts_with('-'))
    };
    view.is_some_and(|view| !view.ready.iter().any(of_set))
}

fn record(pass: &mut Pass, weight: i32) {
    let Some(canary) = spec::canary(&pass.rollout.spec) else {
        return;
    };
    let canary_hash = rolls_back_gradually(pass).unwrap_or_else(|| pass.new_hash());
    let side = |weight, service: &Option<String>, hash: String| WeightDestination {
        weight,
        service_name: service.clone().unwrap_or_default(),
        pod_template_hash: hash,
    };
    let stable_hash = pass
        .stable_set()
        .map(|set| set.hash.clone())
        .unwrap_or_default();
    let weights = TrafficWeights {
        canary: side(weight, &canary.canary_service, canary_hash),
        stable: side(
            spec::max_weight(&pass.rollout.spec) - weight,
            &canary.stable_service,
            stable_hash,
        ),
        // The route has been written, and that is all the plugin asks for.
        verified: Some(true),
    };
    let before = pass
        .old
        .canary
        .weights
        .as_ref()
        .map(|weights| weights.canary.weight);
    match before {
        None => pass.tell_now(
            "TrafficWeightUpdated",
            format!("Traffic weight updated to {weight}"),
        ),
        Some(before) if before != weight => pass.tell_now(
            "TrafficWeightUpdated",
            format!("Traffic weight updated from {before} to {weight}"),
        ),
        Some(_) => {}
    }
    pass.weights = Some(weights);
}
