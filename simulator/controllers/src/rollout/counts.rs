//! How many pods each version gets. Pure arithmetic.
//!
//! <https://argo-rollouts.readthedocs.io/en/stable/features/canary/#mimicking-rolling-update>

use super::set::Set;

/// What a Rollout's size and strategy allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Pods wanted.
    pub replicas: i32,
    /// Pods above that, for a while.
    pub surge: i32,
    /// Pods below that, for a while.
    pub unavailable: i32,
}

/// `share` hundredths (or `of`-ths) of `replicas`, rounded up.
pub(super) fn share_up(replicas: i32, share: i32, of: i32) -> i32 {
    let product = i64::from(replicas) * i64::from(share);
    let of = i64::from(of.max(1));
    i32::try_from((product + of - 1).div_euclid(of)).unwrap_or(i32::MAX)
}

/// The same, rounded down.
pub(super) fn share_down(replicas: i32, share: i32, of: i32) -> i32 {
    let product = i64::from(replicas) * i64::from(share);
    i32::try_from(product.div_euclid(i64::from(of.max(1)))).unwrap_or(i32::MAX)
}

/// The numbers of new and stable pods closest to a weight, where pods are the only means to
/// divide the traffic.
///
/// With room to surge the two may add up to one more than `replicas`. A weight of 1 to 99 leaves
/// neither side without pods, unless there is but one pod to divide.
pub(super) fn approximate(replicas: i32, weight: i32, surge: i32) -> (i32, i32) {
    if replicas == 0 {
        return (0, 0);
    }
    let up = share_up(replicas, weight, 100);
    let down = share_down(replicas, weight, 100);
    let is_tied = |total: i32| (i64::from(total) * i64::from(weight)) % 100 == 50;
    let zero_allowed = weight == 100 || weight == 0 || (replicas == 1 && surge == 0);
    let mut options = Vec::new();
    if up < replicas || zero_allowed {
        options.push((up, replicas));
    }
    if !is_tied(replicas) && (down != 0 || zero_allowed) {
        options.push((down, replicas));
    }
    if surge > 0 {
        options.push((up, replicas + 1));
        if !is_tied(replicas + 1) && (down != 0 || zero_allowed) {
            options.push((down, replicas + 1));
        }
    }
    let away = |&(canary, total): &(i32, i32)| {
        (f64::from(canary) * 100.0 / f64::from(total) - f64::from(weight)).abs()
    };
    // The first of equals, so that of two options the larger canary is taken.
    let best = options.into_iter().reduce(|best, next| {
        if away(&next) < away(&best) {
            next
        } else {
            best
        }
    });
    best.map_or((0, replicas), |(canary, total)| (canary, total - canary))
}

/// The next numbers of new and stable pods on the way to a weight, within surge and
/// unavailability. `stable` is absent where it is the new version, or there is none yet;
/// `others` is what older ReplicaSets still ask for.
pub(super) fn basic(
    limits: Limits,
    weight: i32,
    new: Option<&Set>,
    stable: Option<&Set>,
    others: i32,
) -> (i32, i32) {
    let (goal_new, goal_stable) = match stable {
        Some(_) => approximate(limits.replicas, weight, limits.surge),
        None => (limits.replicas, 0),
    };
    let wanted = |set: Option<&Set>| set.map_or(0, |set| set.wanted);
    let (mut to_new, mut to_stable) = (wanted(new), wanted(stable));
    let max_total = limits.replicas.saturating_add(limits.surge);
    let mut room = max_total - to_new - to_stable - others;
    if to_stable < goal_stable && room > 0 {
        let more = room.min(goal_stable - to_stable);
        to_stable += more;
        room -= more;
    }
    if new.is_some() && to_new < goal_new && room > 0 {
        to_new += room.min(goal_new - to_new);
    }
    if others > 0 {
        // Those go first.
        return (to_new, to_stable);
    }
    let min_available = limits.replicas - limits.unavailable;
    let grows = new.is_none_or(|new| goal_new >= new.wanted);
    let counted =
        |set: Option<&Set>, whether_or_not| set.map_or(0, |set| set.counted(whether_or_not));
    let surplus = counted(new, !grows) + counted(stable, grows) - min_available;
    if surplus <= 0 {
        return (to_new, to_stable);
    }
    let bounds = (max_total, min_available);
    if grows {
        if stable.is_some() {
            to_stable = shrunk(stable, goal_stable, surplus, to_stable);
            (to_stable, to_new) = within((stable, to_stable), (new, to_new), bounds);
        }
    } else {
        to_new = shrunk(new, goal_new, surplus, to_new);
        (to_new, to_stable) = within((new, to_new), (stable, to_stable), bounds);
    }
    (to_new, to_stable)
}

/// The size of a ReplicaSet that gives up at most `surplus` pods on the way to its goal.
fn shrunk(set: Option<&Set>, goal: i32, surplus: i32, otherwise: i32) -> i32 {
    match set {
        Some(set) if set.wanted > goal => goal.max(set.wanted - surplus),
        Some(_) | None => otherwise,
    }
}

/// Holds the sizes of the side that shrinks and of the other one within `(max_total,
/// min_available)`.
fn within(
    (shrinking, mut shrinking_to): (Option<&Set>, i32),
    (other, mut other_to): (Option<&Set>, i32),
    (max_total, min_available): (i32, i32),
) -> (i32, i32) {
    let Some(other) = other else {
        return (shrinking_to, other_to);
    };
    let over = |a: i32, b: i32| (a + b - max_total).max(0);
    let kept = shrinking.map_or(0, |set| set.available.min(shrinking_to));
    other_to -= over(shrinking_to, other_to);
    let available = kept + other.available.min(other_to);
    let lost = (other.available - other_to).max(0);
    other_to += lost.min((min_available - available).max(0));
    shrinking_to -= over(shrinking_to, other_to);
    (shrinking_to, other_to)
}

/// What a canary with a traffic router is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Routed {
    /// Pods wanted.
    pub replicas: i32,
    /// A number of pods that a step set.
    pub fixed: Option<i32>,
    /// Otherwise the weight that decides.
    pub weight: i32,
    /// What weights add up to.
    pub max: i32,
    /// Whether the stable version shrinks as the canary grows.
    pub dynamic: bool,
    /// Least number of pods of a version that has any.
    pub least: i32,
    /// Whether the update was given up.
    pub aborted: bool,
    /// Weights of canary and stable at the router now.
    pub present: Option<(i32, i32)>,
}

/// The numbers of new and stable pods where a router divides the traffic.
pub(super) fn routed(routed: Routed) -> (i32, i32) {
    let at_least = |count: i32| {
        if count == 0 {
            0
        } else {
            count.max(routed.least)
        }
    };
    let share = |weight| share_up(routed.replicas, weight, routed.max);
    let mut canary = routed
        .fixed
        .unwrap_or_else(|| at_least(share(routed.weight)));
    if !routed.dynamic {
        return (canary, routed.replicas);
    }
    // Enough for the traffic it has and for what it is about to get.
    let mut stable = share(routed.max - routed.weight);
    if let Some((canary_now, stable_now)) = routed.present {
        stable = stable.max(share(stable_now));
        if routed.aborted {
            canary = canary.max(share(canary_now));
        }
    }
    (at_least(canary), at_least(stable))
}

#[cfg(test)]
mod tests;
