//! One step of a rolling update: the new ReplicaSet grows, or the old ones shrink.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment>

use std::collections::BTreeMap;

use super::size::{Bounds, Size};

/// A ReplicaSet's name and the size it is to have.
pub(super) type Resizes = BTreeMap<String, i32>;

/// The size of the new ReplicaSet, given how many pods all ReplicaSets want together.
pub(super) fn grow_new(bounds: Bounds, new: i32, total: i32) -> i32 {
    if new >= bounds.replicas {
        return bounds.replicas;
    }
    let room = bounds.max_total().saturating_sub(total).max(0);
    new + room.min(bounds.replicas - new)
}

/// The sizes of the `old` ReplicaSets that shrink: first by pods that do not serve anyway,
/// then by as many as may be missed; the oldest ReplicaSet first.
pub(super) fn shrink_old(bounds: Bounds, new: &Size, old: &[Size]) -> Resizes {
    let total: i32 = new.wanted + old.iter().map(|size| size.wanted).sum::<i32>();
    let budget = total - bounds.min_available() - new.unavailable();
    let mut old = old.to_vec();
    old.sort_by_key(|size| size.created);
    let before: Resizes = old
        .iter()
        .map(|size| (size.name.clone(), size.wanted))
        .collect();
    drop_unhealthy(&mut old, budget);
    drop_healthy(&mut old, bounds, new);
    old.into_iter()
        .filter(|size| before.get(&size.name) != Some(&size.wanted))
        .map(|size| (size.name, size.wanted))
        .collect()
}

fn drop_unhealthy(old: &mut [Size], budget: i32) {
    let mut left = budget.max(0);
    for size in old {
        let dropped = size.unavailable().min(left);
        size.wanted -= dropped;
        left -= dropped;
    }
}

fn drop_healthy(old: &mut [Size], bounds: Bounds, new: &Size) {
    // A ReplicaSet deletes the pods that serve least first, so what was dropped above does not
    // count against those available.
    let total: i32 = new.wanted + old.iter().map(|size| size.wanted).sum::<i32>();
    let available: i32 = new.available + old.iter().map(|size| size.available).sum::<i32>();
    let budget = total - bounds.min_available() - new.unavailable();
    let mut left = (available - bounds.min_available()).min(budget).max(0);
    for size in old {
        let dropped = size.wanted.min(left);
        size.wanted -= dropped;
        left -= dropped;
    }
}

/// New sizes after the Deployment itself was resized in mid-rollout: each of the `active`
/// ReplicaSets keeps its share, and the largest takes what rounding leaves over.
///
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling>
pub(super) fn proportional(bounds: Bounds, reported: i32, active: &[Size]) -> Resizes {
    let total: i32 = active.iter().map(|size| size.wanted).sum();
    let allowed = if bounds.replicas > 0 {
        bounds.max_total()
    } else {
        0
    };
    let to_add = allowed - total;
    let mut sizes = active.to_vec();
    sizes.sort_by(|a, b| {
        let by_age = if to_add > 0 {
            b.created.cmp(&a.created)
        } else {
            a.created.cmp(&b.created)
        };
        b.wanted.cmp(&a.wanted).then(by_age)
    });
    let mut added = 0;
    for size in &mut sizes {
        let part = part(bounds, reported, size, to_add - added);
        size.wanted += part;
        added += part;
    }
    if let Some(first) = sizes.first_mut() {
        first.wanted = (first.wanted + to_add - added).max(0);
    }
    sizes
        .into_iter()
        .map(|size| (size.name, size.wanted))
        .collect()
}

/// What one ReplicaSet gains (or loses) of the `left` pods still to be given out (or taken).
fn part(bounds: Bounds, reported: i32, size: &Size, left: i32) -> i32 {
    if size.wanted == 0 || left == 0 {
        return 0;
    }
    let share = share(bounds, reported, size);
    if left > 0 {
        share.clamp(0, left)
    } else {
        share.clamp(left, 0)
    }
}

fn share(bounds: Bounds, reported: i32, size: &Size) -> i32 {
    if bounds.replicas == 0 {
        return -size.wanted;
    }
    let before = i64::from(size.noted_max.filter(|max| *max > 0).unwrap_or(reported));
    if before <= 0 {
        return 0;
    }
    let scaled = i64::from(size.wanted) * i64::from(bounds.max_total());
    let rounded = (2 * scaled + before) / (2 * before);
    i32::try_from(rounded).unwrap_or(i32::MAX) - size.wanted
}

#[cfg(test)]
mod tests;
