//! A Deployment or a Rollout with its revisions: which version is asked for, which were there
//! before, and when one took over from another.
//!
//! The two kinds say it in different words. A Deployment's ReplicaSet is found by its template,
//! and the end of an update is its condition `Progressing`; a Rollout names hashes, and its
//! condition is `Completed`. When an update began, only events tell in either case: going back to
//! an earlier revision makes no new ReplicaSet.

use futures::try_join;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use lab_api::rollouts::{self, Rollout};
use lab_api::{objects, pods};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::read;
use crate::workload::Workloads;

const DEPLOYMENT_REVISION: &str = "deployment.kubernetes.io/revision";
const DEPLOYMENT_HISTORY: &str = "deployment.kubernetes.io/revision-history";

/// Which workload a lab means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SubjectName {
    /// A Deployment.
    Deployment(String),
    /// A Rollout of Argo Rollouts.
    Rollout(String),
}

/// The parameters by which a check says which workload it means.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct SubjectFields {
    deployment: Option<String>,
    rollout: Option<String>,
}

impl SubjectFields {
    /// The one of the two that is there; the error says what is wrong.
    pub(crate) fn required(&self) -> Result<SubjectName, String> {
        self.optional()?
            .ok_or_else(|| "`deployment` or `rollout` is missing".to_owned())
    }

    /// The same where both may be left out.
    pub(crate) fn optional(&self) -> Result<Option<SubjectName>, String> {
        match (&self.deployment, &self.rollout) {
            (Some(_), Some(_)) => Err("either `deployment` or `rollout`, not both".to_owned()),
            (Some(name), None) => Ok(Some(SubjectName::Deployment(name.clone()))),
            (None, Some(name)) => Ok(Some(SubjectName::Rollout(name.clone()))),
            (None, None) => Ok(None),
        }
    }
}

impl SubjectName {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Deployment(_) => "Deployment",
            Self::Rollout(_) => "Rollout",
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Deployment(name) | Self::Rollout(name) => name,
        }
    }
}

/// What was read about workloads of either kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subjects {
    pub(crate) workloads: Workloads,
    pub(crate) rollouts: Vec<Rollout>,
}

impl Subjects {
    /// Reads what is needed for this workload, or for all of them. A cluster may do without
    /// Rollouts, so they are asked for only where one may be meant.
    pub(crate) async fn read(
        context: &CheckContext,
        name: Option<&SubjectName>,
    ) -> Result<Self, Diagnosis> {
        let rollouts = async {
            let all = || read::everywhere(&context.client, &context.namespace);
            match name {
                Some(SubjectName::Deployment(_)) => Ok(Vec::new()),
                Some(SubjectName::Rollout(_)) => all().await,
                None => Ok(all().await.unwrap_or_default()),
            }
        };
        let (workloads, rollouts) = try_join!(Workloads::read(context), rollouts)?;
        Ok(Self {
            workloads,
            rollouts,
        })
    }

