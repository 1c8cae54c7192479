//! K007: a pod of a Deployment was lost, and another took its place.
//!
//! The pods that are there cannot show it: three pods look the same before and after. The
//! cluster's events can: a pod was made, it is gone, and nobody scaled down.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, accepts, schema, start};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::subject::in_time;
use crate::workload::{Workload, Workloads};

pub(super) const DEF: CheckDef = CheckDef {
    code: "K007",
    name: "pod-replaced",
    help: "A pod of the present version of Deployment `deployment` was deleted since the lab began and within the \
        last hour (the age of events), not by scaling down, and as many pods are Ready as the Deployment asks for.",
    schema: schema::<With>,
    accepts: accepts::<With>,
    run: |context, with| start(DEF.name, run, context, with),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct With {
    deployment: String,
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let seen = Workloads::read(&context).await?;
    Ok(judge(&with, &context.namespace, &seen, context.desk.since))
}

fn judge(with: &With, namespace: &str, seen: &Workloads, since: Option<Timestamp>) -> Outcome {
    let deployment = with.deployment.clone();
    let expected = Fact::ReplacedWanted {
        deployment: deployment.clone(),
    };
    let workload = match seen.of(&deployment, namespace) {
        Ok(workload) => workload,
        Err(diagnosis) => {
            let observed = Fact::Nothing {
                kind: "Deployment".to_owned(),
                name: deployment,
            };
            return Outcome::NotYet {
                evidence: Evidence {
                    expected,
                    observed,
                    since: None,
                },
                diagnosis,
            };
        }
    };
    let ready = workload.ready_pods().len();
    // Whoever was replaced before the lab began has left no pod that is younger than it, and no
    // gap.
    let own = workload.pods();
    let is_new = |pod: &&Pod| {
        let made = pod.creation_timestamp();
        made.is_none_or(|made| in_time(made.0, since))
    };
    let lost = if own.iter().any(is_new) || own.len() < wanted(&workload) {
        lost(&workload)
    } else {
        BTreeMap::new()
    };
    let evidence = Evidence {
        expected,
        observed: Fact::Replaced {
            deployment: deployment.clone(),
            lost: lost.keys().cloned().collect::<Vec<_>>().join(", "),
            ready: ready.to_string(),
            wanted: workload.wanted().to_string(),
        },
        since: lost.values().filter_map(|event| time(event)).max(),
    };
    let found = if lost.is_empty() {
        Err(match ending(&workload) {
            Some(pod) => Diagnosis::PodEnding { pod },
            None => Diagnosis::NoPodLost { deployment },
        })
    } else if ready < wanted(&workload) {
        Err(Diagnosis::NotReplaced { deployment })
    } else {
        Ok(())
    };
    Outcome::of(evidence, found)
}

fn wanted(workload: &Workload<'_>) -> usize {
    usize::try_from(workload.wanted()).unwrap_or_default()
}

/// Pods of the present ReplicaSet that are gone, each with the event that tells of it last.
fn lost<'a>(workload: &Workload<'a>) -> BTreeMap<String, &'a Event> {
    let scaled = scaled_down(workload);
    // A pod on its way out is not gone: only once it is, a ReplicaSet that scaled down has
    // surely said so, and the two can be told apart.
    let there: BTreeSet<_> = workload
        .seen
        .pods
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    let mut lost = BTreeMap::new();
    for (name, event) in workload
        .events()
        .iter()
        .filter_map(|event| Some((pod_of(event)?, event)))
    {
        if is_own(workload, name) && !there.contains(name) && !scaled.contains(name) {
            lost.insert(name.to_owned(), event);
        }
    }
    lost
}

/// The pod that an event tells of: made by a ReplicaSet, or stopped by its node. The second is
/// missing where a pod was deleted without grace, the first where it was made more than an hour
/// ago.
fn pod_of(event: &Event) -> Option<&str> {
    match event.reason.as_deref()? {
        "SuccessfulCreate" => named_last(event),
        "Killing" => event.involved_object.name.as_deref(),
        _ => None,
    }
}

/// Pods that ReplicaSets removed because fewer were asked for.
fn scaled_down<'a>(workload: &Workload<'a>) -> BTreeSet<&'a str> {
    let events = workload.events().iter();
    events
        .filter(|event| event.reason.as_deref() == Some("SuccessfulDelete"))
        .filter_map(named_last)
        .collect()
}

/// NAME of "Created pod: NAME" and "Deleted pod: NAME".
fn named_last(event: &Event) -> Option<&str> {
    event
        .message
        .as_deref()?
        .rsplit_once("pod: ")
        .map(|(_, name)| name)
}

