//! What a Deployment has to do next. Pure: everything it looks at is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use lab_api::names::REVISION;

use super::revision::{Sets, renewed_annotations, revision, size_notes, surplus};
use super::rolling::{grow_new, proportional, shrink_old};
use super::size::{Bounds, Size, recreates, wanted};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// Create the new ReplicaSet with so many replicas.
    Create {
        /// `spec.replicas`.
        replicas: i32,
    },
    /// Give a ReplicaSet another size, and note the Deployment's on it.
    Resize {
        /// Which.
        set: Arc<ReplicaSet>,
        /// `spec.replicas`.
        to: i32,
    },
    /// Write annotations on the new ReplicaSet, and the Deployment's `minReadySeconds`.
    Renew {
        /// Which.
        set: Arc<ReplicaSet>,
        /// Annotations to set.
        annotations: BTreeMap<String, String>,
    },
    /// Write the new ReplicaSet's revision on the Deployment.
    SetRevision(String),
    /// Delete an old ReplicaSet that is no longer needed to go back to.
    Delete(Arc<ReplicaSet>),
}

/// What to do for `deployment`, given its ReplicaSets. `old_pods_remain` matters to Recreate
/// alone: pods of old ReplicaSets exist, if only to terminate.
///
/// One kind of step at a time: the next reconcile, with the world as it is then, takes the
/// next.
pub(super) fn desired(deployment: &Deployment, sets: &Sets, old_pods_remain: bool) -> Vec<Change> {
    if deployment.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let bounds = Bounds::of(deployment);
    let changes = book_keeping(deployment, sets);
    if !changes.is_empty() {
        return changes;
    }
    if is_paused(deployment) {
        let changes = follow_size(deployment, bounds, sets);
        return or_else(changes, || clean_up(deployment, sets));
    }
    if was_resized(bounds, sets) {
        let changes = follow_size(deployment, bounds, sets);
        if !changes.is_empty() {
            return changes;
        }
    }
    let strategy = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref());
    let changes = if recreates(strategy) {
        recreate(bounds, sets, old_pods_remain)
    } else {
        roll(bounds, sets)
    };
    or_else(changes, || {
        if is_complete(bounds, sets) {
            clean_up(deployment, sets)
        } else {
            Vec::new()
        }
    })
}

/// `spec.paused`.
pub(super) fn is_paused(deployment: &Deployment) -> bool {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.paused)
        .unwrap_or(false)
}

fn or_else(changes: Vec<Change>, otherwise: impl FnOnce() -> Vec<Change>) -> Vec<Change> {
    if changes.is_empty() {
        otherwise()
    } else {
        changes
    }
}

fn book_keeping(deployment: &Deployment, sets: &Sets) -> Vec<Change> {
    let Some(new) = &sets.new else {
        return Vec::new();
    };
    let min_ready = |seconds: Option<i32>| seconds.unwrap_or(0);
    let of_set = new.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
    let of_deployment = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds);
    let annotations = renewed_annotations(deployment, new, &sets.old);
    if !annotations.is_empty() || min_ready(of_set) != min_ready(of_deployment) {
        let set = Arc::clone(new);
        return vec![Change::Renew { set, annotations }];
    }
    let number = revision(&new.metadata).to_string();
    let written = deployment
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(REVISION));
    if written == Some(&number) {
        Vec::new()
    } else {
        vec![Change::SetRevision(number)]
    }
}

fn is_active(replica_set: &ReplicaSet) -> bool {
    wanted(replica_set) > 0
}

/// True where the Deployment's size is not the one noted on a ReplicaSet with pods.
fn was_resized(bounds: Bounds, sets: &Sets) -> bool {
    sets.all()
        .filter(|set| is_active(set))
        .filter_map(|set| Size::of(set).noted_desired)
        .any(|noted| noted != bounds.replicas)
}