    /// The workload of this name.
    pub(crate) fn of<'a>(
        &'a self,
        name: &SubjectName,
        namespace: &str,
    ) -> Result<Subject<'a>, Diagnosis> {
        match name {
            SubjectName::Deployment(name) => {
                let deployment = read::named(&self.workloads.deployments, name, namespace)?;
                Ok(self.of_deployment(deployment, namespace))
            }
            SubjectName::Rollout(name) => {
                let rollout = read::named(&self.rollouts, name, namespace)?;
                Ok(self.of_rollout(rollout))
            }
        }
    }

    /// Every workload of the namespace.
    pub(crate) fn all(&self, namespace: &str) -> Vec<Subject<'_>> {
        let here = |found: Option<String>| found.as_deref() == Some(namespace);
        let deployments = self.workloads.deployments.iter();
        let deployments = deployments.filter(|deployment| here(deployment.namespace()));
        let rollouts = self
            .rollouts
            .iter()
            .filter(|rollout| here(rollout.namespace()));
        deployments
            .map(|deployment| self.of_deployment(deployment, namespace))
            .chain(rollouts.map(|rollout| self.of_rollout(rollout)))
            .collect()
    }

    fn of_deployment<'a>(&'a self, deployment: &'a Deployment, namespace: &str) -> Subject<'a> {
        let name = deployment.name_any();
        let current = self.workloads.of(&name, namespace);
        let current = current.ok().and_then(|workload| workload.current);
        let spec = deployment.spec.as_ref();
        let strategy = spec.and_then(|spec| spec.strategy.as_ref());
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.clone());
        let rolling = rolling.unwrap_or_default();
        Subject {
            kind: "Deployment",
            plural: "deployments",
            template: spec.map(|spec| &spec.template),
            wanted: spec.and_then(|spec| spec.replicas).unwrap_or(1),
            state: deployment_state(deployment, current),
            recreates: strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate"),
            max_unavailable: rolling.max_unavailable,
            max_surge: rolling.max_surge,
            revisions: self.revisions(
                &deployment.uid().unwrap_or_default(),
                DEPLOYMENT_REVISION,
                DEPLOYMENT_HISTORY,
            ),
            current: current.map(ResourceExt::name_any),
            seen: &self.workloads,
            name,
        }
    }

    fn of_rollout<'a>(&'a self, rollout: &'a Rollout) -> Subject<'a> {
        let uid = rollout.uid().unwrap_or_default();
        let status = rollout.status.clone().unwrap_or_default();
        let hash = status.current_pod_hash.as_str();
        let strategy = rollout.spec.strategy.clone().unwrap_or_default();
        let current = self.workloads.replica_sets.iter().find(|set| {
            objects::is_controlled_by(&set.metadata, &uid) && hash_of(set) == Some(hash)
        });
        Subject {
            kind: "Rollout",
            plural: "rollouts",
            name: rollout.name_any(),
            template: rollout.spec.template.as_ref(),
            wanted: rollout.spec.replicas.unwrap_or(1),
            state: rollout_state(rollout),
            recreates: false,
            max_unavailable: match (&strategy.canary, &strategy.blue_green) {
                (Some(canary), _) => canary.max_unavailable.clone(),
                (None, Some(blue_green)) => blue_green.max_unavailable.clone(),
                (None, None) => None,
            },
            max_surge: strategy.canary.and_then(|canary| canary.max_surge),
            revisions: self.revisions(&uid, rollouts::REVISION, rollouts::REVISION_HISTORY),
            current: current.map(ResourceExt::name_any),
            seen: &self.workloads,
        }
    }

    /// The ReplicaSets of a workload as revisions, ascending.
    fn revisions(&self, owner: &str, revision: &str, history: &str) -> Vec<Revision> {
        let sets = self.workloads.replica_sets.iter();
        let own = sets.filter(|set| objects::is_controlled_by(&set.metadata, owner));
        let mut revisions: Vec<_> = own
            .map(|set| {
                let annotation = |key: &str| set.annotations().get(key).map(String::as_str);
                let number = annotation(revision).and_then(|number| number.parse().ok());
                let earlier = annotation(history).unwrap_or_default().split(',');
                Revision {
                    set: set.name_any(),
                    uid: set.uid().unwrap_or_default(),
                    hash: hash_of(set).map(str::to_owned),
                    number: number.unwrap_or(0),
                    earlier: earlier
                        .filter_map(|number| number.trim().parse().ok())
                        .collect(),
                    images: set
                        .spec
                        .as_ref()
                        .and_then(|spec| spec.template.as_ref())
                        .map(images)
                        .unwrap_or_default(),
                    created: set.creation_timestamp().map(|time| time.0),
                }
            })
            .collect();
        revisions.sort_by_key(|revision| revision.number);
        revisions
    }
}

/// The hash by which a Rollout names a ReplicaSet.
fn hash_of(set: &ReplicaSet) -> Option<&str> {
    set.labels()
        .get(rollouts::POD_TEMPLATE_HASH)
        .map(String::as_str)
}

/// Images of a template, in the order of its containers.
pub(crate) fn images(template: &PodTemplateSpec) -> Vec<String> {
    let containers = template.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .filter_map(|container| container.image.clone())
        .collect()
}

/// A workload and its revisions.
#[derive(Clone, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) name: String,
    /// What is asked for.
    pub(crate) template: Option<&'a PodTemplateSpec>,
    /// `spec.replicas`.
    pub(crate) wanted: i32,
    /// How far the present template has been carried out.
    pub(crate) state: State,
    /// True where all pods end before new ones are made.
    recreates: bool,
    /// How many pods may be missing during an update, as it is written.
    pub(crate) max_unavailable: Option<IntOrString>,
    /// How many there may be above `replicas`, as it is written.
    pub(crate) max_surge: Option<IntOrString>,
    /// By revision number.
    pub(crate) revisions: Vec<Revision>,
    /// ReplicaSet of the present template; none before the controller made it.
    current: Option<String>,
    seen: &'a Workloads,
}

