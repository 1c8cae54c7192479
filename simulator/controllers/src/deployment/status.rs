//! What a Deployment reports: counts, and the conditions Available, Progressing and
//! ReplicaFailure.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status>

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::is_paused;
use super::revision::Sets;
use super::size::{Bounds, wanted};
use crate::patch::nonzero;

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// What just happened to the new ReplicaSet, where the caches cannot tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It was created.
    Created(String),
    /// It could not be created, and why.
    Refused(String, String),
    /// Its name, made from the template's hash, is another one's.
    Collided,
}

/// The status of a Deployment with these ReplicaSets.
pub(super) fn observe(
    deployment: &Deployment,
    sets: &Sets,
    news: Option<&News>,
    now: Timestamp,
) -> DeploymentStatus {
    let before = deployment.status.clone().unwrap_or_default();
    let mut status = counts(deployment, sets);
    status.collision_count = match news {
        Some(News::Collided) => Some(before.collision_count.unwrap_or(0).saturating_add(1)),
        Some(News::Created(_) | News::Refused(..)) | None => before.collision_count,
    };
    let mut conditions = Conditions {
        list: before.conditions.clone().unwrap_or_default(),
        now,
    };
    set_available(&mut conditions, deployment, &status);
    set_progressing(&mut conditions, deployment, sets, (&before, &status), news);
    set_replica_failure(&mut conditions, sets);
    status.conditions = (!conditions.list.is_empty()).then_some(conditions.list);
    status
}

fn counts(deployment: &Deployment, sets: &Sets) -> DeploymentStatus {
    let sum = |of: fn(&ReplicaSet) -> i32| sets.all().map(|set| of(set)).sum::<i32>();
    let available = sum(|set| reported(set).available_replicas.unwrap_or(0));
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: nonzero(sum(|set| reported(set).replicas)),
        updated_replicas: nonzero(sets.new.as_ref().map_or(0, |new| reported(new).replicas)),
        ready_replicas: nonzero(sum(|set| reported(set).ready_replicas.unwrap_or(0))),
        available_replicas: nonzero(available),
        unavailable_replicas: nonzero((sum(wanted) - available).max(0)),
        ..DeploymentStatus::default()
    }
}

fn reported(replica_set: &ReplicaSet) -> k8s_openapi::api::apps::v1::ReplicaSetStatus {
    replica_set.status.clone().unwrap_or_default()
}

struct Conditions {
    list: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    fn get(&self, type_: &str) -> Option<&DeploymentCondition> {
        self.list.iter().find(|condition| condition.type_ == type_)
    }

    fn remove(&mut self, type_: &str) {
        self.list.retain(|condition| condition.type_ != type_);
    }

    /// Sets a condition whose times move only when its status or reason does.
    fn set(&mut self, type_: &str, status: &str, reason: &str, message: String) {
        let same = |found: &DeploymentCondition| {
            found.status == status && found.reason.as_deref() == Some(reason)
        };
        if !self.get(type_).is_some_and(same) {
            self.refresh(type_, status, reason, message);
        }
    }

    /// Sets a condition and marks it as updated now, even if it says what it said before.
    fn refresh(&mut self, type_: &str, status: &str, reason: &str, message: String) {
        let now = Some(Time(self.now));
        let before = self.list.iter().position(|found| found.type_ == type_);
        let since = before
            .map(|at| &self.list[at])
            .filter(|found| found.status == status)
            .and_then(|found| found.last_transition_time.clone());
        let condition = DeploymentCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: since.or_else(|| now.clone()),
            last_update_time: now,
        };
        match before {
            Some(at) => self.list[at] = condition,
            None => self.list.push(condition),
        }
    }
}

fn set_available(conditions: &mut Conditions, deployment: &Deployment, status: &DeploymentStatus) {
    let enough = status.available_replicas.unwrap_or(0) >= Bounds::of(deployment).min_available();
    let (value, reason, message) = if enough {
        (
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        )
    } else {
        (
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        )
    };
    conditions.set(AVAILABLE, value, reason, message.to_owned());
}

