//! K003: a Deployment runs the right image on enough replicas, and all of them are its own.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, accepts, schema, start};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::pod_trouble::{trouble, waits_for_image};
use crate::readers::http::Http;
use crate::readers::images::{Registry, survey};
use crate::workload::{Workload, Workloads, name_list, nodes_of, ready_since};

pub(super) const DEF: CheckDef = CheckDef {
    code: "K003",
    name: "deployment-available",
    help: "Deployment `deployment` asks for at least `replicas` replicas of `image`, and exactly those it \
        asks for are there: made from its present template, Ready, with none of an earlier version left. \
        With `distinctNodes`, they run on at least that many different nodes.",
    schema: schema::<With>,
    accepts: accepts::<With>,
    run: |context, with| start(DEF.name, run, context, with),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    deployment: String,
    replicas: i32,
    image: String,
    #[serde(default = "one")]
    distinct_nodes: usize,
}

fn one() -> usize {
    1
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let seen = Workloads::read(&context).await?;
    let pods: Vec<_> = seen.pods.iter().collect();
    // The registry is asked only where its answer explains something.
    let registry = if waits_for_image(&pods) {
        survey(&Http::new(), &context.addresses.registry).await
    } else {
        Registry::default()
    };
    Ok(judge(&with, &context.namespace, &seen, &registry))
}