/// A ReplicaSet as a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revision {
    pub(crate) set: String,
    pub(crate) uid: String,
    /// Of a Rollout's ReplicaSet.
    pub(crate) hash: Option<String>,
    /// Its number; the highest is the present one.
    pub(crate) number: u64,
    /// Numbers that it had before it was gone back to.
    pub(crate) earlier: Vec<u64>,
    pub(crate) images: Vec<String>,
    created: Option<Timestamp>,
}

/// How far the present template has been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is under way, or waits.
    GoingOn,
    /// It was given up.
    Aborted(Option<Timestamp>),
    /// It is done, since then.
    Complete(Timestamp),
}

/// A change from one version to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    /// When its first pod was made, or the first old one ended.
    pub(crate) began: Timestamp,
    /// How far it is.
    pub(crate) state: State,
}

impl<'a> Subject<'a> {
    /// True where all pods end before new ones are made.
    pub(crate) fn recreates(&self) -> bool {
        self.recreates
    }

    /// True where a container of the present template has this image.
    pub(crate) fn asks_for(&self, image: &str) -> bool {
        self.template
            .is_some_and(|template| images(template).iter().any(|has| has == image))
    }

    /// Images of the present template, for people.
    pub(crate) fn images(&self) -> String {
        self.template.map(images).unwrap_or_default().join(", ")
    }

    /// The revision of the present template.
    pub(crate) fn current(&self) -> Option<&Revision> {
        let current = self.current.as_deref()?;
        self.revisions
            .iter()
            .find(|revision| revision.set == current)
    }

    /// The revision that was the present one before.
    pub(crate) fn previous(&self) -> Option<&Revision> {
        let current = self.current()?;
        self.revisions
            .iter()
            .rfind(|revision| revision.number < current.number)
    }

    /// Pods of a revision that are not at their end.
    pub(crate) fn pods_of(&self, revision: &Revision) -> Vec<&'a Pod> {
        let own = |pod: &&Pod| {
            objects::is_controlled_by(&pod.metadata, &revision.uid) && pods::is_active(pod)
        };
        self.seen.pods.iter().filter(own).collect()
    }

    /// Pods of the present revision that are Ready.
    pub(crate) fn ready_pods(&self) -> Vec<&'a Pod> {
        let pods = self.current().map(|current| self.pods_of(current));
        let mut pods = pods.unwrap_or_default();
        pods.retain(|pod| pods::is_ready(pod));
        pods
    }

    /// True where a pod of this name is, or was, one of this workload.
    pub(crate) fn owns(&self, pod: &str) -> bool {
        let owner = pod.rsplit_once('-').map(|(owner, _)| owner);
        self.revisions
            .iter()
            .any(|revision| Some(revision.set.as_str()) == owner)
    }

    /// Every pod of the namespace.
    pub(crate) fn all_pods(&self) -> &'a [Pod] {
        &self.seen.pods
    }

    /// Every event that was read.
    pub(crate) fn events(&self) -> &'a [Event] {
        &self.seen.events
    }

    /// True where pods of any revision are on their way out.
    pub(crate) fn has_ending_pods(&self) -> bool {
        self.seen.pods.iter().any(|pod| {
            pod.metadata.deletion_timestamp.is_some()
                && self
                    .revisions
                    .iter()
                    .any(|revision| objects::is_controlled_by(&pod.metadata, &revision.uid))
        })
    }

    /// The change by which the present template took over from another. None for the first
    /// template there was, and where no pod was replaced.
    pub(crate) fn latest_update(&self) -> Option<Update> {
        let current = self.current()?;
        let began = match self.kind {
            "Rollout" => self.rollout_began(current),
            _ => self.deployment_began(current),
        };
        Some(Update {
            began: began?,
            state: self.state,
        })
    }

    /// A Rollout's events name the revision that they are about, and revisions only grow.
    fn rollout_began(&self, current: &Revision) -> Option<Timestamp> {
        self.previous()?;
        let own = self.own_events();
        let about = own.filter(|event| names_revision(event, current.number));
        about.filter_map(first_time).min().or_else(|| {
            let first_use = current.earlier.is_empty();
            first_use.then_some(current.created).flatten()
        })
    }

    /// A Deployment's events name ReplicaSets, which may be used again.
    fn deployment_began(&self, current: &Revision) -> Option<Timestamp> {
        let scaled = |up_or_down: &str, set: &str| {
            let words = format!("Scaled {up_or_down} replica set {set} from ");
            let own = self.own_events();
            own.filter(move |event| {
                event
                    .message
                    .as_deref()
                    .is_some_and(|message| message.starts_with(&words))
            })
            .collect::<Vec<_>>()
        };
        let from_zero = scaled("up", &current.set).into_iter().filter(|event| {
            event
                .message
                .as_deref()
                .is_some_and(|message| message.contains(" from 0 to "))
        });
        let first_use = current.earlier.is_empty();
        let mut moments: Vec<_> = from_zero
            .flat_map(|event| [first_time(event), last_time(event)])
            .chain([first_use.then_some(current.created).flatten()])
            .flatten()
            .collect();
        // A Deployment that is scaled to nothing and back tells the same of itself afterwards.
        if let State::Complete(at) = self.state {
            moments.retain(|moment| *moment <= at);
        }
        let made = moments.into_iter().max()?;
        let others = self
            .revisions
            .iter()
            .filter(|other| other.set != current.set);
        let ended: Vec<_> = others
            .flat_map(|other| scaled("down", &other.set))
            .flat_map(|event| [first_time(event), last_time(event)])
            .flatten()
            .collect();
        if !self.recreates && ended.iter().any(|moment| *moment >= made) {
            return Some(made);
        }
        let before = ended.into_iter().filter(|moment| *moment <= made);
        before.max().filter(|_| self.may_end_first())
    }

    /// True where all old pods may be gone before there are new ones.
    fn may_end_first(&self) -> bool {
        let all = match &self.max_unavailable {
            Some(IntOrString::Int(count)) => *count >= self.wanted,
            Some(IntOrString::String(percent)) => {
                let percent = percent.strip_suffix('%').unwrap_or_default();
                percent.parse::<u32>().is_ok_and(|percent| percent >= 100)
            }
            None => false,
        };
        self.recreates || all
    }

    fn own_events(&self) -> impl Iterator<Item = &'a Event> {
        let (kind, name) = (self.kind, self.name.clone());
        self.seen.events.iter().filter(move |event| {
            let about = &event.involved_object;
            about.kind.as_deref() == Some(kind) && about.name.as_deref() == Some(&name)
        })
    }
}

