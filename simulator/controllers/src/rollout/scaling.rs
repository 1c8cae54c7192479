//! Sizes of ReplicaSets: of the new and the stable one, and of older ones, which are kept for a
//! while so that one can go back to them.

use std::collections::BTreeMap;
use std::time::Duration;

use lab_api::rollouts::{DESIRED_REPLICAS, SCALE_DOWN_DEADLINE};

use super::counts::{self, Routed};
use super::pass::{Change, Pass};
use super::pause;
use super::revision::is_referenced;
use super::set::Set;
use super::spec::{self, AbortDelay};
use crate::patch;

/// Gives a ReplicaSet another size; false where it has it already.
pub(super) fn scale(pass: &mut Pass, index: usize, to: i32) -> bool {
    let replicas = spec::replicas(&pass.rollout.spec);
    let set = &mut pass.sets[index];
    let from = set.wanted;
    if from == to && set.noted == Some(replicas) {
        return false;
    }
    let mut annotations =
        BTreeMap::from([(DESIRED_REPLICAS.to_owned(), Some(replicas.to_string()))]);
    if to == 0 && set.deadline.take().is_some() {
        annotations.insert(SCALE_DOWN_DEADLINE.to_owned(), None);
    }
    set.wanted = to;
    set.noted = Some(replicas);
    let (name, revision) = (set.name.clone(), set.revision);
    pass.push(Change::Scale {
        set: name.clone(),
        to,
        annotations,
    });
    if from == to {
        return false;
    }
    let direction = if to > from { "up" } else { "down" };
    pass.tell_now(
        "ScalingReplicaSet",
        format!("Scaled {direction} ReplicaSet {name} (revision {revision}) from {from} to {to}"),
    );
    true
}

/// Sets when a ReplicaSet is to be scaled down.
fn add_deadline(pass: &mut Pass, index: usize, delay: Duration) {
    let delay = pass.scaled(delay);
    let Ok(at) = pass.now.checked_add(delay) else {
        return;
    };
    let text = patch::rfc3339(at);
    let set = &mut pass.sets[index];
    set.deadline = Some(text.clone());
    let name = set.name.clone();
    annotate(pass, name, Some(text));
    pass.wake_after(delay);
}

fn remove_deadline(pass: &mut Pass, index: usize) {
    let set = &mut pass.sets[index];
    if set.deadline.take().is_some() {
        let name = set.name.clone();
        annotate(pass, name, None);
    }
}

fn annotate(pass: &mut Pass, set: String, deadline: Option<String>) {
    pass.push(Change::Annotate {
        set,
        annotations: BTreeMap::from([(SCALE_DOWN_DEADLINE.to_owned(), deadline)]),
        min_ready: None,
    });
}

/// New and stable stay, even if they were on their way out before.
pub(super) fn keep_new_and_stable(pass: &mut Pass) {
    let stays = !delays_scale_down_on_abort(pass);
    if let Some(stable) = pass.stable {
        remove_deadline(pass, stable);
    }
    if let Some(new) = pass.new.filter(|_| stays) {
        remove_deadline(pass, new);
    }
}

/// The sizes of new and stable for a canary; `weights` are those that the stable side must be
/// able to serve.
pub(super) fn canary_counts(pass: &Pass, with_weights: bool) -> (i32, i32) {
    let (fixed, weight) = replicas_or_weight(pass);
    let spec = &pass.rollout.spec;
    if !spec::is_routed(spec) {
        let others = pass.others().map(|set| set.wanted).sum();
        return counts::basic(
            spec::limits(spec),
            weight,
            pass.new_set(),
            pass.other_stable(),
            others,
        );
    }
    let present = pass.weights.as_ref().filter(|_| with_weights);
    counts::routed(Routed {
        replicas: spec::replicas(spec),
        fixed,
        weight,
        max: spec::max_weight(spec),
        dynamic: spec::is_dynamic(spec),
        least: spec::canary(spec)
            .and_then(|canary| canary.min_pods_per_replica_set)
            .unwrap_or(0),
        aborted: pass.old.abort,
        present: present.map(|weights| (weights.canary.weight, weights.stable.weight)),
    })
}

