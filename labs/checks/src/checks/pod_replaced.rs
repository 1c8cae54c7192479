//! K007: a pod of a Deployment was lost, and another took its place.
//!
//! The pods that are there cannot show it: three pods look the same before and after. The
//! cluster's events can: a container was stopped, its pod is gone, and nobody scaled down.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt;
use serde::Deserialize;

use super::{CheckDef, accepts, start};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::workload::{Workload, Workloads};

pub(super) const DEF: CheckDef = CheckDef {
    code: "K007",
    name: "pod-replaced",
    help: "A pod of the present version of Deployment `deployment` was deleted within the last hour (the \
        age of events), not by scaling down, and as many pods are Ready as the Deployment asks for.",
    accepts: accepts::<With>,
    run: |context, with| start(DEF.name, run, context, with),
};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct With {
    deployment: String,
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let seen = Workloads::read(&context).await?;
    Ok(judge(&with, &context.namespace, &seen))
}

fn judge(with: &With, namespace: &str, seen: &Workloads) -> Outcome {
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
    let lost = lost(&workload);
    let ready = workload.ready_pods().len();
    let evidence = Evidence {
        expected,
        observed: Fact::Replaced {
            deployment: deployment.clone(),
            lost: lost
                .iter()
                .map(|(name, _)| name.clone())
                .collect::<Vec<_>>()
                .join(", "),
            ready: ready.to_string(),
            wanted: workload.wanted().to_string(),
        },
        since: lost.iter().filter_map(|(_, event)| time(event)).max(),
    };
    let found = if lost.is_empty() {
        Err(Diagnosis::NoPodLost { deployment })
    } else if usize::try_from(workload.wanted()).is_ok_and(|wanted| ready < wanted) {
        Err(Diagnosis::NotReplaced { deployment })
    } else {
        Ok(())
    };
    Outcome::of(evidence, found)
}

/// Pods of the present ReplicaSet that were stopped and are gone, each with the event of its end.
fn lost<'a>(workload: &Workload<'a>) -> Vec<(String, &'a Event)> {
    let Some(set) = workload.current.map(ResourceExt::name_any) else {
        return Vec::new();
    };
    // "Deleted pod: NAME" is how a ReplicaSet says that it scaled down.
    let scaled: BTreeSet<_> = workload
        .events()
        .iter()
        .filter(|event| event.reason.as_deref() == Some("SuccessfulDelete"))
        .filter_map(|event| {
            event
                .message
                .as_deref()?
                .rsplit_once(' ')
                .map(|(_, name)| name)
        })
        .collect();
    let there: BTreeSet<_> = workload
        .all_pods()
        .iter()
        .map(|pod| pod.name_any())
        .collect();
    let mut lost = std::collections::BTreeMap::new();
    for event in workload
        .events()
        .iter()
        .filter(|event| event.reason.as_deref() == Some("Killing"))
    {
        let Some(name) = event.involved_object.name.as_deref() else {
            continue;
        };
        let own = name.rsplit_once('-').is_some_and(|(owner, _)| owner == set);
        // A container that its liveness probe restarts is stopped too, but its pod stays.
        if own && !there.contains(name) && !scaled.contains(name) {
            lost.insert(name.to_owned(), event);
        }
    }
    lost.into_iter().collect()
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