/// `progressDeadlineSeconds`. Not scaled: the application's author wrote it.
fn deadline(deployment: &Deployment) -> Option<Duration> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    (seconds != i32::MAX).then(|| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn set_progressing(
    conditions: &mut Conditions,
    deployment: &Deployment,
    sets: &Sets,
    (before, status): (&DeploymentStatus, &DeploymentStatus),
    news: Option<&News>,
) {
    let Some(deadline) = deadline(deployment) else {
        return conditions.remove(PROGRESSING);
    };
    match news {
        Some(News::Created(name)) => {
            let message = format!("Created new replica set {name:?}");
            return conditions.set(PROGRESSING, "True", "NewReplicaSetCreated", message);
        }
        Some(News::Refused(name, why)) => {
            let message = format!("Failed to create new replica set {name:?}: {why}");
            return conditions.set(PROGRESSING, "False", "ReplicaSetCreateError", message);
        }
        Some(News::Collided) | None => {}
    }
    let reason = conditions
        .get(PROGRESSING)
        .and_then(|progress| progress.reason.clone());
    let reason = reason.as_deref();
    if is_paused(deployment) {
        if reason != Some(DEADLINE_EXCEEDED) {
            let message = "Deployment is paused".to_owned();
            conditions.set(PROGRESSING, "Unknown", PAUSED, message);
        }
        return;
    }
    if reason == Some(PAUSED) {
        let message = "Deployment is resumed".to_owned();
        return conditions.set(PROGRESSING, "Unknown", "DeploymentResumed", message);
    }
    if reason.is_none()
        && let Some(new) = &sets.new
    {
        let name = new.metadata.name.as_deref().unwrap_or_default();
        let message = format!("Found new replica set {name:?}");
        return conditions.set(PROGRESSING, "True", "FoundNewReplicaSet", message);
    }
    let was_complete =
        reason == Some(NEW_SET_AVAILABLE) && status.replicas == status.updated_replicas;
    if was_complete {
        return;
    }
    let subject = subject(deployment, sets);
    if is_complete(deployment, status) {
        let message = format!("{subject} has successfully progressed.");
        conditions.set(PROGRESSING, "True", NEW_SET_AVAILABLE, message);
    } else if has_progressed(before, status) {
        let message = format!("{subject} is progressing.");
        conditions.refresh(PROGRESSING, "True", "ReplicaSetUpdated", message);
    } else if is_overdue(conditions, deadline) {
        let message = format!("{subject} has timed out progressing.");
        conditions.set(PROGRESSING, "False", DEADLINE_EXCEEDED, message);
    }
}

fn subject(deployment: &Deployment, sets: &Sets) -> String {
    let (kind, meta) = match &sets.new {
        Some(new) => ("ReplicaSet", &new.metadata),
        None => ("Deployment", &deployment.metadata),
    };
    format!("{kind} {:?}", meta.name.as_deref().unwrap_or_default())
}

fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let replicas = nonzero(super::size::replicas(deployment));
    status.updated_replicas == replicas
        && status.replicas == replicas
        && status.available_replicas == replicas
}

fn has_progressed(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let count = |number: Option<i32>| number.unwrap_or(0);
    let old = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(now.updated_replicas) > count(before.updated_replicas)
        || old(now) < old(before)
        || count(now.ready_replicas) > count(before.ready_replicas)
        || count(now.available_replicas) > count(before.available_replicas)
}

fn is_overdue(conditions: &Conditions, deadline: Duration) -> bool {
    let Some(progress) = conditions.get(PROGRESSING) else {
        return false;
    };
    match progress.reason.as_deref() {
        Some(NEW_SET_AVAILABLE) => false,
        Some(DEADLINE_EXCEEDED) => true,
        _ => due(progress, deadline).is_some_and(|due| due < conditions.now),
    }
}

fn due(progress: &DeploymentCondition, deadline: Duration) -> Option<Timestamp> {
    progress
        .last_update_time
        .as_ref()?
        .0
        .checked_add(deadline)
        .ok()
}

/// How long until `status` may say that the deadline has passed.
pub(super) fn next_deadline(
    deployment: &Deployment,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = deadline(deployment)?;
    if is_paused(deployment) || is_complete(deployment, status) {
        return None;
    }
    let progress = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == PROGRESSING)?;
    if progress.reason.as_deref() == Some(DEADLINE_EXCEEDED) {
        return None;
    }
    // Times in a status are whole seconds, hence one more.
    let left = Duration::try_from(due(progress, deadline)?.duration_since(now)).unwrap_or_default();
    Some(left + Duration::from_secs(1))
}

/// Passes on what a ReplicaSet says about pods that it cannot create or delete.
fn set_replica_failure(conditions: &mut Conditions, sets: &Sets) {
    let failure = sets
        .all()
        .flat_map(|set| reported(set).conditions.unwrap_or_default())
        .find(|condition| condition.type_ == REPLICA_FAILURE);
    match failure {
        None => conditions.remove(REPLICA_FAILURE),
        Some(failure) => conditions.set(
            REPLICA_FAILURE,
            &failure.status,
            failure.reason.as_deref().unwrap_or_default(),
            failure.message.unwrap_or_default(),
        ),
    }
}

#[cfg(test)]
mod tests;