/// A number of pods that a step set, or else the weight that decides.
fn replicas_or_weight(pass: &Pass) -> (Option<i32>, i32) {
    let full = spec::max_weight(&pass.rollout.spec);
    if pass.old.promote_full || pass.old.stable_rs.is_empty() || pass.is_promoted() {
        return (None, full);
    }
    match spec::canary_scale(&pass.rollout) {
        Some(scale) if scale.replicas.is_some() => (scale.replicas, 0),
        // A share of the replicas in percent, whatever weights add up to.
        Some(scale) if scale.weight.is_some() => {
            let percent = scale.weight.unwrap_or(0);
            let replicas = spec::replicas(&pass.rollout.spec);
            let count = counts::share_up(replicas, percent, spec::FULL_WEIGHT);
            if spec::is_dynamic(&pass.rollout.spec) {
                (None, percent)
            } else {
                (Some(count), 0)
            }
        }
        _ => (None, spec::current_weight(&pass.rollout)),
    }
}

/// True where new and stable have the sizes that the present step asks for.
pub(super) fn is_at_counts(pass: &Pass, with_weights: bool) -> bool {
    let (new_count, stable_count) = canary_counts(pass, with_weights);
    let new_is_there = pass
        .new_set()
        .is_some_and(|new| new.wanted == new_count && new.available == new_count);
    let stable_is_there = || {
        pass.stable_set()
            .is_some_and(|stable| stable.wanted == stable_count && stable.replicas == stable_count)
    };
    let others_are_gone = || pass.others().all(|set| set.available == 0);
    let spec = &pass.rollout.spec;
    new_is_there
        && (spec::is_dynamic(spec) || stable_is_there())
        && (spec::is_routed(spec) || others_are_gone())
}

/// The size of the new ReplicaSet.
pub(super) fn new_count(pass: &Pass) -> i32 {
    let spec = &pass.rollout.spec;
    let replicas = spec::replicas(spec);
    let Some(blue_green) = spec::blue_green(spec) else {
        return canary_counts(pass, true).0;
    };
    let Some(preview) = blue_green.preview_replica_count else {
        return replicas;
    };
    let active = pass.set_of(&pass.old.blue_green.active_selector);
    let new = pass.new_set();
    let is_active = match (active, new) {
        (Some(active), Some(new)) => active.name == new.name,
        _ => true,
    };
    let is_known = new.is_some_and(|new| new.hash == pass.old.current_pod_hash);
    let is_paused = spec.paused == Some(true) || !pass.old.pause_conditions.is_empty();
    let grows = pass.old.blue_green.scale_up_preview_check_point && !is_paused;
    if is_active || pass.old.promote_full || (is_known && grows) {
        replicas
    } else {
        preview
    }
}

/// Scales the new ReplicaSet; true where there was something to do.
pub(super) fn scale_new(pass: &mut Pass) -> bool {
    let Some(index) = pass.new else {
        return false;
    };
    let mut count = new_count(pass);
    if delays_scale_down_on_abort(pass) {
        let new = pass.sets[index].clone();
        if let Some(due) = new.due() {
            if pass.wait_until(due) {
                return false;
            }
            count = 0;
        } else if new.wanted > 0 {
            let replicas = spec::replicas(&pass.rollout.spec);
            let served = pass
                .stable_set()
                .is_some_and(|stable| stable.available >= replicas);
            if let (true, AbortDelay::For(delay, _)) =
                (served, spec::abort_delay(&pass.rollout.spec))
            {
                add_deadline(pass, index, delay);
            }
            // Up until stable can serve alone and the delay has begun.
            return false;
        } else {
            return false;
        }
    }
    scale(pass, index, count)
}