/// Spreads a new size of the Deployment over its ReplicaSets without rolling out anything.
fn follow_size(deployment: &Deployment, bounds: Bounds, sets: &Sets) -> Vec<Change> {
    let active: Vec<_> = sets.all().filter(|set| is_active(set)).collect();
    match active.as_slice() {
        [] => sets
            .new
            .iter()
            .chain(sets.old.last())
            .take(1)
            .filter_map(|set| resize(bounds, set, bounds.replicas))
            .collect(),
        [only] => resize(bounds, only, bounds.replicas).into_iter().collect(),
        _ if is_saturated(bounds, sets) => sets
            .old
            .iter()
            .filter(|set| is_active(set))
            .filter_map(|set| resize(bounds, set, 0))
            .collect(),
        several => {
            let reported = deployment
                .status
                .as_ref()
                .and_then(|status| status.replicas)
                .unwrap_or(0);
            let sizes: Vec<_> = several.iter().map(|set| Size::of(set)).collect();
            let resizes = proportional(bounds, reported, &sizes);
            several
                .iter()
                .filter_map(|set| resize(bounds, set, *resizes.get(set.metadata.name.as_ref()?)?))
                .collect()
        }
    }
}

/// True where the new ReplicaSet has all the pods that the Deployment wants.
fn is_saturated(bounds: Bounds, sets: &Sets) -> bool {
    sets.new
        .as_ref()
        .map(|set| Size::of(set))
        .is_some_and(|new| {
            new.wanted == bounds.replicas
                && new.noted_desired == Some(bounds.replicas)
                && new.available == bounds.replicas
        })
}

/// A resize, where the size or what is noted of it differs.
fn resize(bounds: Bounds, set: &Arc<ReplicaSet>, to: i32) -> Option<Change> {
    let present = set.metadata.annotations.as_ref();
    let noted = size_notes(bounds)
        .iter()
        .all(|(key, value)| present.and_then(|all| all.get(key)) == Some(value));
    (wanted(set) != to || !noted).then(|| Change::Resize {
        set: Arc::clone(set),
        to,
    })
}

fn roll(bounds: Bounds, sets: &Sets) -> Vec<Change> {
    let total: i32 = sets.all().map(|set| wanted(set)).sum();
    let Some(new) = &sets.new else {
        let replicas = grow_new(bounds, 0, total);
        return vec![Change::Create { replicas }];
    };
    let grown = grow_new(bounds, wanted(new), total);
    if grown != wanted(new) {
        return resize(bounds, new, grown).into_iter().collect();
    }
    let old: Vec<_> = sets.old.iter().map(|set| Size::of(set)).collect();
    let resizes = shrink_old(bounds, &Size::of(new), &old);
    sets.old
        .iter()
        .filter_map(|set| resize(bounds, set, *resizes.get(set.metadata.name.as_ref()?)?))
        .collect()
}

fn recreate(bounds: Bounds, sets: &Sets, old_pods_remain: bool) -> Vec<Change> {
    let shrunk: Vec<_> = sets
        .old
        .iter()
        .filter(|set| is_active(set))
        .filter_map(|set| resize(bounds, set, 0))
        .collect();
    if !shrunk.is_empty() || old_pods_remain {
        return shrunk;
    }
    match &sets.new {
        None => vec![Change::Create {
            replicas: bounds.replicas,
        }],
        Some(new) if wanted(new) != bounds.replicas => {
            resize(bounds, new, bounds.replicas).into_iter().collect()
        }
        Some(_) => Vec::new(),
    }
}

fn is_complete(bounds: Bounds, sets: &Sets) -> bool {
    let count = |of: fn(&ReplicaSet) -> i32| sets.all().map(|set| of(set)).sum::<i32>();
    let updated = sets.new.as_ref().map_or(0, |new| reported(new));
    updated == bounds.replicas
        && count(reported) == bounds.replicas
        && count(|set| Size::of(set).available) == bounds.replicas
}

fn reported(replica_set: &ReplicaSet) -> i32 {
    replica_set
        .status
        .as_ref()
        .map_or(0, |status| status.replicas)
}

fn clean_up(deployment: &Deployment, sets: &Sets) -> Vec<Change> {
    surplus(deployment, &sets.old)
        .into_iter()
        .map(Change::Delete)
        .collect()
}

#[cfg(test)]
mod tests;
