//! One look at a Rollout: what is there, what has been decided so far, and what is to be done.
//!
//! Everything that the decisions look at is in [`World`], and everything they want is in
//! [`Plan`], so that they are functions without I/O. In between, a [`Pass`] collects.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use lab_api::rollouts::{Rollout, RolloutStatus, TrafficWeights};
use serde_json::Value;

use super::analysis::{CurrentRuns, NewRun, Run, Templates};
use super::pause::Pauses;
use super::set::Set;

/// A Service that the Rollout names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ServiceView {
    /// The hash that it selects; empty where it selects by no hash.
    pub hash: String,
    /// The Rollout that writes its selector.
    pub managed_by: Option<String>,
    /// Names of the pods that its EndpointSlices list as ready: those that get its requests.
    pub ready: Vec<String>,
}

/// A route that the traffic router plugin names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RouteView {
    /// `HTTPRoute` or `GRPCRoute`.
    pub kind: &'static str,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The route; `None` where there is none.
    pub object: Option<Value>,
}

/// A pod that a restart may concern.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PodView {
    /// Name.
    pub name: String,
    /// Name of its ReplicaSet.
    pub set: String,
    /// When it was created.
    pub created: Timestamp,
    /// True where it is being deleted.
    pub is_terminating: bool,
    /// True where it is ready.
    pub is_ready: bool,
}

/// All that a decision looks at.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// The Rollout.
    pub rollout: Arc<Rollout>,
    /// Its ReplicaSets.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// The Services that it names, as far as they exist.
    pub services: BTreeMap<String, ServiceView>,
    /// The routes that it names.
    pub routes: Vec<RouteView>,
    /// Its AnalysisRuns.
    pub runs: Vec<Run>,
    /// The templates that its analyses may name.
    pub templates: Templates,
    /// Its pods; only filled in where a restart is due.
    pub pods: Vec<PodView>,
    /// The present moment.
    pub now: Timestamp,
    /// How much faster than real time the Rollout's waits run: pauses and delays, which a class
    /// need not sit through. Deadlines are as written, since applications live in real time.
    pub speed: f64,
}

/// News for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// True for a Warning.
    pub is_warning: bool,
    /// Reason.
    pub reason: &'static str,
    /// Message.
    pub message: String,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    /// Write the revision on the Rollout.
    SetRevision(i64),
    /// Create the ReplicaSet of the new template.
    Create(Box<ReplicaSet>),
    /// Write on a ReplicaSet; an annotation without value is removed.
    Annotate {
        /// Which.
        set: String,
        /// What.
        annotations: BTreeMap<String, Option<String>>,
        /// Another `minReadySeconds`.
        min_ready: Option<i32>,
    },
    /// Give a ReplicaSet another size.
    Scale {
        /// Which.
        set: String,
        /// `spec.replicas`.
        to: i32,
        /// Annotations to write along with it.
        annotations: BTreeMap<String, Option<String>>,
    },
    /// Delete an old ReplicaSet.
    DeleteSet(String),
    /// Let a Service select a version.
    Select {
        /// Which.
        service: String,
        /// The version's hash.
        hash: String,
    },
    /// Replace a route.
    PutRoute(Box<RouteView>),
    /// Create an AnalysisRun.
    CreateRun(Box<NewRun>),
    /// Tell an AnalysisRun to end.
    TerminateRun(String),
    /// Delete an AnalysisRun.
    DeleteRun(String),
    /// Evict a pod, so that it starts anew.
    Restart(String),
    /// Tell, once what comes before is done.
    Tell(News),
}

/// What a look at a Rollout came to.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What to do, in this order; where one fails, no later one is done.
    pub changes: Vec<Change>,
    /// What to report when it is done.
    pub status: RolloutStatus,
    /// What to tell once that is written.
    pub news: Vec<News>,
    /// When to look again, if nothing happens before.
    pub wake: Option<Duration>,
}

/// A look in progress.
pub(super) struct Pass {
    /// The Rollout.
    pub rollout: Arc<Rollout>,
    /// Its status as it was found.
    pub old: RolloutStatus,
    /// Its conditions as they change.
    pub status: RolloutStatus,
    /// The present moment.
    pub now: Timestamp,
    /// See [`World::speed`].
    pub speed: f64,
    /// All ReplicaSets, oldest first.
    pub sets: Vec<Set>,
    /// The one of the present template.
    pub new: Option<usize>,
    /// The one that serves users.
    pub stable: Option<usize>,
    /// Whether the new one was on its way out when it was called back.
    pub was_leaving: bool,
    /// Services by name.
    pub services: BTreeMap<String, ServiceView>,
    /// Routes.
    pub routes: Vec<RouteView>,
    /// AnalysisRuns.
    pub runs: Vec<Run>,
    /// Templates of further ones.
    pub templates: Templates,
    /// The runs that this update waits for.
    pub current: CurrentRuns,
    /// Pods, where a restart is due.
    pub pods: Vec<PodView>,
    /// Pauses and aborts decided.
    pub pauses: Pauses,
    /// Weights at the router.
    pub weights: Option<TrafficWeights>,
    /// True where nothing may go on, because something named is not as it must be.
    pub is_blocked: bool,
    /// Number of the present revision.
    pub revision: i64,
    changes: Vec<Change>,
    news: Vec<News>,
    wake: Option<Duration>,
}