/// True where the new version of an aborted update is kept for a while.
fn delays_scale_down_on_abort(pass: &Pass) -> bool {
    if !pass.is_aborted() || pass.stable.is_none() || pass.stable == pass.new {
        return false;
    }
    match spec::abort_delay(&pass.rollout.spec) {
        AbortDelay::For(_, by_author) => by_author || !spec::is_dynamic(&pass.rollout.spec),
        AbortDelay::Forever | AbortDelay::None => false,
    }
}

/// Scales older ReplicaSets of a canary; true where there was something to do.
pub(super) fn scale_others_of_canary(pass: &mut Pass) -> bool {
    let mut scaled = false;
    // What does not come up is in the way of nothing.
    for index in indexes_of_others(pass) {
        let Set {
            wanted, available, ..
        } = pass.sets[index];
        if available < wanted && !spec::is_routed(&pass.rollout.spec) {
            scaled |= scale(pass, index, available);
        }
    }
    let limits = spec::limits(&pass.rollout.spec);
    let available: i32 = pass.sets.iter().map(|set| set.available).sum();
    let mut room = available - (limits.replicas - limits.unavailable);
    let mut delayed = 0;
    for index in indexes_of_others(pass) {
        let set = pass.sets[index].clone();
        if room <= 0 {
            break;
        }
        if set.wanted == 0 {
            continue;
        }
        let to = if !spec::is_routed(&pass.rollout.spec) {
            // Its pods get traffic as long as they are there.
            (set.wanted - room).max(0)
        } else if is_referenced(pass, &set.hash) {
            continue;
        } else if pass.is_promoted() || set.deadline.is_some() {
            delayed_size(pass, index, &mut delayed)
        } else {
            // A version that was overtaken by a newer one before it was promoted.
            0
        };
        if scale(pass, index, to) {
            scaled = true;
            room -= set.wanted - to;
        }
    }
    scaled
}

/// Scales older ReplicaSets of a blue/green Rollout.
pub(super) fn scale_others_of_blue_green(pass: &mut Pass) -> bool {
    if pass.pauses.since(pause::INCONCLUSIVE).is_some()
        || super::blue_green::keeps_old_for_analysis(pass)
    {
        return false;
    }
    let mut scaled = false;
    let mut delayed = 0;
    for index in indexes_of_others(pass) {
        let set = pass.sets[index].clone();
        if set.wanted == 0 || is_referenced(pass, &set.hash) {
            continue;
        }
        let to = delayed_size(pass, index, &mut delayed);
        scaled |= scale(pass, index, to);
    }
    scaled
}

/// Newest first, so that a limit keeps the newest.
fn indexes_of_others(pass: &Pass) -> Vec<usize> {
    let is_other = |index: &usize| Some(*index) != pass.new && Some(*index) != pass.stable;
    let mut others: Vec<usize> = (0..pass.sets.len()).filter(is_other).collect();
    others.sort_by_key(|index| std::cmp::Reverse(pass.sets[*index].revision));
    others
}

/// The size of an old ReplicaSet: as it is until its deadline, which begins now where it has
/// none yet. `delayed` counts how many have been kept so.
fn delayed_size(pass: &mut Pass, index: usize, delayed: &mut i32) -> i32 {
    let limit = spec::scale_down_delay_limit(&pass.rollout.spec);
    let set = pass.sets[index].clone();
    if set.deadline.is_none() {
        let delay = spec::scale_down_delay(&pass.rollout.spec).unwrap_or_default();
        if *delayed >= limit || delay.is_zero() {
            return 0;
        }
        *delayed += 1;
        add_deadline(pass, index, delay);
        return set.wanted;
    }
    *delayed += 1;
    let waits = *delayed <= limit && set.due().is_some_and(|due| pass.wait_until(due));
    if waits {
        spec::replicas(&pass.rollout.spec)
    } else {
        0
    }
}