fn judge(with: &With, namespace: &str, seen: &Workloads, registry: &Registry) -> Outcome {
    let With {
        deployment,
        replicas,
        image,
        distinct_nodes,
    } = with;
    let expected = Fact::ReplicasWanted {
        deployment: deployment.clone(),
        replicas: replicas.to_string(),
        image: image.clone(),
        nodes: distinct_nodes.to_string(),
    };
    let workload = match seen.of(deployment, namespace) {
        Ok(workload) => workload,
        Err(diagnosis) => {
            let observed = Fact::Nothing {
                kind: "Deployment".to_owned(),
                name: deployment.clone(),
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
    let ready = workload.ready_pods();
    let observed = Fact::Replicas {
        deployment: deployment.clone(),
        replicas: ready.len().to_string(),
        wanted: workload.wanted().to_string(),
        nodes: nodes_of(&ready).len().to_string(),
        image: workload.image().to_owned(),
    };
    let evidence = Evidence {
        expected,
        observed,
        since: ready_since(&ready),
    };
    Outcome::of(evidence, find(with, &workload, &ready, registry))
}

/// Looks for the first thing that is not as it should be, from the author's wish to the pods.
fn find(
    with: &With,
    workload: &Workload<'_>,
    ready: &[&Pod],
    registry: &Registry,
) -> Result<(), Diagnosis> {
    wish(with, workload)?;
    carried_out(workload)?;
    if let Some(diagnosis) = trouble(&workload.pods(), workload.events(), registry) {
        return Err(diagnosis);
    }
    own_pods(with, workload, ready)?;
    counted(workload)?;
    let nodes = nodes_of(ready);
    if nodes.len() < with.distinct_nodes {
        return Err(Diagnosis::TooFewDistinctNodes {
            expected: with.distinct_nodes.to_string(),
            found: nodes.len().to_string(),
            nodes: nodes.into_iter().collect::<Vec<_>>().join(", "),
        });
    }
    Ok(())
}

/// What the Deployment asks for.
fn wish(with: &With, workload: &Workload<'_>) -> Result<(), Diagnosis> {
    let deployment = workload.name();
    if !runs_image(workload.pod_spec(), &with.image) {
        let (expected, found) = (with.image.clone(), workload.image().to_owned());
        return Err(Diagnosis::WrongImage {
            kind: "Deployment".to_owned(),
            plural: "deployments".to_owned(),
            name: deployment,
            expected,
            found,
        });
    }
    if workload.wanted() < with.replicas {
        let (expected, found) = (with.replicas.to_string(), workload.wanted().to_string());
        return Err(Diagnosis::TooFewReplicas {
            deployment,
            expected,
            found,
        });
    }
    Ok(())
}

fn runs_image(spec: Option<&k8s_openapi::api::core::v1::PodSpec>, image: &str) -> bool {
    spec.is_some_and(|spec| {
        spec.containers
            .iter()
            .any(|container| container.image.as_deref() == Some(image))
    })
}

/// Whether the controllers have acted on the present template.
fn carried_out(workload: &Workload<'_>) -> Result<(), Diagnosis> {
    let deployment = workload.name();
    let observed = workload
        .deployment
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    if workload.current.is_some() && observed >= workload.deployment.metadata.generation {
        return Ok(());
    }
    Err(if workload.is_paused() {
        Diagnosis::RolloutPaused { deployment }
    } else {
        Diagnosis::NotObserved { deployment }
    })
}

/// Whether the pods are as many as asked for, of the right image, and alone.
fn own_pods(with: &With, workload: &Workload<'_>, ready: &[&Pod]) -> Result<(), Diagnosis> {
    let deployment = workload.name();
    let wanted = usize::try_from(workload.wanted()).unwrap_or_default();
    // The image of a running pod can be changed behind the Deployment's back.
    if let Some(pod) = ready
        .iter()
        .find(|pod| !runs_image(pod.spec.as_ref(), &with.image))
    {
        let found = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.containers.first()?.image.clone());
        let (expected, found) = (with.image.clone(), found.unwrap_or_default());
        return Err(Diagnosis::PodImageChanged {
            pod: pod.name_any(),
            expected,
            found,
        });
    }
    if ready.len() < wanted {
        return Err(match (ready.len(), workload.is_paused()) {
            (_, true) => Diagnosis::RolloutPaused { deployment },
            (0, false) => Diagnosis::NoPods { deployment },
            (_, false) => Diagnosis::NotObserved { deployment },
        });
    }
    if ready.len() > wanted {
        let (expected, found) = (wanted.to_string(), ready.len().to_string());
        return Err(Diagnosis::TooManyPods {
            deployment,
            expected,
            found,
        });
    }
    let old = workload.old_pods();
    if let Some(pod) = old.first() {
        let image = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.containers.first()?.image.clone())
            .unwrap_or_default();
        return Err(Diagnosis::OldPodsRunning {
            deployment,
            pods: name_list(old.iter().copied()),
            image,
        });
    }
    Ok(())
}

/// Whether the Deployment's own account agrees.
fn counted(workload: &Workload<'_>) -> Result<(), Diagnosis> {
    let status = workload.deployment.status.clone().unwrap_or_default();
    let wanted = Some(workload.wanted());
    let counts = [
        status.replicas,
        status.updated_replicas,
        status.ready_replicas,
        status.available_replicas,
    ];
    if counts.iter().all(|count| *count == wanted) {
        return Ok(());
    }
    Err(Diagnosis::NotObserved {
        deployment: workload.name(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{IMAGE, World, check};
    use serde_json::json;

    fn outcome(world: &World) -> Outcome {
        let with = With {
            deployment: "hello".into(),
            replicas: 3,
            image: IMAGE.into(),
            distinct_nodes: 3,
        };
        let registry = Registry {
            address: "localhost:5001".to_owned(),
            images: Some(vec!["hello:1.0.0".to_owned()]),
        };
        judge(&with, "default", &world.workloads(), &registry)
    }

    #[track_caller]
    fn case(expected: Option<&str>, change: impl FnOnce(&mut World)) {
        check(outcome, expected, change);
    }

    #[test]
    fn three_ready_replicas_of_the_image_on_three_nodes_hold() {
        case(None, |_| {});
        case(None, |world| {
            world.deployment["spec"]["paused"] = json!(true)
        });
    }

    #[test]
    fn what_the_deployment_asks_for_is_looked_at_first() {
        case(Some("missing"), |world| {
            world.deployment["metadata"]["name"] = json!(null)
        });
        case(Some("named-otherwise"), |world| {
            world.deployment["metadata"]["name"] = json!("helo")
        });
        case(Some("in-another-namespace"), |world| {
            world.deployment["metadata"]["namespace"] = json!("shop")
        });
        case(Some("too-few-replicas"), |world| {
            world.deployment["spec"]["replicas"] = json!(2)
        });
        case(Some("wrong-image"), |world| {
            world.template("image", &json!("localhost:5001/hello:0.9.0"))
        });
    }

    #[test]
    fn pods_that_are_ready_but_of_the_old_image_do_not_pass() {
        // The template asks for the new image, yet the only ReplicaSet is that of the old one.
        let old = |world: &mut World| world.age_pods("localhost:5001/hello:0.9.0");
        case(Some("not-observed"), old);
        case(Some("rollout-paused"), |world| {
            old(world);
            world.deployment["spec"]["paused"] = json!(true);
        });
        case(Some("pod-image-changed"), |world| {
            world.pods[1]["spec"]["containers"][0]["image"] = json!("localhost:5001/hello:0.9.0");
        });
        case(Some("old-pods-running"), |world| world.add_old_pod());
        case(Some("not-observed"), |world| {
            world.deployment["metadata"]["generation"] = json!(8)
        });
    }

    #[test]
    fn pods_of_nobody_do_not_count_as_replicas() {
        case(Some("no-pods"), |world| {
            for pod in &mut world.pods {
                pod["metadata"]["ownerReferences"] = json!([]);
            }
        });
        case(Some("not-observed"), |world| {
            world.pods[2]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        });
        case(Some("not-observed"), |world| {
            world.pods[2]["status"]["phase"] = json!("Failed")
        });
        case(Some("not-observed"), |world| {
            world.pods.pop();
        });
        case(Some("too-many-pods"), |world| {
            let mut extra = world.pods[0].clone();
            extra["metadata"]["name"] = json!("hello-5-extra");
            world.pods.push(extra);
        });
    }

    #[test]
    fn counters_that_disagree_with_the_pods_do_not_pass() {
        case(Some("not-observed"), |world| {
            world.deployment["status"]["availableReplicas"] = json!(2)
        });
        case(Some("not-observed"), |world| {
            world.deployment["status"]["replicas"] = json!(4)
        });
        case(Some("not-observed"), |world| {
            world.deployment["status"] = json!(null)
        });
    }

    #[test]
    fn three_replicas_on_one_node_do_not_pass() {
        case(Some("too-few-distinct-nodes"), |world| {
            for pod in &mut world.pods {
                pod["spec"]["nodeName"] = json!("node-1");
            }
        });
    }

    #[test]
    fn a_pod_that_is_not_ready_is_explained() {
        let waiting =
            |reason: &'static str| move |world: &mut World| world.wait(1, reason, "because");
        case(Some("pull-failed"), waiting("ErrImagePull"));
        case(Some("crashing"), waiting("CrashLoopBackOff"));
        case(
            Some("container-not-created"),
            waiting("CreateContainerConfigError"),
        );
        case(Some("pods-starting"), waiting("ContainerCreating"));
        case(Some("unschedulable"), |world| world.unschedulable(0));
        case(Some("pods-starting"), |world| world.unready(0));
        case(Some("not-scheduled"), |world| {
            world.unready(0);
            world.pods[0]["spec"]["nodeName"] = json!(null);
        });
        case(Some("readiness-port-wrong"), |world| {
            world.probe("readinessProbe", 9090);
            world.unready(0);
        });
        case(Some("readiness-failing"), |world| {
            world.unready(0);
            world.unhealthy(
                0,
                "Readiness probe failed: HTTP probe failed with statuscode: 404",
            );
        });
        case(Some("killed-by-liveness"), |world| {
            world.probe("livenessProbe", 9090);
            world.unready(0);
            world.restarted(0, 137);
        });
        case(Some("pods-starting"), |world| {
            world.unready(0);
            world.restarted(0, 137);
        });
    }

    #[test]
    fn a_tag_that_was_never_pushed_is_named_with_those_that_were() {
        let mut world = World::new();
        let image = "localhost:5001/hello:1.0.1";
        world.template("image", &json!(image));
        world.wait(0, "ImagePullBackOff", "not found");
        let with = With {
            deployment: "hello".into(),
            replicas: 3,
            image: image.into(),
            distinct_nodes: 3,
        };
        let registry = Registry {
            address: "localhost:5001".to_owned(),
            images: Some(vec!["hello:1.0.0".to_owned()]),
        };
        let outcome = judge(&with, "default", &world.workloads(), &registry);
        let diagnosis = outcome.diagnosis().unwrap();
        assert_eq!(diagnosis.id(), "tag-never-pushed");
        assert!(
            diagnosis
                .text(crate::language::Language::En)
                .ends_with("the registry has: hello:1.0.0")
        );
    }
}