impl Pass {
    /// The beginning of a look.
    pub(super) fn new(world: World) -> Self {
        let old = world.rollout.status.clone().unwrap_or_default();
        let mut sets: Vec<Set> = world.sets.iter().map(Set::of).collect();
        sets.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.name.cmp(&b.name)));
        let hash = super::revision::hash(&world.rollout);
        let with = |hash: &str| {
            sets.iter()
                .position(|set| !hash.is_empty() && set.hash == hash)
        };
        // Whoever goes back to a revision writes its template with the API's defaults in it, so
        // that its hash is another and only the template tells which one is meant.
        let made = || {
            let mut sets = sets.iter();
            sets.position(|set| super::revision::makes(set, &world.rollout))
        };
        let (new, stable) = (with(&hash).or_else(made), with(&old.stable_rs));
        let current = if old.aborted_at.is_some() && !old.abort {
            // A retry asks everything anew.
            CurrentRuns::default()
        } else {
            CurrentRuns::recorded(&old, &world.runs)
        };
        Self {
            // One that leaves because its update was given up has not earned anybody's trust.
            was_leaving: old.aborted_at.is_none()
                && new.is_some_and(|new| sets[new].deadline.is_some()),
            revision: super::revision::of_rollout(&world.rollout),
            pauses: Pauses::new(&old),
            weights: old.canary.weights.clone(),
            status: old.clone(),
            old,
            now: world.now,
            speed: world.speed,
            sets,
            new,
            stable,
            services: world.services,
            routes: world.routes,
            runs: world.runs,
            templates: world.templates,
            current,
            pods: world.pods,
            is_blocked: false,
            changes: Vec::new(),
            news: Vec::new(),
            wake: None,
            rollout: world.rollout,
        }
    }

    /// The ReplicaSet of the present template.
    pub(super) fn new_set(&self) -> Option<&Set> {
        self.new.map(|index| &self.sets[index])
    }

    /// The ReplicaSet that serves users.
    pub(super) fn stable_set(&self) -> Option<&Set> {
        self.stable.map(|index| &self.sets[index])
    }

    /// The stable ReplicaSet where it is another one than the new.
    pub(super) fn other_stable(&self) -> Option<&Set> {
        self.stable_set().filter(|_| self.stable != self.new)
    }

    /// ReplicaSets that are neither new nor stable, oldest first.
    pub(super) fn others(&self) -> impl Iterator<Item = &Set> {
        self.sets
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(*index) != self.new && Some(*index) != self.stable)
            .map(|(_, set)| set)
    }

    /// The ReplicaSet of a version.
    pub(super) fn set_of(&self, hash: &str) -> Option<&Set> {
        self.sets
            .iter()
            .find(|set| !hash.is_empty() && set.hash == hash)
    }

    /// Hash of the present template.
    pub(super) fn new_hash(&self) -> String {
        self.new_set().map_or_else(
            || super::revision::hash(&self.rollout),
            |set| set.hash.clone(),
        )
    }

    /// True where the version that serves users is the one that is wanted.
    pub(super) fn is_promoted(&self) -> bool {
        self.old.stable_rs == self.old.current_pod_hash
    }

    /// True where the update was given up, by somebody or in this look.
    pub(super) fn is_aborted(&self) -> bool {
        self.pauses.is_aborted()
    }

    /// True where a person stopped everything, or an analysis did not come to a result.
    pub(super) fn is_halted(&self) -> bool {
        self.rollout.spec.paused == Some(true)
            || self.pauses.since(super::pause::INCONCLUSIVE).is_some()
    }

    /// Adds something to do.
    pub(super) fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Adds something to tell once all before it is done.
    pub(super) fn tell_now(&mut self, reason: &'static str, message: impl Into<String>) {
        self.changes.push(Change::Tell(News {
            is_warning: false,
            reason,
            message: message.into(),
        }));
    }

    /// Adds something to tell once the status is written.
    pub(super) fn tell(&mut self, reason: &'static str, message: impl Into<String>) {
        self.news.push(News {
            is_warning: false,
            reason,
            message: message.into(),
        });
    }

    /// The same, as a Warning.
    pub(super) fn warn(&mut self, reason: &'static str, message: impl Into<String>) {
        self.news.push(News {
            is_warning: true,
            reason,
            message: message.into(),
        });
    }

    /// A wait of the Rollout, shortened by the cluster's speed.
    pub(super) fn scaled(&self, wait: Duration) -> Duration {
        wait.div_f64(self.speed)
    }

    /// Looks again after `wait` at the latest.
    pub(super) fn wake_after(&mut self, wait: Duration) {
        self.wake = Some(self.wake.map_or(wait, |before| before.min(wait)));
    }

    /// Looks again at `moment`; false where it has come.
    pub(super) fn wait_until(&mut self, moment: Timestamp) -> bool {
        let left = Duration::try_from(moment.duration_since(self.now)).unwrap_or_default();
        if left.is_zero() {
            return false;
        }
        self.wake_after(left);
        true
    }

    /// The end of the look.
    pub(super) fn done(self, status: RolloutStatus) -> Plan {
        Plan {
            changes: self.changes,
            status,
            news: self.news,
            wake: self.wake,
        }
    }
}