fn is_own(workload: &Workload<'_>, pod: &str) -> bool {
    let set = workload.current.map(ResourceExt::name_any);
    pod.rsplit_once('-')
        .is_some_and(|(owner, _)| Some(owner) == set.as_deref())
}

/// A pod that was deleted and is still on its way out.
fn ending(workload: &Workload<'_>) -> Option<String> {
    let scaled = scaled_down(workload);
    let deleted = workload
        .seen
        .pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_some());
    deleted
        .map(ResourceExt::name_any)
        .find(|name| is_own(workload, name) && !scaled.contains(name.as_str()))
}

fn time(event: &Event) -> Option<jiff::Timestamp> {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    last.or_else(|| event.event_time.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{World, check};
    use serde_json::json;

    fn outcome(world: &World) -> Outcome {
        judge(
            &With {
                deployment: "hello".into(),
            },
            "default",
            &world.workloads(),
            None,
        )
    }

    #[track_caller]
    fn case(expected: Option<&str>, change: impl FnOnce(&mut World)) {
        check(outcome, expected, change);
    }

    #[test]
    fn a_pod_that_was_deleted_and_replaced_holds() {
        case(None, |world| {
            world.event("Killing", "Pod", "hello-5-gone", "Stopping container hello")
        });
    }

    #[test]
    fn a_pod_that_was_deleted_without_grace_is_known_by_its_making() {
        case(None, |world| {
            world.event(
                "SuccessfulCreate",
                "ReplicaSet",
                "hello-5",
                "Created pod: hello-5-1",
            );
            world.event(
                "SuccessfulCreate",
                "ReplicaSet",
                "hello-5",
                "Created pod: hello-5-gone",
            );
        });
    }

    #[test]
    fn pods_that_were_not_lost_do_not_count() {
        case(Some("no-pod-lost"), |_| {});
        case(Some("no-pod-lost"), |world| {
            // Its liveness probe restarted the container; the pod is there.
            world.event(
                "Killing",
                "Pod",
                "hello-5-1",
                "Container hello failed liveness probe",
            );
        });
        case(Some("no-pod-lost"), |world| {
            world.event("Killing", "Pod", "hello-5-gone", "Stopping container hello");
            world.event(
                "SuccessfulDelete",
                "ReplicaSet",
                "hello-5",
                "Deleted pod: hello-5-gone",
            );
        });
        case(Some("no-pod-lost"), |world| {
            world.event("Killing", "Pod", "other-5-gone", "Stopping container other");
        });
        case(Some("no-pod-lost"), |world| {
            // A pod of the version before.
            world.event("Killing", "Pod", "hello-4-gone", "Stopping container hello");
        });
    }

    #[test]
    fn a_pod_on_its_way_out_is_not_gone() {
        let deleted = |world: &mut World| {
            world.event("Killing", "Pod", "hello-5-3", "Stopping container hello");
            world.pods[2]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        };
        case(Some("pod-ending"), deleted);
        case(Some("no-pod-lost"), |world| {
            deleted(world);
            world.event(
                "SuccessfulDelete",
                "ReplicaSet",
                "hello-5",
                "Deleted pod: hello-5-3",
            );
        });
    }

    #[test]
    fn a_pod_that_was_replaced_before_the_lab_began_does_not_count() {
        let outcome = |since: &str, made: &str| {
            let mut world = World::new();
            world.event("Killing", "Pod", "hello-5-gone", "Stopping container hello");
            for pod in &mut world.pods {
                pod["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            world.pods[2]["metadata"]["creationTimestamp"] = json!(made);
            let with = With {
                deployment: "hello".into(),
            };
            let since = since.parse().unwrap();
            let outcome = judge(&with, "default", &world.workloads(), Some(since));
            outcome.diagnosis().map(Diagnosis::id)
        };
        let began = "2026-01-01T02:00:00.5Z";
        assert_eq!(outcome(began, "2026-01-01T02:00:00Z"), None);
        assert_eq!(outcome(began, "2026-01-01T01:00:00Z"), Some("no-pod-lost"));
    }

    #[test]
    fn a_loss_that_is_not_made_good_does_not_pass() {
        case(Some("not-replaced"), |world| {
            world.event("Killing", "Pod", "hello-5-3", "Stopping container hello");
            world.pods.pop();
        });
        case(Some("missing"), |world| {
            world.deployment["metadata"]["name"] = json!(null)
        });
    }
}