/// True where an event speaks of `revision N`.
fn names_revision(event: &Event, number: u64) -> bool {
    let message = event.message.as_deref().unwrap_or_default();
    let after = message.split("revision ").skip(1);
    let mut numbers = after.map(|rest| {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit());
        &rest[..digits.unwrap_or(rest.len())]
    });
    numbers.any(|digits| digits.parse() == Ok(number))
}

/// When an event was first seen.
pub(crate) fn first_time(event: &Event) -> Option<Timestamp> {
    let first = event.first_timestamp.as_ref().map(|time| time.0);
    first.or_else(|| last_time(event))
}

/// When an event was last seen.
pub(crate) fn last_time(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref();
    let series = series.and_then(|series| series.last_observed_time.as_ref());
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    last.or_else(|| series.map(|time| time.0))
        .or_else(|| event.event_time.as_ref().map(|time| time.0))
}

/// Whether a moment that the cluster told, which it does in whole seconds, lies in the lab's time.
pub(crate) fn in_time(moment: Timestamp, since: Option<Timestamp>) -> bool {
    since.is_none_or(|since| moment.as_second() >= since.as_second())
}

fn deployment_state(deployment: &Deployment, current: Option<&ReplicaSet>) -> State {
    let status = deployment.status.clone().unwrap_or_default();
    let observed = status.observed_generation >= deployment.metadata.generation;
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    // A pod lost later does not undo the update, so who is available does not matter here.
    let updated =
        status.updated_replicas.unwrap_or(0) == wanted && status.replicas.unwrap_or(0) == wanted;
    let progressing = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "Progressing"
            && condition.reason.as_deref() == Some("NewReplicaSetAvailable")
    });
    let at = progressing.and_then(|condition| condition.last_update_time.as_ref());
    match at {
        Some(at) if observed && updated && current.is_some() => State::Complete(at.0),
        Some(_) | None => State::GoingOn,
    }
}

fn rollout_state(rollout: &Rollout) -> State {
    let Some(status) = &rollout.status else {
        return State::GoingOn;
    };
    let generation = rollout.metadata.generation.unwrap_or(0);
    let observed: i64 = status.observed_generation.parse().unwrap_or(0);
    if observed < generation {
        return State::GoingOn;
    }
    if status.abort {
        return State::Aborted(status.aborted_at.as_ref().map(|time| time.0));
    }
    let completed = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Completed" && condition.status == "True");
    match completed {
        Some(condition)
            if !status.stable_rs.is_empty() && status.stable_rs == status.current_pod_hash =>
        {
            State::Complete(condition.last_update_time.0)
        }
        Some(_) | None => State::GoingOn,
    }
}

#[cfg(test)]
pub(crate) mod samples;
