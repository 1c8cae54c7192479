//! When something happened to a workload: from when until when users could have noticed.
//!
//! Objects and events tell in whole seconds, and only those in the lab's time count.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::ResourceExt;
use lab_api::pods;

use crate::diagnosis::Diagnosis;
use crate::subject::{State, Subject, in_time, last_time};

/// Within this time after the loss of a pod its ReplicaSet makes another.
const SOON: SignedDuration = SignedDuration::from_secs(60);

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

/// What to look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happened<'a> {
    pub(crate) subject: &'a Subject<'a>,
    pub(crate) nodes: &'a [Node],
    /// By which nodes show that they live.
    pub(crate) leases: &'a [Lease],
    /// Events about nodes; they may be in another namespace.
    pub(crate) node_events: &'a [Event],
    /// When the lab began.
    pub(crate) since: Option<Timestamp>,
}

impl Happened<'_> {
    /// The update to this image, or to the present one, from its first pod until it was complete.
    pub(crate) fn update(&self, to: Option<&str>) -> Result<Window, Diagnosis> {
        let Self { subject, since, .. } = self;
        let event = to.map_or_else(
            || "rollout".to_owned(),
            |image| format!("rollout → {image}"),
        );
        if to.is_some_and(|image| !subject.asks_for(image)) {
            return Err(self.none(event));
        }
        let update = subject.latest_update();
        // A template that no controller has acted on yet has no update to show either.
        if update.is_none() && subject.state == State::GoingOn {
            return Err(self.going_on());
        }
        let update = update.filter(|update| in_time(update.began, *since));
        let Some(update) = update else {
            return Err(self.none(event));
        };
        match update.state {
            State::Complete(at) if !subject.has_ending_pods() => Ok(Window {
                from: update.began,
                to: at.max(update.began),
            }),
            State::Complete(_) | State::GoingOn => Err(self.going_on()),
            State::Aborted(_) => Err(Diagnosis::RolloutAborted {
                rollout: subject.name.clone(),
                message: format!("→ {}", subject.images()),
            }),
        }
    }

    /// The loss of a node that pods of this workload were on, from its last sign of life until
    /// all replicas were ready again.
    pub(crate) fn node_loss(&self) -> Result<Window, Diagnosis> {
        let Self { subject, since, .. } = self;
        let lost = self.lost_nodes().into_iter();
        let lost = lost
            .filter(|(_, at)| in_time(*at, *since))
            .max_by_key(|(_, at)| *at);
        let hit = |at: Timestamp| {
            let about = |kind: &'static str| {
                move |event: &&Event| {
                    event.reason.as_deref() == Some("NodeNotReady")
                        && event.involved_object.kind.as_deref() == Some(kind)
                }
            };
            let own = subject
                .events()
                .iter()
                .filter(about("Pod"))
                .filter(|event| {
                    let pod = event.involved_object.name.as_deref();
                    pod.is_some_and(|pod| subject.owns(pod))
                });
            // The pods hear of it in the same moment; the two may be a second apart.
            own.filter_map(last_time)
                .filter(|told| *told >= at - SignedDuration::from_secs(2))
                .count()
        };
        let lost = lost.map(|(node, at)| (node, at, hit(at)));
        let Some((node, at, hit)) = lost.filter(|(_, _, hit)| *hit > 0) else {
            return Err(self.none("node-loss".to_owned()));
        };
        self.all_ready()?;
        let ready = subject.ready_pods();
        let mut again: Vec<_> = ready.iter().filter_map(|pod| ready_since(pod)).collect();
        again.retain(|moment| *moment >= at);
        again.sort_unstable();
        // As many as were hit must be ready again. What an update made later replaced nobody.
        let back = again.get(hit.saturating_sub(1)).or(again.last()).copied();
        let update = subject.latest_update().map(|update| update.began);
        let back = match (back, update.filter(|began| *began > at)) {
            (Some(back), Some(began)) => back.min(began),
            (Some(back), None) => back,
            (None, _) => at,
        };
        Ok(Window {
            from: self.last_sign(&node, at),
            to: back,
        })
    }

    /// Nodes that stopped being ready, and when; those that are back too.
    fn lost_nodes(&self) -> Vec<(String, Timestamp)> {
        let told = self.node_events.iter().filter(|event| {
            event.reason.as_deref() == Some("NodeNotReady")
                && event.involved_object.kind.as_deref() == Some("Node")
        });
        let told =
            told.filter_map(|event| Some((event.involved_object.name.clone()?, last_time(event)?)));
        let gone = self.nodes.iter().filter_map(|node| {
            let condition = unready(node)?;
            Some((node.name_any(), condition))
        });
        told.chain(gone).collect()
    }

    /// When a node that was found missing at some moment was last heard of. Known only while it
    /// is missing; afterwards, the moment when it was found so must do.
    fn last_sign(&self, node: &str, at: Timestamp) -> Timestamp {
        let missing = self
            .nodes
            .iter()
            .any(|has| has.name_any() == node && unready(has).is_some());
        let lease = self.leases.iter().find(|lease| lease.name_any() == node);
        let renewed = lease.and_then(|lease| Some(lease.spec.as_ref()?.renew_time.as_ref()?.0));
        match renewed {
            Some(renewed) if missing && renewed < at => renewed,
            Some(_) | None => at,
        }
    }

    /// The loss of a pod that was deleted or killed, from then until another one was ready in its
    /// place.
    pub(crate) fn pod_loss(&self) -> Result<Window, Diagnosis> {
        let Self { subject, since, .. } = self;
        let none = || self.none("pod-loss".to_owned());
        let current = subject.current().ok_or_else(none)?;
        let there: BTreeSet<_> = subject
            .all_pods()
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        let events = subject.events();
        let about = |reason: &'static str| {
            events
                .iter()
                .filter(move |event| event.reason.as_deref() == Some(reason))
        };
        let scaled: BTreeSet<_> = about("SuccessfulDelete").filter_map(named_last).collect();
        let is_own = |name: &str| {
            name.rsplit_once('-')
                .is_some_and(|(owner, _)| owner == current.set)
                && !scaled.contains(name)
        };
        let gone = |name: &str| is_own(name) && !there.contains(name);
        let killing = about("Killing")
            .filter_map(|event| Some((event.involved_object.name.as_deref()?, last_time(event)?)));
        // A revision that was gone back to lost pods in its earlier time, which is over.
        let updated = match subject.state {
            State::Complete(at) => at,
            State::GoingOn | State::Aborted(_) => return Err(self.going_on()),
        };
        let killed = killing
            .clone()
            .filter(|(name, at)| gone(name) && in_time(*at, *since) && *at > updated);
        let killed = killed.map(|(_, at)| at).max();
        // Whoever is killed without grace leaves no event but that of its making.
        let vanished = about("SuccessfulCreate")
            .filter_map(named_last)
            .any(|name| gone(name) && !killing.clone().any(|(killed, _)| killed == name));
        if killed.is_none() && !vanished {
            let ending = subject
                .all_pods()
                .iter()
                .filter(|pod| pod.metadata.deletion_timestamp.is_some());
            return Err(
                match ending.map(ResourceExt::name_any).find(|name| is_own(name)) {
                    Some(pod) => Diagnosis::PodEnding { pod },
                    None => none(),
                },
            );
        }
        self.all_ready()?;
        let ready = subject.ready_pods();
        let second = SignedDuration::from_secs(1);
        let made = ready
            .iter()
            .filter_map(|pod| Some((pod.creation_timestamp()?.0, ready_since(pod)?)));
        let replacement = match killed {
            // One that was made much later replaced somebody else.
            Some(at) => made
                .filter(|(made, _)| *made >= at - second && *made <= at + SOON)
                .min(),
            // Pods that the update made replaced nobody.
            None => made.max().filter(|(made, _)| *made > updated),
        };
        let replacement = replacement.filter(|(made, _)| in_time(*made, *since));
        let (made, ready) = replacement.ok_or_else(none)?;
        Ok(Window {
            from: killed.map_or(made, |killed| killed.min(made)) - second,
            to: ready.max(made),
        })
    }

    fn all_ready(&self) -> Result<(), Diagnosis> {
        let Self { subject, .. } = self;
        let ready = subject.ready_pods().len();
        if usize::try_from(subject.wanted).is_ok_and(|wanted| ready < wanted) {
            return Err(Diagnosis::NotReplaced {
                deployment: subject.name.clone(),
            });
        }
        Ok(())
    }

    fn going_on(&self) -> Diagnosis {
        Diagnosis::RolloutGoingOn {
            kind: self.subject.kind.to_owned(),
            plural: self.subject.plural.to_owned(),
            name: self.subject.name.clone(),
        }
    }

    fn none(&self, event: String) -> Diagnosis {
        Diagnosis::NoSuchEvent {
            event,
            names: self.subject.name.clone(),
        }
    }
}

/// Since when a node has not been ready.
fn unready(node: &Node) -> Option<Timestamp> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")?;
    let since = ready.last_transition_time.as_ref()?.0;
    (ready.status != "True").then_some(since)
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let condition = pods::pod_condition(pod, "Ready")?;
    Some(condition.last_transition_time.as_ref()?.0)
}

/// NAME of "Created pod: NAME" and "Deleted pod: NAME".
fn named_last(event: &Event) -> Option<&str> {
    event
        .message
        .as_deref()?
        .rsplit_once("pod: ")
        .map(|(_, name)| name)
}
